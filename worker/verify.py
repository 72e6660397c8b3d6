"""Judges a whole release as its cluster shows it now: the one place that does.

In: a release and where it is written. Out: a verdict with a reason. State: none; it only reads, so killed at any line
nothing is left.
"""

from __future__ import annotations

from towline.shared.errors import UnknownKind
from towline.shared.model import Health
from towline.shared.release import AppliedObject, Release
from towline.worker.health.kinds import RULES
from towline.worker.health.verdict import Verdict, judge, worst
from towline.worker.parallel import in_parallel
from towline.worker.target import Target


def verdict_of(target: Target, release: Release) -> Verdict:
    """The health of the release now; only objects are read whose kind has a health of its own."""
    judged = [one for one in release.status.objects if (one.group, one.kind) in RULES or _is_custom(one)]

    def verdict(one: AppliedObject) -> tuple[str, Verdict]:
        key = one.key
        try:
            resource = target.deployer.preferred(key.group, key.kind)
        except UnknownKind as error:
            return str(key), Verdict(health=Health.FAILED, reason=error.message)
        live = target.deployer.get(resource, key.name, key.namespace)
        if live is None:
            return str(key), Verdict(health=Health.UNKNOWN, reason="is not there")
        return str(key), judge(live)

    return worst(in_parallel(verdict, judged))


def _is_custom(one: AppliedObject) -> bool:
    """Kinds of CustomResourceDefinitions have a domain for a group; they may say how they are."""
    return "." in one.group and not one.group.endswith(".k8s.io")
