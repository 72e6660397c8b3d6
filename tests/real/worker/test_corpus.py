"""Real microservice applications, as their authors published them, deployed to a real API server."""

from pathlib import Path

import pytest

from towline.shared.model import Phase

SOCK_SHOP = {"environment": {"allowed_namespaces": ["sock-shop"], "cluster_scoped": True}}


def files_of(folder: Path, service: str) -> dict[str, bytes]:
    """The manifests of a folder of the corpus as a service of the repository."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in found if not path.name.startswith(("README", "LICENSE"))]
    return {f"services/{service}/{path.relative_to(folder)}": path.read_bytes() for path in kept}


def objects_of(engine, service):
    release = engine.release(service)
    assert release is not None, engine.view(service)
    assert release.status.phase in (Phase.VERIFYING, Phase.HEALTHY), release.status.message
    return release.status.objects


@pytest.mark.parametrize(
    ("folder", "count"),
    [
        ("example-voting-app", 9),
        ("podinfo/kustomize", 3),
        ("kustomize-examples/helloWorld", 3),
        ("kustomize-examples/ldap", 4),
        ("kustomize-examples/springboot", 3),
        ("kustomize-examples/wordpress", 5),
    ],
)
def test_an_application_is_installed_whole_and_a_second_push_changes_nothing(engine, corpus, folder, count):
    engine.deploy(files_of(corpus / "apps" / folder, "app"))
    objects = objects_of(engine, "app")
    before = engine.release("app")

    engine.push(release="staging/app", trigger="operator")

    assert len(objects) == count
    status = engine.release("app").status
    assert status.objects == before.status.objects
    assert (status.history[0].created, status.history[0].changed, status.history[0].left) == (0, 0, count)


def test_bookinfo_goes_from_one_version_to_another_and_back(engine, corpus):
    folder = corpus / "apps/bookinfo/platform/kube"
    path = "services/bookinfo/app.yaml"
    engine.deploy({path: (folder / "bookinfo.yaml").read_bytes()})
    first = {one.key for one in objects_of(engine, "bookinfo")}

    engine.deploy({path: (folder / "bookinfo-details-v2.yaml").read_bytes()}, allow_prune=True)
    second = {one.key for one in objects_of(engine, "bookinfo")}
    engine.deploy({path: (folder / "bookinfo.yaml").read_bytes()})

    assert len(first) == 14
    assert {key.name for key in second - first} == {"details-v2"}
    assert {one.key for one in objects_of(engine, "bookinfo")} == first
    assert engine.live("Deployment", "details-v2", api_version="apps/v1") is None


@pytest.mark.parametrize("engine", [SOCK_SHOP], indirect=True)
def test_sock_shop_brings_its_own_namespace(engine, corpus, control_plane):
    try:
        engine.deploy(files_of(corpus / "apps/sock-shop/manifests", "shop"))

        assert len(objects_of(engine, "shop")) == 29
        assert "front-end" in control_plane.kubectl("-n", "sock-shop", "get", "deploy", "-o", "name")
    finally:
        control_plane.kubectl("delete", "namespace", "sock-shop", "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ("sock-shop/manifests-logging", "v1beta1"),
        ("kustomize-examples/transformerconfigs/images", "kustomizeconfig/mykind.yaml"),
        ("podinfo/deploy/overlays/dev", "kustomization.yaml"),
    ],
)
def test_a_broken_application_fails_by_itself_and_by_name(engine, corpus, folder, named):
    good = files_of(corpus / "apps/kustomize-examples/helloWorld", "good")

    engine.deploy({**good, **files_of(corpus / "apps" / folder, "broken")})

    assert engine.release("broken") is None
    assert named in engine.view("broken").error
    assert len(objects_of(engine, "good")) == 3


def test_a_kind_that_no_server_has_any_more_is_named(engine, corpus):
    certificate = corpus / "apps/bookinfo/platform/kube/bookinfo-certificate.yaml"

    engine.deploy({"services/bookinfo/app.yaml": certificate.read_bytes()})

    assert "certmanager.k8s.io/v1alpha1" in engine.view("bookinfo").error
    assert engine.release("bookinfo") is None
