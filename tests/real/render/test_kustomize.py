"""Kustomizations built by the real program."""

import tempfile
from pathlib import Path

import pytest
from parts.trees import Content, Link, MemoryTree

from towline.shared.errors import ProgramLimit, RenderError, Unavailable
from towline.worker.inputs import inputs_of
from towline.worker.render.kustomize import build
from towline.worker.render.programs import Limits, Programs
from towline.worker.render.render import Rendered, render
from towline.worker.services import services_of, team_config_of

APP = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\nspec:\n  replicas: 1\n"
FILES: dict[str, Content] = {
    "base/kustomization.yaml": "resources:\n- app.yaml\n",
    "base/app.yaml": APP,
    "services/web/kustomization.yaml": "namePrefix: web-\nresources: [../../base]\npatches:\n- path: patch.yaml\n",
    "services/web/patch.yaml": APP.replace("replicas: 1", "replicas: 3"),
}


@pytest.fixture
def programs(kustomize: Path) -> Programs:
    return Programs(kustomize=kustomize)


def rendered(programs: Programs, changes: dict[str, Content | None] | None = None) -> tuple[Rendered, ...]:
    tree = MemoryTree({path: c for path, c in {**FILES, **(changes or {})}.items() if c is not None})
    service = services_of(tree, team=team_config_of(tree), patterns=["services/*"], environment="staging")[
        "web"
    ]
    inputs = inputs_of(tree, service, environment="staging")
    return render(tree, service, inputs, environment="staging", programs=programs)


def test_an_overlay_is_built_and_its_objects_are_placed(programs: Programs) -> None:
    # when
    [found] = rendered(programs)
    # then
    assert found.object["metadata"]["name"] == "web-app"
    assert found.object["spec"]["replicas"] == 3
    assert found.file in ("base/app.yaml", "services/web/patch.yaml")


def test_the_same_files_give_the_same_objects(programs: Programs) -> None:
    assert rendered(programs) == rendered(programs, {"README.md": "new", "other/x.yaml": "new"})


EVERYTHING = """
resources: [../../base, app2.yaml]
components: [../../components/c]
crds: [crd.json]
patches:
- path: patch.yaml
- patch: '[{"op": "add", "path": "/spec/paused", "value": true}]'
  target: {kind: Deployment, name: app2}
patchesStrategicMerge:
- merge.yaml
- |-
  apiVersion: apps/v1
  kind: Deployment
  metadata: {name: app2}
  spec: {minReadySeconds: 7}
patchesJson6902:
- path: json6902.yaml
  target: {group: apps, version: v1, kind: Deployment, name: app2}
configMapGenerator:
- name: made
  files: [a.properties, key=b.properties]
  envs: [c.env]
  env: d.env
  literals: [e=5]
secretGenerator:
- name: hidden
  files: [tls.crt=cert.pem]
replacements:
- path: replacement.yaml
configurations: [config.yaml]
openapi: {path: schema.json}
generators: [generator.yaml]
transformers:
- transformer.yaml
- |-
  apiVersion: builtin
  kind: PatchTransformer
  metadata: {name: inline}
  path: inline-patch.yaml
  target: {kind: Deployment, name: app2}
"""
OTHERS: dict[str, Content] = {
    "services/web/app2.yaml": APP.replace("app", "app2").replace("app2s/", "apps/").replace("app2iV", "apiV"),
    "services/web/crd.json": "{}",
    "services/web/merge.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app2}\nspec: {replicas: 9}\n",
    "services/web/json6902.yaml": "- {op: add, path: /metadata/annotations, value: {a: b}}\n",
    "services/web/a.properties": "a",
    "services/web/b.properties": "b",
    "services/web/c.env": "c=3",
    "services/web/d.env": "d=4",
    "services/web/cert.pem": "cert",
    "services/web/replacement.yaml": "source: {kind: Deployment, name: app2, fieldPath: metadata.name}\n"
    "targets: [{select: {kind: ConfigMap, name: made}, fieldPaths: [data.e]}]\n",
    "services/web/config.yaml": "namePrefix: [{path: metadata/name}]\n",
    "services/web/schema.json": '{"definitions": {}}',
    "services/web/generator.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\n"
    "name: from-plugin\nfiles: [a.properties]\n",
    "services/web/transformer.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\n"
    "labels: {team: shop}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
    "services/web/inline-patch.yaml": "- {op: add, path: /spec/revisionHistoryLimit, value: 2}\n",
    "components/c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    "configMapGenerator: [{name: from-component, literals: [x=y]}]\n",
}


def test_the_closure_holds_what_kustomize_reads_for_every_field(programs: Programs) -> None:
    # given: one file for each field that can name one; the private folder holds nothing but the closure
    changes: dict[str, Content | None] = {**OTHERS, "services/web/kustomization.yaml": EVERYTHING}
    # when
    found = {
        (r.object["kind"], r.object["metadata"]["name"].rpartition("-")[0]): r.object
        for r in rendered(programs, changes)
    }
    # then
    app2 = next(value for value in found.values() if value["metadata"]["name"] == "app2")
    assert app2["spec"] == {"replicas": 9, "paused": True, "minReadySeconds": 7, "revisionHistoryLimit": 2}
    assert app2["metadata"]["annotations"] == {"a": "b"}
    assert app2["metadata"]["labels"] == {"team": "shop"}
    made = found["ConfigMap", "made"]["data"]
    assert made == {"a.properties": "a", "key": "b", "c": "3", "d": "4", "e": "app2"}
    assert {("Secret", "hidden"), ("ConfigMap", "from-plugin"), ("ConfigMap", "from-component")} <= set(found)


