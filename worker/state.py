"""What a job finds before it decides anything: the release as recorded and, for a sync, the service in the revision.

In: a name or a wish. Out: a Standing, which needs no Git, or a State; or the error that keeps the release as it is. One
request to the cluster; the rest is local.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from towline.shared.config import Environment, Repository
from towline.shared.errors import ConfigError
from towline.shared.model import Health, Moment, Phase, ReleaseName, Revision, Trigger, short
from towline.shared.pending import Pending
from towline.shared.records import Owner, Records
from towline.shared.release import AppliedObject, Release, Verification
from towline.shared.views import ReleaseView
from towline.shared.wanted import Wanted
from towline.worker.inputs import Inputs
from towline.worker.mirror import CommitInfo
from towline.worker.plan import Plan
from towline.worker.repository import inputs_in, services_in
from towline.worker.services import Service
from towline.worker.stages import Stages
from towline.worker.target import Target, target_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree
from towline.worker.verification import verification_of

FETCH_SECONDS = 60.0
UNTIL_HEALTHY = "waits until what was applied is healthy; then the next step is taken"
SETTLED = (Phase.VERIFYING, Phase.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One release as it is recorded, and where it is written; `release` is None before its first install.

    `ref`: the branch by which it was looked for.
    """

    name: ReleaseName
    ref: str
    repository: Repository
    environment: Environment
    target: Target
    records: Records
    release: Release | None

    @property
    def recorded(self) -> tuple[AppliedObject, ...]:
        """The objects of the last sync."""
        return self.release.status.objects if self.release else ()

    @property
    def is_unfinished(self) -> bool:
        """Whether the last attempt was cut off, so that the record may lag behind the cluster."""
        return self.release is not None and self.release.is_unfinished

    def knows_what_ran(self, wanted: Wanted) -> bool:
        """Whether all that was written before this attempt is recorded, but for what its own earlier tries wrote."""
        return not self.is_unfinished or bool(wanted.waits_since)

    def began(self, wanted: Wanted, stages: Stages) -> datetime:
        """When this attempt began: with its first try, where it waited since."""
        if wanted.waits_since:
            return datetime.fromtimestamp(wanted.waits_since, UTC)
        return self.now() - stages.since_begin()

    def now(self) -> datetime:
        """The time by the cluster's clock: what is recorded is judged by the same, whoever does it."""
        return self.target.cluster.now()

    @property
    def identity(self) -> dict[str, object]:
        """Whose release it is, as its status says it; the branch is that of what runs, where anything does."""
        ref = self.release.status.ref if self.release else ""
        its = {"environment": self.environment.name, "repository": self.repository.name}
        return {**its, "ref": ref or self.ref}

    @property
    def owner(self) -> Owner:
        """Whose release it is."""
        return Owner(name=self.name, namespace=self.environment.namespace, repository=self.repository.name)

    def reason_to_wait(self, wanted: Wanted) -> str:
        """The operator's word that keeps the release where it is, or ""."""
        if self.release is None:
            return ""
        if self.release.suspended:
            return "suspended: resume it first"
        by_operator = wanted.trigger is Trigger.OPERATOR
        if self.release.pinned and self.release.pinned != wanted.revision and not by_operator:
            return f"pinned to {short(self.release.pinned)}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Standing):
    """One release and the revision that is wanted for it; `service` is None when the revision does not have it."""

    tree: Tree
    commit: CommitInfo
    service: Service | None
    inputs: Inputs | None

    @property
    def verification(self) -> Verification:
        """How the service is verified in this revision; of one that it does not have, as usual."""
        return verification_of(self.service, self.environment) if self.service else Verification()

    @property
    def continued(self) -> Pending | None:
        """The step of this very revision that was taken last, where more are to come."""
        pending = self.release.status.pending if self.release else None
        if pending is None or self.inputs is None or pending.inputs_digest != self.inputs.digest:
            return None
        return pending

    @property
    def is_over_half(self) -> bool:
        """Whether the revision before this one has only been half brought."""
        pending = self.release.status.pending if self.release else None
        if pending is None:
            return False
        return pending.over_half or (self.continued is None and pending.moment is not Moment.PRE_SYNC)

    @property
    def is_new(self) -> bool:
        """Whether nothing of these inputs has been applied or begun."""
        if self.release is None or self.inputs is None:
            return True
        return self.continued is None and self.release.status.inputs_digest != self.inputs.digest

    @property
    def may_lack(self) -> bool:
        """Whether something that was applied may have been deleted since: the release is ill, or differs from it."""
        if self.release is None or self.continued is not None:
            return False
        return self.release.status.health is Health.FAILED or bool(self.release.status.drift)

    def is_healthy_so_far(self, wanted: Wanted) -> bool:
        """Whether the step that was taken last was found healthy, and nothing has touched the release since."""
        return self.release is not None and wanted.goes_on == self.release.status.claim

    def reason_to_stay(self, wanted: Wanted) -> str:
        """Why the release is at this revision already, or ""."""
        if self.release is None or self.inputs is None or wanted.trigger is Trigger.OPERATOR:
            return ""
        status = self.release.status
        if wanted.full or self.is_unfinished:
            return ""
        if self.continued is not None:
            return "" if self.is_healthy_so_far(wanted) else UNTIL_HEALTHY
        if status.phase not in SETTLED:
            return ""
        return "its inputs are those of the last sync" if status.inputs_digest == self.inputs.digest else ""

    def reason_against(self, wanted: Wanted) -> str:
        """Why this revision is not applied although it is wanted: it failed before, and nobody said otherwise."""
        quarantined = self.release.status.quarantined if self.release else None
        if quarantined is None or self.inputs is None or wanted.trigger is Trigger.OPERATOR:
            return ""
        if quarantined.inputs_digest != self.inputs.digest:
            return ""
        return f"quarantined: {short(quarantined.revision)} failed ({quarantined.cause})"

    def must_record(self, wanted: Wanted, plan: Plan) -> bool:
        """Whether the record changes although no object does."""
        if self.release is None or self.is_unfinished or wanted.trigger is Trigger.OPERATOR:
            return True
        status = self.release.status
        recorded = {one.key for one in self.recorded}
        return (
            status.phase not in SETTLED
            or status.pending is not None
            or status.verification != self.verification
            or recorded != {one.key for one in plan.leave}
        )


