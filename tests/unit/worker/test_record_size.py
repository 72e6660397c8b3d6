"""How many objects one Release can name."""

from __future__ import annotations

import pytest

from towline.shared.errors import Refused
from towline.shared.model import ObjectKey
from towline.shared.release import AppliedObject
from towline.worker.record_size import BYTES_AN_OBJECT, RECORD_BYTES, refuse_unrecordable


def key(name: str) -> ObjectKey:
    return ObjectKey(group="apps", kind="Deployment", namespace="shop", name=name)


def test_a_record_takes_no_more_than_is_reckoned() -> None:
    record = AppliedObject.of(key("orders"), digest="d" * 64, owned="o" * 64)

    size_bytes = len(record.model_dump_json(by_alias=True)) + len(",")

    assert size_bytes <= BYTES_AN_OBJECT + len("appsDeploymentshoporders")


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)])
def test_the_record_of_a_release_has_a_limit(extra: int, fits: bool) -> None:
    names = [f"{number:0200d}" for number in range(2_000)]
    used = sum(BYTES_AN_OBJECT + len("appsDeploymentshop") + len(name) for name in names)
    last = "x" * (RECORD_BYTES - used - BYTES_AN_OBJECT - len("appsDeploymentshop") + extra)
    keys = [*map(key, names), key(last)]

    if fits:
        refuse_unrecordable(keys)
    else:
        with pytest.raises(Refused, match="more than the"):
            refuse_unrecordable(keys)


def test_thousands_of_usual_objects_fit() -> None:
    refuse_unrecordable([key(f"orders-settings-{number}") for number in range(4_500)])
