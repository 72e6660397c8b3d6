# Every target is a line or two that calls a program; logic lives in Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install demo demo-check test unit real journey lint bench schemas programs cluster cluster-stop clean

help:            ## these targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

.venv/.installed: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/.installed  ## the program and what it needs, into .venv
