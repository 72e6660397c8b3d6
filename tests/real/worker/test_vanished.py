"""Releases that vanish from Git in one push, more than one push may take along."""

import pytest
from parts.manifests import config_map

from towline.shared.errors import UnsafePrune

SERVICES = [f"s{number}" for number in range(8)]


def test_what_vanished_just_after_redis_was_wiped_is_removed_on_an_operators_word(engine):
    paths = {name: f"services/{name}/app.yaml" for name in SERVICES}
    engine.deploy({path: config_map(name) for name, path in paths.items()})
    engine.tools.broker.redis.flushdb()
    engine.commit({path: None for name, path in paths.items() if name != "s0"})
    with pytest.raises(UnsafePrune):
        engine.push()

    engine.push(allow_prune=True)

    assert [name for name in SERVICES if engine.release(name)] == ["s0"]
