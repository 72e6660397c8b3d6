# Every target is a line or two that calls a program; logic lives in Python.
PYTHON ?= python3
BIN := .venv/bin
# Most tests wait, so three processes share two cores, each with servers of its own. The tests of a file stay together, for
# they may share an installation; files start in their order, those of tests/crash first, which take longest.
AT_ONCE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# Else each of them compiles all tests anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo demo-check packages test unit real journey soak lint bench schemas programs cluster cluster-stop clean

help:            ## these targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

.venv/.installed: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv/bin/kustomize: .venv/.installed tests/programs/kustomize/go.sum
	install -m 755 "$$($(BIN)/python tests/programs/build.py kustomize)" $@

install: .venv/bin/kustomize  ## the program and what it needs, into .venv

programs: install  ## build kube-apiserver, etcd, helm, ... into a cache, once
	$(BIN)/python tests/programs/build.py --clean

demo: install  ## pushes applied, a bad one refused, one that fails rolled back, drift healed; CLUSTER=real for a real API server
	$(if $(filter real,$(CLUSTER)),$(MAKE) cluster)
	$(BIN)/towline demo --cluster $(or $(CLUSTER),embedded)

demo-check: install  ## the same without a person; exits 0 or 1
	$(if $(filter real,$(CLUSTER)),$(MAKE) cluster)
	$(BIN)/towline demo --check --cluster $(or $(CLUSTER),embedded)

packages: install
	$(BIN)/python tests/programs/packages.py

test: install lint programs packages  ## everything: lint, then all tests on real parts
	$(BIN)/python -m pytest $(AT_ONCE)

unit: install  ## seconds, no parts
	$(BIN)/python -m pytest tests/unit

real: programs packages  ## each module that touches the world, on one real part each
	$(BIN)/python -m pytest $(AT_ONCE) tests/real tests/hostile

journey: programs  ## everything, as processes started by the command line
	$(BIN)/python -m pytest $(AT_ONCE) tests/crash tests/journey

soak: programs  ## 50 services under pushes and random faults; SECONDS=600 SEED=1
	SECONDS=$(or $(SECONDS),600) SEED=$(SEED) $(BIN)/python -m pytest -s tests/crash/test_soak.py

lint: install  ## ruff, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: programs  ## the figures of docs/performance.md, on this machine; FULL=1 for those of thousands
	$(BIN)/python bench/run.py
	$(BIN)/python bench/health.py
	$(if $(FULL),$(BIN)/python bench/run.py --services 10,100,1000,5000 --only-one)
	$(if $(FULL),$(BIN)/python bench/run.py --services 1000 --repeat 5)
	$(if $(FULL),$(BIN)/python bench/health.py --repeat 20 --verifying 1000)
	$(if $(FULL),$(BIN)/python bench/watcher.py)

schemas: install  ## write the JSON Schemas anew
	$(BIN)/python -m towline.shared.schemas_write

cluster: programs  ## start a real control plane on loopback; writes .cluster/kubeconfig
	$(BIN)/python tests/cluster.py start

cluster-stop:  ## end it
	$(BIN)/python tests/cluster.py stop

clean:  ## remove what make made here (the cache of built programs stays)
	rm -rf .venv .cluster .demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
