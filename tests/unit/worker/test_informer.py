"""How long a watch waits before it asks again."""

import pytest

from towline.shared.errors import ClusterError, UnknownKind
from towline.worker.informer import LONGEST_PAUSE_SECONDS, is_unserved, pause_seconds


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.1), (2, 0.2), (4, 0.8), (100, LONGEST_PAUSE_SECONDS)]
)
def test_pauses_grow_to_a_limit_and_differ_between_watches(failures: int, longest: float):
    assert pause_seconds(failures, spread=1.0) == pytest.approx(longest)
    assert pause_seconds(failures, spread=0.0) == pytest.approx(longest / 2)


def test_a_kind_that_is_not_served_has_no_objects_and_one_that_may_not_be_seen_may_have():
    assert is_unserved(UnknownKind("no kind", code=404))
    assert is_unserved(ClusterError("gone", code=404))
    assert not is_unserved(ClusterError("forbidden", code=403))
