"""The real applications: what builds, into how many objects, and what upstream broke and must fail by name."""

from pathlib import Path

import pytest

from towline.shared.errors import RenderError
from towline.shared.team_config import parse_team_config
from towline.worker.inputs import inputs_of
from towline.worker.local_tree import LocalTree
from towline.worker.render.programs import Programs
from towline.worker.render.render import Rendered, render
from towline.worker.services import services_of

PLAIN = {
    "example-voting-app": 9,
    "sock-shop/manifests": 29,
    "sock-shop/complete-demo.yaml": 29,
    "sock-shop/manifests-policy": 14,
    "sock-shop/manifests-jaeger": 9,
    "sock-shop/manifests-monitoring": 21,
    "sock-shop/manifests-alerting": 3,
    "sock-shop/manifests-loadtest": 2,
    "sock-shop/manifests-logging": 8,
    "sock-shop/autoscaling": 16,
    "podinfo/deploy/webapp": 11,
    "podinfo/deploy/secure": 13,
    "bookinfo/platform/kube/bookinfo.yaml": 14,
    "bookinfo/platform/kube/bookinfo-certificate.yaml": 2,
    "bookinfo/networking/virtual-service-reviews-90-10.yaml": 1,
    "bookinfo/istio-crds": 15,
    "kustomize-examples/mySql": 3,
}
KUSTOMIZE = {
    "podinfo/kustomize": 3,
    "kustomize-examples/helloWorld": 3,
    "kustomize-examples/ldap/base": 3,
    "kustomize-examples/ldap/overlays/production": 3,
    "kustomize-examples/ldap/overlays/staging": 4,
    "kustomize-examples/multibases": 3,
    "kustomize-examples/multibases/dev": 1,
    "kustomize-examples/multibases/staging": 1,
    "kustomize-examples/multibases/production": 1,
    "kustomize-examples/springboot/base": 3,
    "kustomize-examples/springboot/overlays/production": 3,
    "kustomize-examples/springboot/overlays/staging": 3,
    "kustomize-examples/transformerconfigs/crd": 3,
    "kustomize-examples/wordpress": 5,
    "kustomize-examples/wordpress/mysql": 3,
    "kustomize-examples/wordpress/wordpress": 2,
}
BROKEN = {
    "kustomize-examples/transformerconfigs/images": [
        "kustomize-examples/transformerconfigs/images/kustomization.yaml:5", "kustomizeconfig/mykind.yaml does not exist"
    ],
    "podinfo/deploy/overlays/dev": [
        "podinfo/deploy/bases/frontend/kustomization.yaml:12", "scripts/warm-cache.sh does not exist",
        "scripts/warm-cache-init.sh", "scripts/backup.sh", "scripts/rollup.sh",
    ],
    "podinfo/deploy/bases/database": ["scripts/backup.sh does not exist"],
    "bookinfo/networking": [
        "virtual-service-reviews-90-10.yaml:1: VirtualService reviews: is also in bookinfo/networking/virtual-service"
    ],
    "bookinfo/platform/kube": ["is also in bookinfo/platform/kube/bookinfo"],
    "sock-shop/helm-chart": ["is a Helm chart, which Towline does not render yet"],
    "podinfo/charts/podinfo": ["is a Helm chart, which Towline does not render yet"],
    "podinfo/deploy": ["overlays for dev, production, staging, and none for test"],
}  # fmt: skip


def rendered(root: Path, path: str, programs: Programs) -> tuple[Rendered, ...]:
    tree = LocalTree(root)
    team = parse_team_config(f"services: {{app: {{path: {path}}}}}".encode())
    service = services_of(tree, team=team, patterns=(), environment="test")["app"]
    inputs = inputs_of(tree, service, environment="test")
    return render(tree, service, inputs, environment="test", programs=programs)


@pytest.mark.parametrize("path", [*PLAIN, *KUSTOMIZE])
def test_an_application_renders_into_its_objects(path: str, corpus: Path, kustomize: Path) -> None:
    # when
    found = rendered(corpus / "apps", path, Programs(kustomize=kustomize))
    # then
    assert len(found) == {**PLAIN, **KUSTOMIZE}[path]
    for item in found:
        lines = (corpus / "apps" / item.file).read_text().splitlines()
        assert 1 <= item.line <= len(lines)


@pytest.mark.parametrize("path", BROKEN)
def test_what_upstream_broke_fails_by_name(path: str, corpus: Path, kustomize: Path) -> None:
    with pytest.raises(RenderError) as caught:
        rendered(corpus / "apps", path, Programs(kustomize=kustomize))
    for said in BROKEN[path]:
        assert said in str(caught.value)


def test_each_item_of_a_list_is_placed_at_its_own_line(corpus: Path) -> None:
    found = rendered(corpus / "apps", "sock-shop/manifests-jaeger", Programs())
    places = {item.place for item in found if item.file.endswith("jaeger.yaml")}
    assert len(places) == 6


def test_overlays_of_podinfo_build_once_the_missing_scripts_are_there(
    corpus: Path, kustomize: Path, tmp_path: Path
) -> None:
    # given
    source = corpus / "apps" / "podinfo" / "deploy"
    for path in source.rglob("*.*"):
        copy = tmp_path / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            copy.write_bytes(path.read_bytes())
    for name in ("frontend/scripts/warm-cache.sh", "frontend/scripts/warm-cache-init.sh",
                 "database/scripts/backup.sh", "database/scripts/rollup.sh"):  # fmt: skip
        script = tmp_path / "bases" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text("echo\n")
    # when
    found = rendered(tmp_path, "overlays/production", Programs(kustomize=kustomize))
    # then
    assert len(found) > 20
    assert {item.object["kind"] for item in found} >= {"Namespace", "Deployment", "StatefulSet", "ConfigMap"}
