"""What an environment allows: every refusal names the object, the file and the line, and all come at once."""

from __future__ import annotations

from typing import Any

import pytest
from parts.service import config_map, deployment, environment_of, ingress, rendered, service_account

from towline.shared.discovery import Resource
from towline.shared.errors import PolicyRefused, Problem, UnknownKind
from towline.shared.model import Object
from towline.worker.policy import OBJECT_BYTES, Placed, check, own_resources

SERVED = {
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("networking.k8s.io/v1", "Ingress"): ("ingresses", True),
    ("config.openshift.io/v1", "Ingress"): ("ingresses", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
    ("towline.dev/v1alpha1", "Release"): ("releases", True),
}


def resources(api_version: str, kind: str) -> Resource:
    if (api_version, kind) not in SERVED:
        raise UnknownKind(f"the API server does not serve {kind}", code=404, hint="install it")
    plural, namespaced = SERVED[api_version, kind]
    group, _, version = api_version.rpartition("/")
    return Resource(group=group, version=version, kind=kind, plural=plural, namespaced=namespaced)


def judged(*objects: Object, **settings: Any) -> tuple[Placed, ...]:
    return check(rendered(*objects), environment_of("shop", **settings), resources)


def problems(*objects: Object, **settings: Any) -> tuple[Problem, ...]:
    with pytest.raises(PolicyRefused) as refused:
        judged(*objects, **settings)
    return refused.value.problems


def object_of(api_version: str, kind: str, name: str = "x", **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def test_an_object_without_namespace_gets_the_environments() -> None:
    (placed,) = judged(config_map("settings"))

    assert placed.object["metadata"]["namespace"] == "shop"
    assert (placed.key.namespace, placed.key.name) == ("shop", "settings")


def test_a_namespace_on_a_cluster_scoped_object_is_dropped() -> None:
    crd = object_of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    crd["metadata"]["namespace"] = "shop"

    (placed,) = judged(crd)

    assert "namespace" not in placed.object["metadata"]
    assert placed.key.namespace == ""


def test_the_digest_does_not_depend_on_what_a_server_sets_or_on_the_order_of_keys() -> None:
    (one,) = judged(config_map("settings", {"a": "1", "b": "2"}))
    (two,) = judged(
        {"kind": "ConfigMap", **config_map("settings", {"b": "2", "a": "1"}, uid="1", creationTimestamp=None)}
    )

    assert one.digest == two.digest


def test_all_problems_of_all_objects_come_in_one_answer() -> None:
    found = problems(
        config_map("a", labels={"applyset.kubernetes.io/part-of": "x"}),
        config_map("b", namespace="other"),
        object_of("example.com/v1", "Unknown"),
        allowed_kinds=frozenset({"ConfigMap"}),
    )

    assert [(one.file, one.line) for one in found] == [
        ("deploy/0.yaml", 1),
        ("deploy/1.yaml", 1),
        ("deploy/2.yaml", 1),
    ]


@pytest.mark.parametrize(
    ("object", "path"),
    [
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "apiVersion"),
        ({"apiVersion": "v1", "metadata": {"name": "a"}}, "kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "metadata"),
        (object_of("v1", "ConfigMap", name=""), "metadata.name"),
        (object_of("v1", "ConfigMap", name="../secrets/x"), "metadata.name"),
        (object_of("v1", "ConfigMap", name="a%2fb"), "metadata.name"),
        (object_of("v1", "ConfigMap", name=".."), "metadata.name"),
        (config_map("a", generateName="a-"), "metadata.generateName"),
        (config_map("a", namespace="../kube-system"), "metadata.namespace"),
        (config_map("a", namespace=5), "metadata.namespace"),
        (config_map("a", labels={"app": 1}), "metadata.labels['app']"),
        (config_map("a", annotations=["x"]), "metadata.annotations"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_object_of_a_wrong_form_is_refused_with_the_path(object: Object, path: str) -> None:
    (problem,) = problems(object)

    assert problem.path == path


@pytest.mark.parametrize(
    ("object", "said"),
    [
        (config_map("a", labels={"applyset.kubernetes.io/part-of": "x"}), "only Towline does"),
        (config_map("a", labels={"applyset.kubernetes.io/id": "x"}), "only Towline does"),
        (config_map("a", annotations={"applyset.kubernetes.io/tooling": "x"}), "only Towline does"),
        (object_of("towline.dev/v1alpha1", "Release"), "its own records"),
        (object_of("v1", "Secret", type="towline.dev/revision"), "stored revisions"),
        (config_map("a", annotations={"towline.dev/prunne": "disabled"}), "did you mean towline.dev/prune?"),
        (config_map("a", annotations={"towline.dev/prune": "disabeld"}), "means nothing"),
    ],
    ids=["label", "parent", "annotation", "release", "stored revision", "misspelt", "wrong value"],
)
def test_what_belongs_to_towline_cannot_come_from_a_repository(object: Object, said: str) -> None:
    (problem,) = problems(object)

    assert said in problem.message


def test_the_annotations_of_towline_are_let_through() -> None:
    annotations = {
        "towline.dev/prune": "disabled",
        "towline.dev/apply": "merge",
        "towline.dev/recreate": "allowed",
        "towline.dev/wave": "-5",
        "towline.dev/hook": "pre-sync",
    }

    assert judged(config_map("a", annotations=annotations))


def test_a_kind_that_the_environment_does_not_allow_is_refused() -> None:
    (problem,) = problems(config_map("a"), deployment("web"), allowed_kinds=frozenset({"Deployment"}))

    assert problem.object == "ConfigMap shop/a"
    assert problem.allowed == "Deployment"


def test_a_bare_allowed_kind_is_kubernetes_own_and_not_anothers_of_that_name() -> None:
    allowed = frozenset({"Ingress"})

    assert judged(ingress("web"), allowed_kinds=allowed)
    (problem,) = problems(object_of("config.openshift.io/v1", "Ingress"), allowed_kinds=allowed)
    assert "Ingress.config.openshift.io" in problem.message


def test_a_kind_of_others_is_allowed_with_its_group() -> None:
    allowed = frozenset({"Ingress.config.openshift.io"})

    assert judged(object_of("config.openshift.io/v1", "Ingress"), allowed_kinds=allowed)


def test_a_namespace_outside_the_environment_is_refused_unless_allowed() -> None:
    assert judged(config_map("a", namespace="jobs"), allowed_namespaces=("jobs",))

    (problem,) = problems(config_map("a", namespace="kube-system"), allowed_namespaces=("jobs",))
    assert problem.allowed == "shop, jobs"


def test_a_namespace_object_outside_the_environment_is_refused_unless_allowed() -> None:
    assert judged(object_of("v1", "Namespace", name="shop"))
    assert judged(object_of("v1", "Namespace", name="jobs"), allowed_namespaces=("jobs",))
    assert problems(object_of("v1", "Namespace", name="kube-system"))


def test_cluster_scoped_objects_are_refused_where_the_environment_says_so() -> None:
    (problem,) = problems(object_of("v1", "Namespace", name="shop"), cluster_scoped=False)

    assert "cluster_scoped: false" in problem.message


def test_the_same_object_twice_names_both_places() -> None:
    (problem,) = problems(
        service_account("a"), service_account("a") | {"metadata": {"name": "a", "namespace": "shop"}}
    )

    assert (problem.file, problem.message) == ("deploy/1.yaml", "the same object is also in deploy/0.yaml:1")


def test_an_object_larger_than_a_cluster_stores_is_refused() -> None:
    assert judged(config_map("a", {"k": "x" * (OBJECT_BYTES - 500)}))

    (problem,) = problems(config_map("a", {"k": "x" * OBJECT_BYTES}))
    assert "1,500,000" in problem.message


def test_a_value_that_json_cannot_say_is_refused() -> None:
    (problem,) = problems(config_map("a", {"k": float("nan")}))  # type: ignore[dict-item]

    assert "JSON" in problem.message


def crd(**spec: Any) -> Object:
    versions = [{"name": "v1", "served": True}, {"name": "v0", "served": False}]
    names = {"kind": "Backup", "plural": "backups"}
    usual = {"group": "example.com", "names": names, "scope": "Namespaced", "versions": versions}
    name = "backups.example.com"
    return object_of("apiextensions.k8s.io/v1", "CustomResourceDefinition", name=name, spec=usual | spec)


def test_a_kind_that_the_set_itself_defines_is_known() -> None:
    placed = judged(crd(), object_of("example.com/v1", "Backup"))

    assert placed[1].resource.path("x", "shop") == "/apis/example.com/v1/namespaces/shop/backups/x"


def test_a_version_that_the_definition_does_not_serve_is_unknown() -> None:
    (problem,) = problems(crd(), object_of("example.com/v0", "Backup"))

    assert "does not serve Backup" in problem.message


def test_a_definition_in_a_repository_does_not_say_what_a_served_kind_is() -> None:
    fake = crd(group="apps", names={"kind": "Deployment", "plural": "backups"}, scope="Cluster")

    placed = judged(fake, deployment("web"))

    assert placed[1].resource.plural == "deployments"
    assert placed[1].key.namespace == "shop"


@pytest.mark.parametrize("plural", ["../../../api/v1/secrets", "a/b", "", 5])
def test_a_definition_whose_plural_would_leave_its_path_defines_nothing(plural: object) -> None:
    assert own_resources([crd(names={"kind": "Backup", "plural": plural})]) == {}
