from parts.trees import MemoryTree

from towline.worker.render.origins import Origins, objects_in

TREE = MemoryTree(
    {
        "app/kustomization.yaml": "namePrefix: dev-\nresources: [../base]\n",
        "base/all.yaml": "# head\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n---\n"
        "apiVersion: apps/v1\nmetadata:\n  name: web\nkind: Deployment\n---\n"
        'kind: "Deployment"\nmetadata:\n  name: "web-admin"\n',
        "base/broken.yaml": "kind: Service\nmetadata: {name: flow}\n",
    }
)
PATHS = frozenset(("app/kustomization.yaml", "base/all.yaml", "base/broken.yaml", "gone.yaml"))


def origin(kind: str, name: str) -> tuple[str, int]:
    return Origins(TREE, "app", PATHS).of({"kind": kind, "metadata": {"name": name}})


def test_an_object_is_found_by_kind_and_name_whatever_was_added_to_the_name() -> None:
    assert origin("Service", "web") == ("base/all.yaml", 3)
    assert origin("Deployment", "dev-web") == ("base/all.yaml", 10)
    assert origin("Deployment", "dev-web-admin-5f4d") == ("base/all.yaml", 12)


def test_what_is_not_found_is_placed_at_the_kustomization() -> None:
    assert origin("ConfigMap", "made-5f4d") == ("app/kustomization.yaml", 1)
    assert Origins(TREE, "app", PATHS).of("no object") == ("app/kustomization.yaml", 1)
    assert Origins(TREE, "app", PATHS).of({"kind": "A", "metadata": []}) == ("app/kustomization.yaml", 1)


def test_text_that_is_no_yaml_has_no_objects() -> None:
    assert objects_in(b"\xff\xfe---\n---\nkind: \n  name:\n") == []
