"""The list of releases that API and page read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from towline.shared.broker import Broker
from towline.shared.model import ReleaseName
from towline.shared.views import LONG, ReleaseView, Views, changes


@pytest.fixture
def broker(redis_url: str) -> Iterator[Broker]:
    broker = Broker(redis_url)
    yield broker
    broker.redis.close()


def view(name: str, **status: object) -> ReleaseView:
    release = ReleaseName.parse(name)
    return ReleaseView(
        environment=release.environment,
        service=release.service,
        cluster="local",
        namespace="shop",
        status=status,
        updated_at=1.0,
    )


def test_one_release_is_whole_and_the_list_is_short(broker: Broker) -> None:
    views = Views(broker)
    long = {name: [{"revision": "1"}] for name in LONG}
    put = view("staging/orders", phase="Healthy", message="2 objects changed", **long)

    views.put(put)

    assert views.get(ReleaseName("staging", "orders")) == put
    (listed,) = views.list()
    assert listed.status == {"phase": "Healthy", "message": "2 objects changed"}


def test_the_list_is_in_the_order_of_names_and_narrowed(broker: Broker) -> None:
    views = Views(broker)
    for name in ("staging/web", "staging-2/orders", "production/orders", "staging/orders"):
        views.put(view(name, phase="Healthy"))
    views.started(ReleaseName("staging", "web"))

    def names(**narrowed: str) -> list[str]:
        return [str(each.name) for each in views.list(**narrowed)]

    assert names() == ["production/orders", "staging-2/orders", "staging/orders", "staging/web"]
    assert names(environment="staging") == ["staging/orders", "staging/web"]
    assert names(service="orders") == ["production/orders", "staging-2/orders", "staging/orders"]
    assert names(phase="syncing") == ["staging/web"]
    assert names(environment="stag") == []


def test_a_release_that_is_gone_is_in_neither(broker: Broker) -> None:
    views = Views(broker)
    views.put(view("staging/orders"))

    views.remove(ReleaseName("staging", "orders"))

    assert views.get(ReleaseName("staging", "orders")) is None
    assert views.list() == []


def test_every_change_is_counted(broker: Broker) -> None:
    views, name = Views(broker), ReleaseName("staging", "orders")
    counts = [changes(broker)]
    for change in (
        lambda: views.put(view("staging/orders")),
        lambda: views.started(name),
        lambda: views.stopped(name),
        lambda: views.remove(name),
    ):
        change()
        counts.append(changes(broker))

    assert counts == [0, 1, 2, 3, 4]
