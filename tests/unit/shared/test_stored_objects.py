"""Objects of a revision as bytes, and back."""

from __future__ import annotations

import gzip
import hashlib
import random

import pytest

from towline.shared.errors import PolicyRefused, Refused
from towline.shared.model import Object
from towline.shared.stored_objects import PARTS, PLAIN_BYTES, pack, unpack


def config_map(name: str, text: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


def noise(size: int) -> str:
    return random.Random(1).randbytes(size // 2).hex()


def test_objects_come_back_as_they_are_sent():
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"a": "ü"},
    }
    objects = [config_map("b", "2"), config_map("a", "1"), secret]

    packed = pack(objects)
    again = unpack(packed.parts, sha256=packed.sha256, name="shop/x")

    assert again[:2] == objects[:2]
    assert again[2] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "w7w="},
    }


def test_one_render_has_one_digest_and_the_same_bytes():
    assert pack([config_map("a", "1")]) == pack([dict(reversed(config_map("a", "1").items()))])
    assert pack([config_map("a", "1")]).sha256 != pack([config_map("a", "2")]).sha256


def test_what_does_not_fit_one_secret_is_split_and_joined():
    objects = [config_map(str(number), noise(10_000)) for number in range(8)]

    packed = pack(objects, part_bytes=1_000)

    assert 1 < len(packed.parts) <= PARTS
    assert max(map(len, packed.parts)) == 1_000
    assert unpack(packed.parts, sha256=packed.sha256, name="x") == objects


def test_too_many_objects_are_refused_before_anything_is_written():
    with pytest.raises(Refused, match="too much to store"):
        pack([config_map("a", noise(100_000))], part_bytes=1_000)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda parts: [parts[0][:-1] + b"x"],
        lambda parts: [b""],
        lambda parts: [],
        lambda parts: [b"not gzip"],
        lambda parts: [gzip.compress(b'[{"kind":"ClusterRoleBinding"}]')],
        lambda parts: [parts[0][: len(parts[0]) // 2]],
    ],
    ids=["last byte", "empty", "nothing", "no gzip", "other objects", "half"],
)
def test_anything_but_what_was_stored_is_refused(tamper):
    packed = pack([config_map("a", "1")])

    with pytest.raises(PolicyRefused, match="shop/x"):
        unpack(tamper(packed.parts), sha256=packed.sha256, name="shop/x")


def test_a_bomb_is_refused_although_its_digest_is_right():
    plain = b" " * (PLAIN_BYTES + 1)

    with pytest.raises(PolicyRefused):
        unpack([gzip.compress(plain)], sha256=hashlib.sha256(plain).hexdigest(), name="shop/x")
