import pytest
from parts.trees import Content, Link, MemoryTree, Submodule

from towline.shared.errors import Problem
from towline.worker.render.plain import MAX_DEPTH, MAX_ENTRIES, MAX_FILES, Sources, read, sources_of
from towline.worker.render.rendered import Loaded

FILES: dict[str, Content] = {
    "app/b.yaml": "kind: B",
    "app/a.yml": "kind: A",
    "app/sub/c.json": '{"kind": "C"}',
    "app/README.md": "text",
    "app/.hidden.yaml": "kind: H",
    "app/.github/ci.yaml": "kind: H",
    "other/x.yaml": "kind: X",
}


def sources(changes: dict[str, Content | None] | None = None, *, at: str = "app") -> Sources:
    files = {path: content for path, content in {**FILES, **(changes or {})}.items() if content is not None}
    return sources_of(MemoryTree(files), at)


def messages(found: Sources) -> str:
    return "\n".join(str(problem) for problem in found.problems)


def documents(content: str | bytes) -> tuple[list[Loaded], list[Problem]]:
    tree = MemoryTree({"app/a.yaml": content})
    problems: list[Problem] = []
    [source] = sources_of(tree, "app").files
    return read(tree, source, problems), problems


def test_manifests_are_found_below_the_folder_in_the_order_of_their_paths() -> None:
    found = sources()
    assert [source.path for source in found.files] == ["app/a.yml", "app/b.yaml", "app/sub/c.json"]
    assert found.paths == {"app/a.yml", "app/b.yaml", "app/sub/c.json"}
    assert found.problems == ()


def test_a_service_can_be_one_file_or_the_whole_repository() -> None:
    assert [source.path for source in sources(at="app/b.yaml").files] == ["app/b.yaml"]
    assert [source.path for source in sources(at="").files] == [
        "app/a.yml",
        "app/b.yaml",
        "app/sub/c.json",
        "other/x.yaml",
    ]


@pytest.mark.parametrize(
    ("changes", "is_changed"),
    [
        (
            {
                "app/README.md": "new",
                "app/.hidden.yaml": "new",
                "app/src/main.py": "new",
                "other/x.yaml": "new",
            },
            False,
        ),
        ({"app/b.yaml": "kind: B2"}, True),
        ({"app/sub/c.json": None}, True),
        ({"app/sub/d.yaml": ""}, True),
        ({"app/b.yaml": None, "app/z.yaml": "kind: B"}, True),
    ],
)
def test_the_digest_changes_exactly_with_the_manifests(
    changes: dict[str, Content | None], is_changed: bool
) -> None:
    assert (sources(changes).digest != sources().digest) is is_changed


def test_the_listing_of_a_folder_is_remembered_by_its_id() -> None:
    # given
    sources_of(MemoryTree(FILES), "app")
    tree = MemoryTree({**FILES, "other/x.yaml": "changed"})
    # when
    sources_of(tree, "app")
    # then
    assert tree.listings == 0


def test_where_a_link_of_a_folder_leads_is_looked_up_in_each_revision() -> None:
    # given: a folder that stays what it is, with a link out of it
    files: dict[str, Content | None] = {**FILES, "app/one.yaml": Link("../other/x.yaml")}
    before = sources_of(MemoryTree(files), "app").digest
    # when
    changed = MemoryTree({**files, "other/x.yaml": "kind: Y"})
    # then
    assert changed.entry("app") == MemoryTree(files).entry("app")
    assert sources_of(changed, "app").digest != before


def test_a_folder_that_stands_in_two_places_is_read_in_each() -> None:
    # given: one id, since the content is the same
    tree = MemoryTree({"a/x.yaml": "kind: X", "b/x.yaml": "kind: X"})
    # when
    found = [sources_of(tree, at) for at in ("a", "b")]
    # then
    assert [[source.path for source in one.files] for one in found] == [["a/x.yaml"], ["b/x.yaml"]]


