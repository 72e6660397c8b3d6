"""What a revision means is worked out once, and of the next one only what an edit can have changed."""

import pytest
from parts.engine import configuration, parsed
from parts.trees import Link, MemoryTree

from towline.worker.repository import all_inputs_in, inputs_in, services_in
from towline.worker.start import tools_of


def configured(tmp_path):
    document = configuration(
        tmp_path,
        redis_url="redis://127.0.0.1:1/0",
        kubeconfig=tmp_path / "kubeconfig",
        url="http://127.0.0.1/shop.git",
        namespaces={"staging": "shop-staging", "production": "shop"},
    )
    return parsed(document, tmp_path)


def place(tmp_path, environment="staging"):
    config = configured(tmp_path)
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


BASE = {
    ".towline.yaml": "services:\n"
    "  shop: {path: shop, render: kustomize}\n"
    "  chart: {path: charts/a, render: helm}\n"
    "  discover: [services/*]\n",
    "shop/kustomization.yaml": "resources: [../base]\n",
    "base/kustomization.yaml": "resources: [app.yaml]\n",
    "base/app.yaml": "a: 1\n",
    "charts/a/Chart.yaml": "name: a\n",
    "charts/a/templates/app.yaml": "a: 1\n",
    "services/orders/app.yaml": "a: 1\n",
    "services/cart/app.yaml": Link("../../common/app.yaml"),
    "services/cart/more": Link("../../common/more"),
    "services/odd/kustomization.yaml": "resources: [missing.yaml]\n",
    "services/broken/kustomization.yaml": "resources: [../../broken]\n",
    "broken/kustomization.yaml": "resources: [\n",
    "common/app.yaml": "a: 1\n",
    "common/more/other.yaml": "a: 1\n",
}
EDITS = {
    "a file of its own": ({"services/orders/app.yaml": "a: 2\n"}, {"orders"}),
    "a file that links lead to": ({"common/app.yaml": "a: 2\n"}, {"cart"}),
    "a file in a folder that links lead to": ({"common/more/other.yaml": "a: 2\n"}, {"cart"}),
    "a base": ({"base/app.yaml": "a: 2\n"}, {"shop"}),
    "a kustomization of a base": ({"base/kustomization.yaml": "resources: [./app.yaml]\n"}, {"shop"}),
    "a broken kustomization of a base": ({"broken/kustomization.yaml": "resources: []\n"}, {"broken"}),
    "a chart's template": ({"charts/a/templates/app.yaml": "a: 2\n"}, {"chart"}),
    "a missing file": ({"services/odd/missing.yaml": "a: 2\n"}, {"odd"}),
    "a file that nobody reads": ({"common/readme": "a\n"}, set()),
    "a link": ({"services/cart/app.yaml": Link("../orders/app.yaml")}, {"cart"}),
    "a service's entry": (
        {".towline.yaml": BASE[".towline.yaml"].replace("charts/a,", "charts/a, values: [x.yaml],")},
        {"chart"},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_inputs_of_the_services_that_read_it_and_of_no_other(tmp_path, edit):
    repository, environment = place(tmp_path)
    files, changed = EDITS[edit]

    base = BASE | {"common/readme": f"another revision for {edit}\n"}
    tools, tree = tools_of(configured(tmp_path)), MemoryTree(base | files)

    before = digests(tmp_path, MemoryTree(base))
    after = digests(tmp_path, tree)

    assert {name for name in after if after[name] != before.get(name)} == changed
    assert after == {
        name: inputs_in(tools, tree, service, environment).digest
        for name, service in services_in(tree, repository, environment).items()
    }


def test_an_edit_costs_a_look_at_what_it_edited(tmp_path):
    files = files_of(*(f"s{number}" for number in range(50)), text="only: in that test\n")
    digests(tmp_path, MemoryTree(files))
    tree = MemoryTree(files | files_of("s7", text="only: in this edit\n"))

    digests(tmp_path, tree)

    assert tree.listings <= 2  # the folder of s7; not that of all services


def digests(tmp_path, tree):
    """The digest of each service's inputs."""
    found = all_inputs_in(tools_of(configured(tmp_path)), tree, *place(tmp_path))
    return {name: one.digest for name, one in found.items()}
