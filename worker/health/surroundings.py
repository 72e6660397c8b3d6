"""What the cluster around an object can do, as far as health depends on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Who gives addresses. Where nobody does, none is waited for: what never comes must not roll back.

    `ingress_classes`: names of IngressClasses whose controller writes the address into an Ingress (`""` stands for
    Ingresses that name no class); `load_balancers`: something gives Services of type LoadBalancer their address.
    """

    ingress_classes: frozenset[str] = frozenset()
    load_balancers: bool = False


NO_ADDRESSES = Surroundings()
