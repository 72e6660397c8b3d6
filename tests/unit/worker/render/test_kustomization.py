import pytest

from towline.worker.render.kustomization import Wants, is_remote, plugin_references_of, references_of

ALL = b"""
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml, ../../base]
bases: [../old-base]
components: [../../components/tls]
crds: [crd.json]
patches:
- path: patch.yaml
- patch: |-
    - op: remove
      path: /spec/replicas
  target: {kind: Deployment}
patchesStrategicMerge:
- merge.yaml
- |-
  apiVersion: v1
  kind: Service
  metadata: {name: x}
patchesJson6902:
- path: json6902.yaml
  target: {kind: Service, name: x, version: v1}
configMapGenerator:
- name: files
  files: [a.properties, key=b.properties]
  envs: [c.env]
  env: d.env
  literals: [URL=https://example.com]
secretGenerator:
- name: secret
  files: [tls.crt=cert.pem]
replacements:
- path: replacement.yaml
- source: {kind: Service, name: x, fieldPath: spec.clusterIP}
  targets: [{select: {kind: Deployment}, fieldPaths: [spec.x]}]
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
validators: [../validators]
images: [{name: app, newTag: "2"}]
commonAnnotations: {see: "https://example.com"}
"""

FILES = [
    "crd.json",
    "patch.yaml",
    "merge.yaml",
    "json6902.yaml",
    "a.properties",
    "b.properties",
    "c.env",
    "d.env",
    "cert.pem",
    "replacement.yaml",
    "config.yaml",
    "schema.json",
    "inline-patch.yaml",
]


def test_every_field_that_names_a_file_or_folder_is_read() -> None:
    # when
    references = references_of(ALL)
    # then
    assert references.problems == ()
    by_wants = {wants: {r.text for r in references.found if r.wants is wants} for wants in Wants}
    assert by_wants[Wants.FILE] == set(FILES)
    assert by_wants[Wants.FOLDER] == {"../old-base", "../../components/tls"}
    assert by_wants[Wants.EITHER] == {
        "deployment.yaml", "../../base", "generator.yaml", "transformer.yaml", "../validators"
    }  # fmt: skip
    assert {r.text for r in references.found if r.is_plugin} == {
        "generator.yaml",
        "transformer.yaml",
        "../validators",
    }


def test_a_reference_knows_its_field_and_line() -> None:
    reference = next(r for r in references_of(ALL).found if r.text == "b.properties")
    assert reference.field == "configMapGenerator.0.files.1"
    assert ALL.split(b"\n")[reference.line - 1].strip().startswith(b"files:")


def test_patches_in_the_form_of_old_releases_are_paths() -> None:
    references = references_of(b"patches: [one.yaml, two.yaml]")
    assert [(r.text, r.field) for r in references.found] == [
        ("one.yaml", "patches.0"),
        ("two.yaml", "patches.1"),
    ]


REMOTE = [
    "https://example.com/base",
    "http://example.com/patch.yaml",
    "HTTPS://example.com/x",
    "ssh://git@example.com/acme/base",
    "file:///etc",
    "oci://ghcr.io/acme/base",
    "git::https://example.com/acme/base",
    "git::file:///srv",
    "gh:acme/base",
    "github.com/acme/base",
    "github.com:acme/base",
    "www.github.com/acme/base",
    "git@github.com:acme/base.git",
    "user@example.com:acme/base",
    "user@example.com/acme/base",
    "dev.azure.com/acme/_git/base",
    "gitlab.com/acme/base.git//deploy",
    "example.com/acme/base?ref=main",
    "base?version=v1",
    "../x/../https://example.com/x",
]


@pytest.mark.parametrize("text", REMOTE)
def test_all_forms_of_remote_bases_are_seen(text: str) -> None:
    assert is_remote(text)


@pytest.mark.parametrize(
    "text",
    [
        "../base",
        "app@2.yaml",
        "a.b/c.yaml",
        "github.com.yaml",
        "my.git-config.yaml",
        "what?.yaml",
        ".github/x",
    ],
)
def test_local_paths_are_not_taken_for_remote_ones(text: str) -> None:
    assert not is_remote(text)