@pytest.mark.parametrize("missing", sorted(OTHERS))
def test_each_missing_file_is_named_before_kustomize_runs(missing: str) -> None:
    # given: no program at all
    changes: dict[str, Content | None] = {
        **OTHERS,
        "services/web/kustomization.yaml": EVERYTHING,
        missing: None,
    }
    # then
    with pytest.raises(RenderError, match=r"does not exist|holds none") as caught:
        rendered(Programs(), changes)
    name = missing.rpartition("/")[2] if missing.startswith("services") else "components/c"
    assert name in str(caught.value.problems[0])


def test_links_of_files_and_folders_are_built(programs: Programs) -> None:
    changes: dict[str, Content | None] = {
        "services/web/patch.yaml": Link("real/patch.yaml"),
        "services/web/real/patch.yaml": FILES["services/web/patch.yaml"],
        "services/web/kustomization.yaml": str(FILES["services/web/kustomization.yaml"]).replace(
            "../../base", "../../link"
        ),
        "link": Link("base"),
    }
    assert rendered(programs, changes)[0].object == rendered(programs)[0].object


def test_a_folder_that_is_a_link_is_a_service(programs: Programs) -> None:
    files: dict[str, Content | None] = {
        path.replace("services/web", "real/web"): c for path, c in FILES.items()
    }
    without = dict.fromkeys(FILES, None)
    changes = {**without, **files, "services/web": Link("../real/web")}
    assert rendered(programs, changes)[0].object == rendered(programs)[0].object


@pytest.mark.parametrize(
    ("changes", "file", "line", "said"),
    [
        ({"base/app.yaml": "kind: A\n  bad: x\n"}, "base/app.yaml", None, "MalformedYAML"),
        ({"base/app.yaml": "kind: A\nmetadata: {name: x}\nspec: [\n"}, "base/app.yaml", 3, "line"),
        (
            {"base/kustomization.yaml": "resources: [app.yaml]\nimages: 7\n"},
            "base/kustomization.yaml",
            None,
            "images",
        ),
        (
            {"services/web/patch.yaml": APP.replace("app\n", "other\n")},
            "services/web/patch.yaml",
            None,
            "no matches",
        ),
    ],
)
def test_what_kustomize_says_is_told_with_its_place(
    changes: dict[str, Content | None], file: str, line: int | None, said: str, programs: Programs
) -> None:
    # when
    with pytest.raises(RenderError) as caught:
        rendered(programs, changes)
    # then
    [problem] = caught.value.problems
    assert said in problem.message
    assert "/tmp" not in problem.message
    assert problem.file in (file, "services/web/kustomization.yaml")
    assert line is None or problem.line is not None


def test_without_kustomize_the_error_says_how_to_install_it() -> None:
    with pytest.raises(RenderError, match="not installed") as caught:
        rendered(Programs())
    assert "kubectl.docs.kubernetes.io/installation" in caught.value.hint


def test_a_limit_of_the_build_is_told(programs: Programs) -> None:
    tree = MemoryTree(FILES)
    with pytest.raises(ProgramLimit):
        build(tree, "base", frozenset(FILES), programs=programs, limits=Limits(output_bytes=10))


def test_variables_of_the_machine_do_not_get_into_objects(programs: Programs) -> None:
    # given: an env file with names alone takes the values from kustomize's own environment
    changes: dict[str, Content | None] = {
        "services/web/kustomization.yaml": "configMapGenerator: [{name: e, envs: [e.env]}]",
        "services/web/e.env": "HOME\nPATH\nUSER\nTOWLINE_SECRET_KEY\nAWS_SECRET_ACCESS_KEY\n",
    }
    # then
    assert set(rendered(programs, changes)[0].object["data"].values()) <= {"", "/nonexistent"}


@pytest.mark.parametrize(
    "kustomization",
    [
        "resources: ['https://127.0.0.1:9/x.yaml']",
        "resources: ['git::https://127.0.0.1:9/acme/x']",
        "resources: [/etc]",
        "configMapGenerator: [{name: x, files: [/etc/hostname]}]",
        "configMapGenerator: [{name: x, files: [../../../../../../etc/hostname]}]",
        "helmCharts: [{name: x, repo: 'https://127.0.0.1:9', version: '1'}]",
        """generators: ['{apiVersion: x/v1, kind: X, metadata: {name: x, annotations: {config.kubernetes.io/function:
        "exec: {path: /bin/true}"}}}']""",
    ],
)
def test_what_the_checks_before_would_miss_is_stopped_by_the_program_itself(
    kustomization: str, programs: Programs
) -> None:
    # given: the build alone, without the closure's checks
    tree = MemoryTree({"kustomization.yaml": kustomization})
    # then
    with pytest.raises(RenderError) as caught:
        build(tree, "", frozenset(["kustomization.yaml"]), programs=programs, limits=Limits(seconds=5))
    assert not isinstance(caught.value, ProgramLimit)


def test_nothing_is_left_in_the_temporary_folder(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # when
    rendered(programs)
    with pytest.raises(RenderError):
        rendered(programs, {"base/app.yaml": "{"})
    # then
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_private_folder_may_pass(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    with pytest.raises(Unavailable) as caught:
        rendered(programs)
    assert caught.value.retry