def test_links_to_files_and_folders_are_followed_and_are_inputs() -> None:
    # given
    changes: dict[str, Content | None] = {
        "app/shared": Link("../other"),
        "app/one.yaml": Link("../other/x.yaml"),
    }
    # when
    found = sources(changes)
    # then
    assert {"app/one.yaml", "app/shared/x.yaml"} <= {source.path for source in found.files}
    assert {"app/shared", "app/one.yaml", "other/x.yaml"} <= found.paths
    assert found.digest != sources({**changes, "other/x.yaml": "kind: Y"}).digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"app/l.yaml": Link("../../x")}, "out of the repository"),
        ({"app/l.yaml": Link("/etc/passwd")}, "absolute"),
        ({"app/l.yaml": Link("l.yaml")}, "loop"),
        ({"app/l.yaml": Link("gone")}, "app/l.yaml: does not exist"),
        ({"app/again": Link(".")}, "app/again: is a link to a folder that it stands in"),
        ({"app/sub/up": Link("..")}, "app/sub/up: is a link to a folder that it stands in"),
        ({"app/module": Submodule("1" * 40)}, "app/module: is a submodule"),
        (
            {"app/overlays/dev/kustomization.yaml": "{}"},
            "app/overlays/dev/kustomization.yaml: renders by itself",
        ),
        ({"app/chart/Chart.yaml": "name: x"}, "app/chart/Chart.yaml: renders by itself"),
    ],
)
def test_what_cannot_be_read_is_named(changes: dict[str, Content | None], said: str) -> None:
    assert said in messages(sources(changes))


def test_a_problem_is_placed_where_the_folder_stands() -> None:
    # given: the same folder, and so the same id, in two places
    tree = MemoryTree({"a/x/Chart.yaml": "", "b/x/Chart.yaml": ""})
    # then
    assert messages(sources_of(tree, "a")).startswith("a/x/Chart.yaml")
    assert messages(sources_of(tree, "b")).startswith("b/x/Chart.yaml")


def test_with_plain_said_the_kustomization_of_the_folder_itself_is_left_out() -> None:
    found = sources({"app/kustomization.yaml": "resources: [b.yaml]"})
    assert "app/kustomization.yaml" not in found.paths
    assert found.problems == ()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({f"app/{n}.yaml": "a: b" for n in range(MAX_FILES + 1)}, f"at most {MAX_FILES}"),
        ({f"app/{n}.txt": "a" for n in range(MAX_ENTRIES + 1)}, f"more than {MAX_ENTRIES} names"),
        ({"app/" + "d/" * (MAX_DEPTH + 1) + "a.yaml": "a: b"}, f"more than {MAX_DEPTH} deep"),
    ],
    ids=["manifests", "names", "depth"],
)
def test_a_folder_has_limits(files: dict[str, Content], said: str) -> None:
    assert said in messages(sources_of(MemoryTree(files), "app"))


def test_within_the_limits_nothing_is_said() -> None:
    files: dict[str, Content] = {f"app/{n}.yaml": "a: b" for n in range(MAX_FILES)}
    assert sources_of(MemoryTree({**files, "app/" + "d/" * (MAX_DEPTH - 1) + "x": ""}), "app").problems == ()


def test_each_document_of_a_file_has_its_line() -> None:
    found, problems = documents("# head\nkind: A\n---\n\nkind: B\n---\n# nothing\n")
    assert [(d.value["kind"], d.file, d.line) for d in found] == [
        ("A", "app/a.yaml", 2),
        ("B", "app/a.yaml", 5),
    ]
    assert problems == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# only a comment",
        "version: '3'\nservices: {web: {image: x}}",  # docker compose
        '{"name": "app", "scripts": {}}',  # package.json
        "- one\n- two",
        "just text",
        "# towline: skip\nkind: Anything\nspec: {}",
        "# +argocd:skip-file-rendering\nkind: Anything",
    ],
)
def test_files_that_are_no_manifests_are_left_out(content: str) -> None:
    assert documents(content) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        "kind: X",
        "apiVersion: v1",
        "metadata: {}",
        "spec: {}",
        "other: x\n---\nkind: X",
        "[{apiVersion: v1, kind: X}]",
    ],
)
def test_a_file_with_anything_of_a_manifest_is_read_whole(content: str) -> None:
    found, _ = documents(content)
    assert len(found) == content.count("---") + 1


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("kind: A\nkind: B\n", 2, "kind"),
        ("kind: A\n  bad: indent\n", 2, ""),
        (b"kind: \xff\n", 1, "UTF-8"),
        ("kind: A\nmetadata: {{ template }}\n", 2, "looks like a template"),
        ("kind: A\n{{- if .Values.x }}\n", 3, "looks like a template"),
    ],
)
def test_what_is_no_yaml_is_named_by_file_and_line(content: str | bytes, line: int, said: str) -> None:
    # when
    found, problems = documents(content)
    # then
    assert found == []
    assert (problems[0].file, problems[0].line) == ("app/a.yaml", line)
    assert said in problems[0].message
