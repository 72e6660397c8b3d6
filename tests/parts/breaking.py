"""A service of which each revision is unlike the others, and fails where it is told to.

    towline.origin.commit({"services/cart/app.yaml": breaking("cart", 2, fails=Fails.IMAGE)})

A Deployment and a ConfigMap that change with each number, and a ConfigMap that only this one has.
"""

from __future__ import annotations

from typing import Any

import yaml
from parts.failing import FAILS, Fails
from parts.manifests import config_map, deployment, several
from parts.towline import Towline


def breaking(name: str, number: int, *, fails: Fails | None = None, room: str = "", **spec: Any) -> str:
    """The service at its revision of this number; `spec` adds to the Deployment's.

    With `room` its pod waits until a node has this label, and only then runs or fails.
    """
    workload = yaml.safe_load(deployment(name, image=f"example.com/app:{number}", replicas=1))
    workload["spec"].update(spec)
    if room:
        workload["spec"]["template"]["spec"]["nodeSelector"] = {room: "yes"}
    if fails:
        workload["spec"]["template"]["metadata"]["annotations"] = {FAILS: fails.value}
    return several(
        yaml.safe_dump(workload),
        config_map(name, number=str(number)),
        config_map(f"{name}-only-{number}"),
    )


def numbers_of(towline: Towline, name: str, *, up_to: int = 9) -> dict[str, object]:
    """What is live of the service: the number of its Deployment, of its ConfigMap, and those that only one has."""
    workload = towline.live("Deployment", name, "apps/v1")
    settings = towline.live("ConfigMap", name)
    image = workload["spec"]["template"]["spec"]["containers"][0]["image"] if workload else ""
    only = [n for n in range(1, up_to + 1) if towline.live("ConfigMap", f"{name}-only-{n}")]
    return {
        "Deployment": int(image.rpartition(":")[2]) if image else None,
        "ConfigMap": int(settings["data"]["number"]) if settings else None,
        "only": only,
    }


def whole(number: int) -> dict[str, object]:
    """What `numbers_of` finds where exactly this revision is live."""
    return {"Deployment": number, "ConfigMap": number, "only": [number]}
