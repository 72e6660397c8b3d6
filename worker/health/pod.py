"""Pods, ReplicaSets and Events as small structs: of each only the fields that judging needs.

In: an API server's JSON, as bytes. Out: frozen structs, a tenth of the memory of dicts, so that thousands can be kept.
No state, no requests. What is not of Kubernetes' own form raises msgspec.ValidationError; fields that are left out have
the value that Kubernetes gives them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from towline.shared.model import ObjectKey

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Part(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A part of an object, named in Python's way here, in Kubernetes' way there."""


class Owner(Part, frozen=True):
    """One of `metadata.ownerReferences`."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Labels(Part, frozen=True):
    """The labels that tell which revision of its workload a pod or a ReplicaSet is of."""

    pod_template_hash: str = msgspec.field(default="", name="pod-template-hash")
    controller_revision_hash: str = msgspec.field(default="", name="controller-revision-hash")
    template_generation: str = msgspec.field(default="", name="pod-template-generation")


class Annotations(Part, frozen=True):
    """The number that a Deployment gives to each of its ReplicaSets; the newest has the Deployment's own."""

    revision: str = msgspec.field(default="", name="deployment.kubernetes.io/revision")


class Metadata(Part, frozen=True):
    """What all of them have."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    owner_references: tuple[Owner, ...] = ()
    labels: Labels = Labels()
    annotations: Annotations = Annotations()

    @property
    def controller(self) -> str:
        """The uid of the object that made this one, "" for none."""
        return next((one.uid for one in self.owner_references if one.controller), "")


class Waiting(Part, frozen=True):
    """A container that does not run yet, or not again."""

    reason: str = ""
    message: str = ""


class Running(Part, frozen=True):
    """A container that runs."""

    started_at: Time | None = None


class Terminated(Part, frozen=True):
    """A run of a container that has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None


class ContainerState(Part, frozen=True):
    """One of the three, or nothing yet."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Part, frozen=True):
    """How one container of a pod is."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()

    @property
    def last_end(self) -> Terminated | None:
        """How its last run ended, None when none has."""
        return self.state.terminated or self.last_state.terminated


class Condition(Part, frozen=True):
    """One of `status.conditions`."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None


class PodSpec(Part, frozen=True):
    """Of what was asked for."""

    node_name: str = ""
    restart_policy: str = "Always"


class PodStatus(Part, frozen=True):
    """Of what is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    nominated_node_name: str = ""
    start_time: Time | None = None
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Part, frozen=True):
    """A pod."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def key(self) -> ObjectKey:
        """Which object."""
        return ObjectKey(group="", kind="Pod", namespace=self.metadata.namespace, name=self.metadata.name)

    @property
    def is_terminating(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    def condition(self, type_: str) -> Condition | None:
        """Its condition of this type."""
        return _condition(self.status.conditions, type_)


class ReplicaSetStatus(Part, frozen=True):
    """Of what is."""

    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Part, frozen=True):
    """A ReplicaSet."""

    metadata: Metadata = Metadata()
    status: ReplicaSetStatus = ReplicaSetStatus()

    @property
    def key(self) -> ObjectKey:
        """Which object."""
        metadata = self.metadata
        return ObjectKey(group="apps", kind="ReplicaSet", namespace=metadata.namespace, name=metadata.name)

    def condition(self, type_: str) -> Condition | None:
        """Its condition of this type."""
        return _condition(self.status.conditions, type_)


class Involved(Part, frozen=True):
    """What an Event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    field_path: str = ""


class Series(Part, frozen=True):
    """How often an Event of `events.k8s.io` happened."""

    count: int = 0
    last_observed_time: Time | None = None


class Source(Part, frozen=True):
    """Who says it."""

    component: str = ""


class Event(Part, frozen=True):
    """An Event in the form of the core group, in which an API server shows those of both groups."""

    metadata: Metadata = Metadata()
    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: Time | None = None
    last_timestamp: Time | None = None
    event_time: Time | None = None
    series: Series | None = None
    source: Source = Source()
    reporting_component: str = ""

    @property
    def times(self) -> int:
        """How often it happened."""
        return max(self.count or 0, self.series.count if self.series else 0, 1)

    @property
    def first(self) -> datetime | None:
        """When it happened first."""
        return self.first_timestamp or self.event_time or self.last

    @property
    def last(self) -> datetime | None:
        """When it happened last."""
        seen = self.series.last_observed_time if self.series else None
        return seen or self.last_timestamp or self.event_time or self.metadata.creation_timestamp


class PodList(Part, frozen=True):
    """The answer to a list of pods."""

    items: tuple[Pod, ...] | None = None


class ReplicaSetList(Part, frozen=True):
    """The answer to a list of ReplicaSets."""

    items: tuple[ReplicaSet, ...] | None = None


class EventList(Part, frozen=True):
    """The answer to a list of Events."""

    items: tuple[Event, ...] | None = None


def _condition(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    return next((one for one in conditions if one.type == type_), None)
