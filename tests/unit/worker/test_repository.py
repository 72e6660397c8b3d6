"""The services of a revision are worked out once, however many syncs of it ask for one of them."""

from parts.engine import configuration, parsed
from parts.trees import MemoryTree

from towline.worker.repository import services_in


def place(tmp_path, environment="staging"):
    document = configuration(
        tmp_path,
        redis_url="redis://127.0.0.1:1/0",
        kubeconfig=tmp_path / "kubeconfig",
        url="http://127.0.0.1/shop.git",
        namespaces={"staging": "shop-staging", "production": "shop"},
    )
    config = parsed(document, tmp_path)
    return config.repositories[0], config.environment(environment)


def files_of(*services, text="a: 1\n"):
    return {f"services/{name}/app.yaml": text for name in services}


def test_a_second_look_at_a_revision_reads_nothing_of_its_services(tmp_path):
    repository, environment = place(tmp_path)
    files = files_of("orders", "cart", text="only: in this test\n")
    first, second = MemoryTree(files), MemoryTree(files)

    found = services_in(first, repository, environment)
    again = services_in(second, repository, environment)

    assert first.listings > 0
    assert (second.listings, second.reads) == (0, 0)
    assert again == found
    assert set(found) == {"orders", "cart"}


def test_another_revision_has_services_of_its_own(tmp_path):
    repository, environment = place(tmp_path)

    before = services_in(MemoryTree(files_of("orders")), repository, environment)
    after = services_in(MemoryTree(files_of("orders", "cart")), repository, environment)

    assert (set(before), set(after)) == ({"orders"}, {"orders", "cart"})


def test_another_environment_has_services_of_its_own(tmp_path):
    overlays = {
        f"services/orders/overlays/{name}/kustomization.yaml": "resources: []\n"
        for name in ("staging", "production")
    }

    paths = [
        services_in(MemoryTree(overlays), *place(tmp_path, name))["orders"].path
        for name in ("staging", "production")
    ]

    assert paths == ["services/orders/overlays/staging", "services/orders/overlays/production"]
