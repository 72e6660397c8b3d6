"""The list of releases that API and page read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from towline.shared.broker import Broker
from towline.shared.model import ReleaseName
from towline.shared.views import LONG, TIP, ReleaseView, Views, changes


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


REF = "refs/heads/main"


def handle(broker: Broker, views: Views, *, before: str, **digests: str) -> None:
    """What a push does at its end: `tip` and the digests that changed."""
    entries = {TIP if name == "tip" else name: digest for name, digest in digests.items()}
    with broker.redis.pipeline(transaction=True) as pipe:
        views.handle("shop", REF, entries, ["gone"], before=before, pipe=pipe)
        pipe.execute()


@pytest.fixture
def views(broker: Broker) -> Views:
    """With a ref that was handled at tip `t1`."""
    views = Views(broker)
    views.handle_first("shop", REF, {"a": "1", "b": "1", "gone": "1", TIP: "t1"}, pipe=broker.redis)
    return views


def test_a_push_remembers_what_it_enqueued(broker: Broker, views: Views) -> None:
    handle(broker, views, before="t1", a="2", tip="t2")

    assert views.handled("shop", REF) == {"a": "2", "b": "1", TIP: "t2"}


def test_a_push_that_redis_was_wiped_under_remembers_nothing_so_that_the_next_compares_all(
    broker: Broker, views: Views
) -> None:
    broker.redis.flushdb()

    handle(broker, views, before="t1", a="2", tip="t2")

    assert views.handled("shop", REF) is None


def test_a_push_during_which_a_sync_was_given_up_leaves_that_to_the_next_look(
    broker: Broker, views: Views
) -> None:
    views.unhandle("shop", REF, "b")

    handle(broker, views, before="t1", a="2", tip="t2")

    assert views.handled("shop", REF) == {"a": "2", "b": ""}