REMOTE_FIELDS = [
    "resources: [{0}]",
    "bases: [{0}]",
    "components: [{0}]",
    "crds: [{0}]",
    "configurations: [{0}]",
    "generators: [{0}]",
    "transformers: [{0}]",
    "validators: [{0}]",
    "patches: [{{path: {0}}}]",
    "patches: [{0}]",
    "patchesStrategicMerge: [{0}]",
    "patchesJson6902: [{{path: {0}}}]",
    "replacements: [{{path: {0}}}]",
    "openapi: {{path: {0}}}",
    "configMapGenerator: [{{files: [{0}]}}]",
    "configMapGenerator: [{{files: ['key={0}']}}]",
    "configMapGenerator: [{{envs: [{0}]}}]",
    "secretGenerator: [{{env: {0}}}]",
    "transformers: ['{{apiVersion: builtin, kind: PatchTransformer, path: \"{0}\"}}']",
    "transformers: ['{{apiVersion: builtin, kind: ValueAddTransformer, targetFilePath: \"{0}\"}}']",
    "transformers: ['{{apiVersion: builtin, kind: PatchStrategicMergeTransformer, paths: [\"{0}\"]}}']",
    "transformers: ['{{apiVersion: builtin, kind: ReplacementTransformer, replacements: [{{path: \"{0}\"}}]}}']",
    "generators: ['{{apiVersion: builtin, kind: ConfigMapGenerator, files: [\"{0}\"]}}']",
]


@pytest.mark.parametrize("field", REMOTE_FIELDS)
def test_a_url_is_refused_in_every_field(field: str) -> None:
    # when
    references = references_of(field.format("https://user:secret@example.com/x").encode())
    # then
    assert references.found == ()
    assert len(references.problems) == 1
    assert "remote" in references.problems[0].message
    assert "secret" not in references.problems[0].message
    assert references.problems[0].line == 1


FUNCTION = b"""
transformers:
- |-
  apiVersion: builtin
  kind: LabelTransformer
  metadata: {annotations: {config.kubernetes.io/function: "container: {image: x}"}}
"""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Resources: [x.yaml]", "not a field"),
        (b"\xc5\xbfecretGenerator: []", "not a field"),  # the long s, which Go takes for an s
        (b"patches: [{Path: x.yaml}]", "not a field"),
        (b"configMapGenerator: [{FILES: [x]}]", "not a field"),
        (b"helmCharts: [{name: x}]", "chart"),
        (b"helmChartInflationGenerator: [{chartName: x}]", "chart"),
        (b"resources: x.yaml", "not a list"),
        (b"resources: [{a: b}]", "not a path"),
        (b"resources: ['']", "not a path"),
        (b"patches: [[x]]", "not a mapping"),
        (b"resources: [a\n", "expected"),
        (b"resources: []\nresources: []", "resources"),
        (b"- a", "one mapping"),
        (b"a: b\n---\nc: d", "one mapping"),
        (b"", "one mapping"),
        (b"\xff\xfe", "UTF-8"),
        (b"generators: ['{apiVersion: someteam.example.com/v1, kind: ChartInflator}']", "plugin"),
        (b"generators: ['{apiVersion: builtin, kind: HelmChartInflationGenerator}']", "plugin"),
        (FUNCTION, "container"),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes, said: str) -> None:
    references = references_of(data)
    assert references.found == ()
    assert any(said in problem.message for problem in references.problems), references.problems


def test_a_mistyped_field_gets_the_nearest_name() -> None:
    problem = references_of(b"namespace: x\nresource: [a]").problems[0]
    assert (problem.path, problem.line, problem.allowed) == ("resource", 2, "resources")


def test_the_configuration_of_builtin_plugins_is_read() -> None:
    # when
    references = plugin_references_of(
        b"apiVersion: builtin\nkind: PatchTransformer\npath: p.yaml\n---\n"
        b"apiVersion: builtin\nkind: LabelTransformer\nfieldSpecs: [{path: metadata/labels}]\n---\n"
        b"apiVersion: builtin\nkind: PatchStrategicMergeTransformer\npaths:\n- s.yaml\n- 'a: {b: c}'\n"
    )
    # then
    assert references.problems == ()
    assert {r.text for r in references.found} == {"p.yaml", "s.yaml", "a: {b: c}"}


def test_a_plugin_of_somebody_else_is_refused_with_its_line() -> None:
    data = b"apiVersion: builtin\nkind: LabelTransformer\n---\napiVersion: x.example.com/v1\nkind: Exec\n"
    problems = plugin_references_of(data).problems
    assert [problem.line for problem in problems] == [4]