def standing(tools: Tools, name: ReleaseName, *, repository: str, ref: str) -> Standing:
    """Read the release; Git is not needed. Raises ConfigError, ClusterError, ClusterDown."""
    its_repository = tools.config.repository(repository)
    environment = environment_of(tools, its_repository, name, ref=ref)
    records = tools.records(environment)
    return Standing(
        name=name,
        ref=ref,
        repository=its_repository,
        environment=environment,
        target=target_of(tools.cluster(environment), environment, name.service),
        records=records,
        release=records.read(name, environment.namespace),
    )


def standing_of(tools: Tools, view: ReleaseView) -> Standing:
    """The same for a release as it is shown: by the branch that deployed it last."""
    repository, ref = str(view.status.get("repository", "")), str(view.status.get("ref", ""))
    return standing(tools, view.name, repository=repository, ref=ref)


def find(tools: Tools, name: ReleaseName, wanted: Wanted) -> State:
    """Read the release and the revision. Raises ConfigError, GitError, ClusterError, Unavailable."""
    repository = tools.config.repository(wanted.repository)
    environment = environment_of(tools, repository, name, ref=wanted.ref)
    records = tools.records(environment)
    mirror = tools.mirror(repository)
    revision = Revision(wanted.revision)
    mirror.ensure(revision, ref=wanted.ref, deadline_seconds=FETCH_SECONDS)
    tree = mirror.tree(revision)
    service = services_in(tree, repository, environment).get(name.service)
    return State(
        name=name,
        ref=wanted.ref,
        repository=repository,
        environment=environment,
        target=target_of(tools.cluster(environment), environment, name.service),
        records=records,
        release=records.read(name, environment.namespace),
        tree=tree,
        commit=mirror.commit(revision),
        service=service,
        inputs=inputs_in(tools, tree, service, environment) if service else None,
    )


def environment_of(tools: Tools, repository: Repository, name: ReleaseName, *, ref: str) -> Environment:
    """The environment of a release as the configuration has it now."""
    for environment in tools.config.environments_for(repository, ref):
        if environment.name == name.environment:
            return environment
    raise ConfigError(
        f"{ref} of {repository.name} is not deployed to {name.environment} any more",
        hint="correct `branches` of the repository in towline.yaml",
    )
