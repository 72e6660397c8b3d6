"""Who gives addresses to Ingresses and load balancers in a cluster, told by those that have one. Pure.

What never comes must not roll back, so an address is waited for only where there is evidence that somebody gives it: an
object of the same class that has one. A class that merely exists says that somebody meant to run a controller, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from towline.shared.model import Object
from towline.worker.health.status import mapping, part, text

INGRESS, SERVICE = "Ingress", "Service"
# What may wait for an address; it makes nothing that pods could lack.
ADDRESSED = frozenset({("", SERVICE), ("networking.k8s.io", INGRESS), ("extensions", INGRESS)})
CLASS_ANNOTATION = "kubernetes.io/ingress.class"  # older than spec.ingressClassName, and still heeded


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressClass:
    """The Ingresses, or the load balancers among the Services, that name this class; "" are those that name none."""

    kind: str
    name: str


Gives = Callable[[AddressClass], bool]  # whether somebody gives addresses to a class


def nobody_gives(_: AddressClass) -> bool:
    """Of a cluster of which nothing is known."""
    return False


def address_class(kind: str, object: Object) -> AddressClass:
    """Of which class an Ingress or a load balancer is."""
    spec = part(object, "spec")
    if kind == SERVICE:
        return AddressClass(kind=kind, name=text(spec.get("loadBalancerClass")))
    annotations = mapping(part(object, "metadata").get("annotations"))
    name = text(spec.get("ingressClassName")) or text(annotations.get(CLASS_ANNOTATION))
    return AddressClass(kind=kind, name=name)


def address_of(object: Object) -> str:
    """The address that was given to an Ingress or a load balancer, "" where none was."""
    found = mapping(part(object, "status").get("loadBalancer")).get("ingress")
    for entry in found if isinstance(found, list) else ():
        address = text(mapping(entry).get("ip")) or text(mapping(entry).get("hostname"))
        if address:
            return address
    return ""


def classes_with_address(kind: str, objects: Iterable[Object]) -> frozenset[AddressClass]:
    """The classes to which, by the evidence of these Ingresses or load balancers, somebody gives addresses."""
    return frozenset(address_class(kind, one) for one in objects if address_of(one))
