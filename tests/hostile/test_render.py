"""What a stranger can put into a repository: refused by name, in little time and memory, and no harm to its neighbours."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from parts.trees import Content, Link, MemoryTree, Submodule

from towline.shared.errors import RenderError, TowlineError
from towline.worker.inputs import inputs_of
from towline.worker.render.programs import Programs
from towline.worker.render.render import Rendered, render
from towline.worker.services import Service, services_of

MIB = 1024 * 1024
GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n"
NINE: dict[str, Content] = {f"services/s{n}/a.yaml": GOOD for n in range(9)}


def map_of(size_bytes: int) -> str:
    return f"{GOOD}data:\n  a: {'x' * size_bytes}\n"


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([GOOD, *lines])


def kustomization(text: str) -> dict[str, Content]:
    return {"services/bad/kustomization.yaml": text}


@contextmanager
def within(*, seconds: float) -> Iterator[None]:
    """Fails when what is inside takes longer."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def services(files: dict[str, Content]) -> tuple[MemoryTree, dict[str, Service]]:
    tree = MemoryTree({**NINE, **files})
    return tree, services_of(tree, team=None, patterns=["services/*"], environment="staging")


def rendered(tree: MemoryTree, service: Service, programs: Programs) -> tuple[Rendered, ...]:
    inputs = inputs_of(tree, service, environment="staging")
    return render(tree, service, inputs, environment="staging", programs=programs)


