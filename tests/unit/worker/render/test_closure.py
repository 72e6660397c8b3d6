import pytest
from parts.trees import Content, Link, MemoryTree, Submodule

from towline.worker.render.closure import MAX_DEPTH, MAX_FILES, MAX_VISITS, Closure, closure_of
from towline.worker.tree import Entry

BASE: dict[str, Content] = {
    "base/kustomization.yaml": "resources:\n- app.yaml\n",
    "base/app.yaml": "kind: A",
    "base/README.md": "not read",
    "app/kustomization.yaml": "resources:\n- ../base\npatches:\n- path: patch.yaml\n",
    "app/patch.yaml": "kind: A",
    "app/notes.txt": "not read",
    "other/x.yaml": "kind: X",
}


def closure(changes: dict[str, Content | None] | None = None, *, at: str = "app") -> Closure:
    files = {path: content for path, content in {**BASE, **(changes or {})}.items() if content is not None}
    return closure_of(MemoryTree(files), at)


def messages(found: Closure) -> str:
    return "\n".join(str(problem) for problem in found.problems)


def test_the_closure_is_exactly_what_a_build_reads() -> None:
    found = closure()
    assert found.problems == ()
    assert found.paths == {
        "app/kustomization.yaml",
        "app/patch.yaml",
        "base/kustomization.yaml",
        "base/app.yaml",
    }


@pytest.mark.parametrize(
    ("changes", "is_changed"),
    [
        (
            {"base/README.md": "new", "app/notes.txt": "new", "other/x.yaml": "new", "app/new.yaml": "new"},
            False,
        ),
        ({"base/app.yaml": "kind: B"}, True),
        ({"base/kustomization.yaml": "resources:\n- app.yaml # the same\n"}, True),
        ({"app/patch.yaml": "kind: B"}, True),
        ({"app/kustomization.yaml": "resources: [../base]"}, True),
        ({"app/patch.yaml": None}, True),
        ({"base/app.yaml": None}, True),
        ({"app/kustomization.yml": "resources: []"}, True),
    ],
)
def test_the_digest_changes_exactly_with_the_inputs(
    changes: dict[str, Content | None], is_changed: bool
) -> None:
    assert (closure(changes).digest != closure().digest) is is_changed


def test_what_was_read_of_a_folder_is_remembered_by_its_id() -> None:
    # given
    first = MemoryTree(BASE)
    closure_of(first, "app")
    second = MemoryTree({**BASE, "other/x.yaml": "changed"})
    # when
    closure_of(second, "app")
    # then
    assert (second.reads, second.listings) == (0, 0)


class AskedTree(MemoryTree):
    """Notes at which paths something was looked for."""

    def __init__(self, files: dict[str, Content]) -> None:
        self.asked: set[str] = set()
        super().__init__(files)

    def entry(self, path: str) -> Entry | None:
        self.asked.add(path)
        return super().entry(path)


@pytest.mark.parametrize(
    ("changes", "is_known"),
    [({"README.md": "new", "services/web/app.yaml": "new"}, True), ({"base/eu/app.yaml": "kind: B"}, False)],
)
def test_a_closure_of_which_nothing_changed_is_known_by_its_folders_near_the_root(
    changes: dict[str, Content], is_known: bool
) -> None:
    overlay = "services/orders/overlays/staging"
    files = {
        f"{overlay}/kustomization.yaml": "resources: [../../../../base/eu]",
        "base/eu/kustomization.yaml": "resources: [app.yaml]",
        "base/eu/app.yaml": "kind: A",
    }
    before = closure_of(MemoryTree(files), overlay)
    tree = AskedTree({**files, **changes})

    found = closure_of(tree, overlay)

    assert (found == before) is is_known
    assert (tree.asked <= {"services/orders", "base/eu"}) is is_known


