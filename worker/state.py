"""What a sync finds before it decides anything: the release as recorded, the service as it is in the revision.

In: a wish. Out: State, or the error that keeps the release as it is. One request to the cluster; the rest is local.
"""

from __future__ import annotations

from dataclasses import dataclass

from towline.shared.config import Environment, Repository
from towline.shared.errors import ConfigError
from towline.shared.model import Phase, ReleaseName, Revision, Trigger, short
from towline.shared.records import Records
from towline.shared.release import AppliedObject, Release
from towline.shared.wanted import Wanted
from towline.worker.inputs import Inputs
from towline.worker.mirror import CommitInfo
from towline.worker.plan import Plan
from towline.worker.repository import inputs_in, services_in
from towline.worker.services import Service
from towline.worker.target import Target, target_of
from towline.worker.tools import Tools
from towline.worker.tree import Tree

FETCH_SECONDS = 60.0
SETTLED = (Phase.VERIFYING, Phase.HEALTHY)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One release and the revision that is wanted for it; `service` is None when the revision does not have it."""

    name: ReleaseName
    repository: Repository
    environment: Environment
    target: Target
    records: Records
    release: Release | None
    tree: Tree
    commit: CommitInfo
    service: Service | None
    inputs: Inputs | None

    @property
    def recorded(self) -> tuple[AppliedObject, ...]:
        """The objects of the last sync."""
        return self.release.status.objects if self.release else ()

    @property
    def is_unfinished(self) -> bool:
        """Whether the last attempt was cut off, so that the record may lag behind the cluster."""
        return self.release is not None and self.release.is_unfinished

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

    def reason_to_stay(self, wanted: Wanted) -> str:
        """Why the release is at this revision already, or ""."""
        if self.release is None:
            return ""
        by_operator = wanted.trigger is Trigger.OPERATOR
        status = self.release.status
        same = self.inputs is not None and status.inputs_digest == self.inputs.digest
        if (
            same
            and not by_operator
            and not wanted.full
            and not self.is_unfinished
            and status.phase in SETTLED
        ):
            return "its inputs are those of the last sync"
        return ""

    def must_record(self, wanted: Wanted, plan: Plan) -> bool:
        """Whether the record changes although no object does."""
        if self.release is None or self.is_unfinished or wanted.trigger is Trigger.OPERATOR:
            return True
        recorded = {one.key for one in self.recorded}
        return self.release.status.phase not in SETTLED or recorded != {one.key for one in plan.leave}


def find(tools: Tools, name: ReleaseName, wanted: Wanted) -> State:
    """Read the release and the revision. Raises ConfigError, GitError, ClusterError, Unavailable."""
    repository = tools.config.repository(wanted.repository)
    environment = environment_of(tools, repository, wanted)
    records = tools.records(environment)
    mirror = tools.mirror(repository)
    revision = Revision(wanted.revision)
    mirror.ensure(revision, ref=wanted.ref, deadline_seconds=FETCH_SECONDS)
    tree = mirror.tree(revision)
    service = services_in(tree, repository, environment).get(name.service)
    return State(
        name=name,
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


def environment_of(tools: Tools, repository: Repository, wanted: Wanted) -> Environment:
    """The environment of a wish as the configuration has it now."""
    name = ReleaseName.parse(wanted.release).environment
    for environment in tools.config.environments_for(repository, wanted.ref):
        if environment.name == name:
            return environment
    raise ConfigError(
        f"{wanted.ref} of {repository.name} is not deployed to {name} any more",
        hint="correct `branches` of the repository in towline.yaml",
    )