# name: (files, place, what is said)
HOSTILE: dict[str, tuple[dict[str, Content], str, str]] = {
    "symlink out of the tree": ({"services/bad/a.yaml": Link("../../../etc/passwd")}, "bad/a.yaml", "out of"),
    "absolute symlink": ({"services/bad/a.yaml": Link("/etc/passwd")}, "bad/a.yaml", "absolute"),
    "symlinked folder out of the tree": ({"services/bad/a": Link("../../..")}, "bad/a", "out of"),
    "symlink loop": ({"services/bad/a.yaml": Link("b.yaml"), "services/bad/b.yaml": Link("a.yaml")}, "a.yaml", "loop"),
    "folder linked into itself": ({"services/bad/a": Link("."), "services/bad/b.yaml": GOOD}, "bad/a", "stands in"),
    "submodule": ({"services/bad/a": Submodule("1" * 40), "services/bad/b.yaml": GOOD}, "bad/a", "submodule"),
    ".. out of the repository": (kustomization("resources:\n- ../../../x"), "kustomization.yaml:2", "out of"),
    ".. to another's file": (kustomization("resources:\n- ../s1/a.yaml"), "kustomization.yaml:2", "reads no files"),
    "absolute path": (kustomization("resources:\n- /etc"), "kustomization.yaml:2", "absolute"),
    "remote base": (kustomization("resources:\n- https://example.com/x"), "kustomization.yaml:2", "remote"),
    "git base": (kustomization("resources:\n- git@example.com:acme/x"), "kustomization.yaml:2", "remote"),
    "remote base in another spelling": (kustomization("Resources: [https://example.com/x]"), "yaml:1", "not a field"),
    "kustomization that includes itself": (kustomization("resources:\n- ."), "kustomization.yaml:2", "circle"),
    "two that include each other": (
        {**kustomization("resources: [b]"), "services/bad/b/kustomization.yaml": "resources: [..]"},
        "bad/b/kustomization.yaml:1", "circle",
    ),
    "exec plugin": (kustomization("generators: ['{apiVersion: x/v1, kind: Exec}']"), "yaml:1", "plugin"),
    "chart in a kustomization": (kustomization("helmCharts: [{name: x}]"), "kustomization.yaml:1", "chart"),
    "generator of host files": (
        kustomization("configMapGenerator: [{name: x, files: [/etc/passwd]}]"), "kustomization.yaml:1", "absolute",
    ),
    "file over the cap": ({"services/bad/a.yaml": map_of(31 * MIB)}, "bad/a.yaml", str(8 * MIB)),
    "100,000 files": ({f"services/bad/{n}.yaml": GOOD for n in range(100_000)}, "services/bad", "more than 20000"),
    "YAML alias bomb": ({"services/bad/a.yaml": bomb(12)}, "bad/a.yaml", ""),
    "YAML alias to itself": ({"services/bad/a.yaml": f"{GOOD}data: &a [*a]"}, "bad/a.yaml:4", ""),
    "deep YAML": ({"services/bad/a.yaml": GOOD + "data: " + "[" * 100_000}, "bad/a.yaml:4", ""),
    "deep JSON": ({"services/bad/a.json": '{"data": ' + "[" * 100_000}, "bad/a.json", ""),
    "invalid UTF-8": ({"services/bad/a.yaml": GOOD.encode() + b"data: \xff"}, "bad/a.yaml:4", "UTF-8"),
    "invalid UTF-8 in JSON": ({"services/bad/a.json": b'{"kind": "\xff"}'}, "bad/a.json:1", "UTF-8"),
    "NUL": ({"services/bad/a.yaml": GOOD.encode() + b"data: \0"}, "bad/a.yaml", ""),
    "object without kind": ({"services/bad/a.yaml": "apiVersion: v1\nmetadata: {name: x}"}, "bad/a.yaml:1", "no kind"),
    "object over 1.5 MB": ({"services/bad/a.yaml": map_of(1_572_864)}, "bad/a.yaml:1", "more than Kubernetes can store"),
    "duplicate key": ({"services/bad/a.yaml": f"{GOOD}kind: Secret\n"}, "bad/a.yaml:4", "kind"),
    "duplicate object": ({"services/bad/a.yaml": f"{GOOD}---\n{GOOD}"}, "bad/a.yaml:5", "is also in services/bad/a.yaml:1"),
    "encrypted": ({"services/bad/a.yaml": f"{GOOD}sops: {{mac: 'ENC[]'}}"}, "bad/a.yaml:1", "SOPS"),
    "nothing": ({"services/bad/README.md": "text"}, "bad", "no object"),
    "only comments": ({"services/bad/a.yaml": "# all gone"}, "bad", "no object"),
    "an empty list": ({"services/bad/a.yaml": "apiVersion: v1\nkind: List\nitems: []"}, "bad", "no object"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_one_bad_service_among_ten_fails_by_name_and_the_nine_render(name: str) -> None:
    # given
    files, place, said = HOSTILE[name]
    tree, found = services(files)
    # when
    with within(seconds=5), pytest.raises(TowlineError) as caught:
        rendered(tree, found["bad"], Programs())
    # then
    text = str(caught.value)
    assert place in text
    assert said in text
    assert len(text) < 10_000
    for number in range(9):
        assert len(rendered(tree, found[f"s{number}"], Programs())) == 1


@pytest.mark.parametrize(
    "name", ["YAML alias bomb", "deep YAML", "deep JSON", "file over the cap", "100,000 files"]
)
def test_what_is_refused_takes_little_memory(name: str) -> None:
    # given
    tree, found = services(HOSTILE[name][0])
    tracemalloc.start()
    try:
        # when
        with pytest.raises(TowlineError):
            rendered(tree, found["bad"], Programs())
        # then
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 * MIB


def test_2000_objects_in_one_service_render() -> None:
    # given
    documents = (GOOD.replace("good", f"good-{n}") for n in range(2_000))
    tree, found = services({"services/many/a.yaml": "---\n".join(documents)})
    # then
    with within(seconds=5):
        assert len(rendered(tree, found["many"], Programs())) == 2_000


def test_a_tag_of_yaml_never_makes_anything_but_data() -> None:
    tree, found = services({"services/tag/a.yaml": f"{GOOD}data: !!python/object/apply:os.system [ls]\n"})
    assert rendered(tree, found["tag"], Programs())[0].object["data"] == ["ls"]


def test_an_object_just_below_the_limit_renders() -> None:
    tree, found = services({"services/large/a.yaml": map_of(1_572_000)})
    assert len(rendered(tree, found["large"], Programs())) == 1


def test_a_long_list_of_remote_bases_gives_a_short_error() -> None:
    tree, found = services(kustomization(f"resources: {json.dumps(['https://example.com/x'] * 10_000)}"))
    with within(seconds=5), pytest.raises(RenderError) as caught:
        rendered(tree, found["bad"], Programs())
    assert len(str(caught.value)) < 10_000


def test_a_password_in_a_url_is_not_repeated() -> None:
    tree, found = services(kustomization("resources: ['https://user:hunter2@example.com/x']"))
    with pytest.raises(RenderError) as caught:
        rendered(tree, found["bad"], Programs())
    assert "hunter2" not in str(caught.value)


def test_a_kustomization_cannot_reach_another_service_of_the_machine(kustomize: Path, tmp_path: Path) -> None:
    # given: a secret beside the private folder, in the place that `..` leads to from its root
    secret = tmp_path / "secret.yaml"
    secret.write_text(GOOD)
    reference = "../" * 12 + str(secret).lstrip("/")
    tree, found = services(kustomization(f"resources: [{reference}]"))
    # then
    with pytest.raises(RenderError, match="staging"):
        rendered(tree, found["bad"], Programs(kustomize=kustomize))


def test_a_long_list_of_missing_files_gives_a_short_error() -> None:
    tree, found = services(kustomization(f"resources: {json.dumps([f'{n}.yaml' for n in range(20_000)])}"))
    with within(seconds=5), pytest.raises(RenderError) as caught:
        rendered(tree, found["bad"], Programs())
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    ("levels", "said"), [(12, "kustomizations to build"), (40, "32 kustomizations deep")]
)
def test_bases_that_double_with_each_level_end(levels: int, said: str, kustomize: Path) -> None:
    # given
    files: dict[str, Content] = kustomization("resources: [a0, b0]")
    for level in range(levels):
        further = f"resources: [../a{level + 1}, ../b{level + 1}]" if level + 1 < levels else "namePrefix: x"
        files |= {f"services/bad/{side}{level}/kustomization.yaml": further for side in "ab"}
    tree, found = services(files)
    # then
    with within(seconds=5), pytest.raises(RenderError, match=said):
        rendered(tree, found["bad"], Programs(kustomize=kustomize))