def test_two_users_of_a_base_share_it_and_neither_sees_the_others_files() -> None:
    # given
    tree = MemoryTree({**BASE, "second/kustomization.yaml": "resources: [../base]"})
    # when
    first, second = closure_of(tree, "app"), closure_of(tree, "second")
    # then
    assert first.paths & second.paths == {"base/kustomization.yaml", "base/app.yaml"}
    assert first.digest != second.digest


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
def test_the_three_names_of_a_kustomization(name: str) -> None:
    found = closure({"app/kustomization.yaml": None, f"app/{name}": "resources: [../base]"})
    assert found.problems == ()
    assert f"app/{name}" in found.paths


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"app/patch.yaml": None}, "app/kustomization.yaml:4: patches.0.path", "patch.yaml does not exist"),
        ({"base/app.yaml": None}, "base/kustomization.yaml:2: resources.0", "app.yaml does not exist"),
        ({"base/kustomization.yaml": None}, "base", "holds none of them"),
        ({"app/kustomization.yml": "{}"}, "app", "has 2 of them"),
        ({"app/patch.yaml/x": "", "app/patch.yaml": None}, "app/kustomization.yaml:4", "is a folder"),
        ({"app/patch.yaml": Submodule("1" * 40)}, "app/kustomization.yaml:4", "is a submodule"),
        ({"base/kustomization.yaml": "components: [app.yaml]"}, "base/kustomization.yaml:1", "is a file"),
        ({"app/kustomization.yaml": "resources: [../gone]"}, "app/kustomization.yaml:1", "../gone does not exist"),
        ({"app/kustomization.yaml": "resources: [../other/x.yaml]"}, "app/kustomization.yaml:1", "reads no files"),
        ({"app/kustomization.yaml": "crds: [../other/x.yaml]"}, "app/kustomization.yaml:1", "outside"),
        ({"app/kustomization.yaml": "resources: [../../x]"}, "app/kustomization.yaml:1", "out of the repository"),
        ({"app/kustomization.yaml": "resources: [/etc]"}, "app/kustomization.yaml:1", "absolute"),
        ({"app/kustomization.yaml": "crds: [/etc/passwd]"}, "app/kustomization.yaml:1", "absolute"),
        ({"app/kustomization.yaml": "resources:\n- a\n\n- https://x.example/b"}, "app/kustomization.yaml:4", "remote"),
        ({"app/kustomization.yaml": "resources: [a\n"}, "app/kustomization.yaml", "expected"),
        ({"app/kustomization.yaml": "#" * 1024 * 1024 + "#"}, "app/kustomization.yaml", "1048577"),
    ],
)  # fmt: skip
def test_a_problem_names_file_line_and_field(
    changes: dict[str, Content | None], place: str, said: str
) -> None:
    found = closure(changes)
    assert any(str(p).startswith(place) and said in str(p) for p in found.problems), messages(found)


def test_all_problems_are_told_at_once() -> None:
    found = closure({"app/patch.yaml": None, "base/app.yaml": None})
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"app/kustomization.yaml": "resources: [.]"},
        {"app/kustomization.yaml": "resources: [../app]"},
        {"app/kustomization.yaml": "resources: [sub/..]"},
        {"base/kustomization.yaml": "resources: [../app]"},
        {"app/kustomization.yaml": "resources: [self]", "app/self": Link(".")},
        {
            "app/kustomization.yaml": "components: [../base]",
            "base/kustomization.yaml": "components: [../app]",
        },
    ],
)
def test_a_kustomization_that_includes_itself_is_refused(changes: dict[str, Content | None]) -> None:
    assert "is a circle" in messages(closure(changes))


@pytest.mark.parametrize(("depth", "is_refused"), [(MAX_DEPTH - 1, False), (MAX_DEPTH, True)])
def test_depth_has_a_limit(depth: int, is_refused: bool) -> None:
    files: dict[str, Content] = {
        f"d{n}/kustomization.yaml": f"resources: [../d{n + 1}]" for n in range(depth)
    }
    found = closure_of(MemoryTree({**files, f"d{depth}/kustomization.yaml": "namePrefix: x"}), "d0")
    assert ("deep" in messages(found)) is is_refused


@pytest.mark.parametrize(("levels", "is_refused"), [(8, False), (10, True)])
def test_a_build_that_doubles_with_each_level_is_refused(levels: int, is_refused: bool) -> None:
    # given: each level includes both kustomizations of the next one, so kustomize builds 2 ** levels of them
    files: dict[str, Content] = {}
    for level in range(levels):
        for side in "ab":
            files[f"{side}{level}/kustomization.yaml"] = f"resources: [../a{level + 1}, ../b{level + 1}]"
    for side in "ab":
        files[f"{side}{levels}/kustomization.yaml"] = "namePrefix: x"
    # when
    found = closure_of(MemoryTree(files), "a0")
    # then
    assert (f"at most {MAX_VISITS}" in messages(found)) is is_refused


def test_the_number_of_files_has_a_limit() -> None:
    names = [f"f{n}.yaml" for n in range(MAX_FILES)]
    files: dict[str, Content] = {f"app/{name}": "a: b" for name in names}
    found = closure_of(
        MemoryTree({**files, "app/kustomization.yaml": f"resources: [{', '.join(names)}]"}), "app"
    )
    assert f"at most {MAX_FILES}" in messages(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"app/patch.yaml": Link("real.yaml"), "app/real.yaml": "kind: A"},
        {
            "app/kustomization.yaml": "resources: [link/x.yaml]",
            "app/link": Link("sub"),
            "app/sub/x.yaml": "kind: X",
        },
        {"app/kustomization.yaml": "resources: [../linked]", "linked": Link("base")},
        {"app/kustomization.yaml": "resources: [linked]", "app/linked": Link("../base")},
    ],
)
def test_links_inside_the_tree_are_followed_and_are_inputs(changes: dict[str, Content | None]) -> None:
    # when
    found = closure(changes)
    # then
    links = {path for path, content in changes.items() if isinstance(content, Link)}
    assert found.problems == ()
    assert links <= found.paths


def test_a_link_pointed_elsewhere_changes_the_digest() -> None:
    # given
    files: dict[str, Content | None] = {
        "app/kustomization.yaml": "resources: [../linked]",
        "linked": Link("base"),
    }
    copy = {
        "copy/kustomization.yaml": BASE["base/kustomization.yaml"],
        "copy/app.yaml": BASE["base/app.yaml"],
    }
    # then
    assert closure({**files, **copy}).digest != closure({**files, **copy, "linked": Link("copy")}).digest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"app/patch.yaml": Link("../other/x.yaml")}, "outside"),
        ({"app/patch.yaml": Link("../../secret")}, "outside"),
        ({"app/patch.yaml": Link("/etc/passwd")}, "outside"),
        ({"app/patch.yaml": Link("patch.yaml")}, "loop"),
        ({"app/kustomization.yaml": "resources: [out]", "app/out": Link("../..")}, "out of the repository"),
        ({"app/kustomization.yaml": "resources: [out]", "app/out": Link("/etc")}, "absolute"),
        ({"app/kustomization.yaml": "resources: [../l]", "l": Link("l")}, "loop"),
        ({"app/kustomization.yaml": Link("../other/x.yaml")}, "outside"),
    ],
)
def test_links_that_leave_or_loop_are_refused(changes: dict[str, Content | None], said: str) -> None:
    assert said in messages(closure(changes))


def test_the_same_folder_in_two_places_is_judged_by_its_place() -> None:
    # given: the same folder, once deep enough for its reference and once not
    folder: Content = "resources: [../../base]"
    tree = MemoryTree({**BASE, "a/b/kustomization.yaml": folder, "b/kustomization.yaml": folder})
    # then
    assert closure_of(tree, "a/b").problems == ()
    assert "out of the repository" in messages(closure_of(tree, "b"))


PLUGIN = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: patch.yaml\n"


def test_files_that_plugins_name_belong_to_the_closure() -> None:
    found = closure({"app/kustomization.yaml": "transformers: [t.yaml]", "app/t.yaml": PLUGIN})
    assert found.problems == ()
    assert found.paths == {"app/kustomization.yaml", "app/t.yaml", "app/patch.yaml"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("apiVersion: builtin\nkind: LabelTransformer\nlabels: {a: b}\n", None),
        ("apiVersion: x.example.com/v1\nkind: Exec\n", "t/c.yaml:1: Exec of x.example.com/v1 is a plugin"),
        (PLUGIN, "t/c.yaml:4: path: a plugin in a folder of plugins cannot name files"),
    ],
)
def test_a_folder_of_plugins_is_checked_too(config: str, said: str | None) -> None:
    found = closure(
        {
            "app/kustomization.yaml": "transformers: [../t]",
            "t/kustomization.yaml": "resources: [c.yaml]",
            "t/c.yaml": config,
        }
    )
    assert messages(found).startswith(said) if said else found.problems == ()
    assert "t/c.yaml" in found.paths


def test_a_repository_can_be_one_kustomization() -> None:
    found = closure_of(
        MemoryTree({"kustomization.yaml": "resources: [a.yaml, b]", "a.yaml": "", "b/Kustomization": "{}"}),
        "",
    )
    assert found.problems == ()
    assert found.paths == {"kustomization.yaml", "a.yaml", "b/Kustomization"}
