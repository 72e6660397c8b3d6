"""Health of the few custom kinds whose states the data of rules/*.yaml cannot express: sums, dates, counts in a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from towline.shared.model import Health, Object
from towline.worker.health.status import (
    LARGEST,
    Judgement,
    conditions_of,
    integer,
    is_true,
    mapping,
    part,
    scalar,
    text,
)

COUNTS = re.compile(r"(\d{1,9})/(\d{1,9})")
AMOUNT = re.compile(r"(\d{1,9})(%)?")
SPARK_STATES: Mapping[str, Health] = {
    "COMPLETED": Health.HEALTHY,
    "FAILED": Health.FAILED,
    "SUBMISSION_FAILED": Health.FAILED,
    "FAILING": Health.FAILED,
    "INVALIDATING": Health.UNKNOWN,
}
# Of Koperator: what its KafkaCluster is while brokers are restarted, and how the names of a broker's moves end.
CHANGING = ("ClusterReconciling", "ClusterRollingUpgrading")
MOVING = ("Required", "Scheduled", "Running")
GENERATION = "rollout.argoproj.io/workload-generation"
PHASES: Mapping[str, Health] = {
    "Healthy": Health.HEALTHY,
    "Progressing": Health.PROGRESSING,
    "Degraded": Health.FAILED,
    "Paused": Health.SUSPENDED,
}
UNSEEN: Judgement = (Health.PROGRESSING, "its controller has not seen the newest change yet")


def rollout(object: Object) -> Judgement:
    """Argo Rollouts: its phase since version 1.0; before that, what its counts and hashes say."""
    status = part(object, "status")
    if not status or _is_behind(object):
        return UNSEEN
    conditions = conditions_of(object)
    if phase := text(status.get("phase")):
        health = PHASES.get(phase, Health.UNKNOWN)
        return health, text(status.get("message")) or f"its phase is {phase}"
    progressing = conditions.get("Progressing")
    if invalid := conditions.get("InvalidSpec"):
        return Health.FAILED, invalid.text
    if progressing and progressing.reason in ("RolloutAborted", "ProgressDeadlineExceeded"):
        return Health.FAILED, progressing.text
    if status.get("pauseConditions") or part(object, "spec").get("paused") is True:
        return Health.SUSPENDED, "is paused"
    return _old_rollout(part(object, "spec"), status)


def _is_behind(object: Object) -> bool:
    """Its observed generation is a text: a number, or before version 0.10 a hash, which may look like a large number."""
    metadata, status = part(object, "metadata"), part(object, "status")
    observed, wanted = text(status.get("observedGeneration")), metadata.get("generation")
    if observed.isascii() and observed.isdecimal() and len(observed) < 10 and int(observed) < integer(wanted):
        return True
    workload = mapping(metadata.get("annotations")).get(GENERATION)
    referenced = part(object, "spec").get("workloadRef") is not None
    return (
        referenced
        and workload is not None
        and scalar(workload) != scalar(status.get("workloadObservedGeneration"))
    )


def _old_rollout(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Judgement:
    new = status.get("currentPodHash")
    updated, available = integer(status.get("updatedReplicas")), integer(status.get("availableReplicas"))
    wanted = integer(spec.get("replicas"), 1)
    if new is None or updated < wanted:
        return Health.PROGRESSING, f"{updated} of {wanted} replicas are new"
    if available < updated:
        return Health.PROGRESSING, f"{available} of {updated} new replicas are available"
    stable = status.get("stableRS") or mapping(status.get("canary")).get("stableRS") or ""
    strategy = mapping(spec.get("strategy"))
    if "blueGreen" in strategy:
        serves = mapping(status.get("blueGreen")).get("activeSelector") == new and stable in ("", new)
        return (Health.HEALTHY, "is active") if serves else (Health.PROGRESSING, "is not active yet")
    if "canary" in strategy and (integer(status.get("replicas")) > updated or stable != new):
        return Health.PROGRESSING, "its steps are not done yet"
    return Health.HEALTHY, f"{available} of {wanted} replicas are available"


def elasticsearch(object: Object) -> Judgement:
    """Elastic Cloud on Kubernetes: all nodes of all sets, then the cluster's colour."""
    status = part(object, "status")
    phase, colour = text(status.get("phase")), text(status.get("health"))
    if phase == "Invalid":
        return Health.FAILED, "its spec is invalid"
    sets = part(object, "spec").get("nodeSets")
    wanted = sum(integer(mapping(each).get("count")) for each in sets) if isinstance(sets, list) else 0
    available = integer(status.get("availableNodes"))
    if "availableNodes" in status and available < wanted:
        return Health.PROGRESSING, f"{available} of {wanted} nodes are available"
    if phase in ("ApplyingChanges", "MigratingData"):
        return Health.PROGRESSING, f"its phase is {phase}"
    colours = {"green": Health.HEALTHY, "yellow": Health.PROGRESSING, "red": Health.FAILED}
    if phase == "Ready" and colour in colours:
        return colours[colour], f"is {colour}"
    return Health.UNKNOWN, "says nothing that is known"


def collector(object: Object) -> Judgement:
    """OpenTelemetry's collector: its replicas stand in a text, "1/3"."""
    status = part(object, "status")
    mode, replicas = part(object, "spec").get("mode"), mapping(status.get("scale")).get("statusReplicas")
    if replicas is None and mode == "sidecar" and status:
        return Health.HEALTHY, "runs beside other containers"
    counts = COUNTS.fullmatch(text(replicas))
    if counts is None:
        return Health.PROGRESSING, "has not counted its replicas yet"
    ready, wanted = int(counts[1]), int(counts[2])
    if ready == 0 and not (mode == "daemonset" and wanted == 0):
        return Health.FAILED, "no replica is ready"
    health = Health.HEALTHY if ready == wanted else Health.PROGRESSING
    return health, f"{ready} of {wanted} replicas are ready"


def brokers(object: Object) -> Judgement:
    """Koperator's KafkaCluster: whether it is being changed, then every broker's state, then the cluster's."""
    status = part(object, "status")
    state, states = text(status.get("state")), mapping(status.get("brokersState"))
    if not states or state in CHANGING:
        return Health.PROGRESSING, f"its state is {state}" if state else "has no brokers yet"
    found = {_of_broker(mapping(each)) for each in states.values()}
    if Health.FAILED in found:
        return Health.FAILED, "a broker is not in sync"
    if Health.PROGRESSING in found:
        return Health.PROGRESSING, "partitions are being moved to a broker, or away from it"
    if state == "ClusterRunning" and status.get("cruiseControlTopicStatus") == "CruiseControlTopicReady":
        return Health.HEALTHY, "its brokers run and are in sync"
    return Health.PROGRESSING, f"its state is {state}"


def _of_broker(broker: Mapping[str, Any]) -> Health:
    control = text(mapping(broker.get("gracefulActionState")).get("cruiseControlState"))
    if broker.get("configurationState") != "ConfigInSync":
        return Health.FAILED
    if control.endswith("Succeeded"):
        return Health.HEALTHY
    return Health.PROGRESSING if control.endswith(MOVING) else Health.FAILED


def stateful_set(object: Object) -> Judgement:
    """OpenKruise's StatefulSet: an update that stops at a partition waits for a person."""
    status = part(object, "status")
    if "updatedAvailableReplicas" not in status and status:
        return Health.SUSPENDED, "its update is paused"
    replicas, updated = integer(status.get("replicas")), integer(status.get("updatedReplicas"))
    stopped = _stopped(object, done=updated, of=replicas)
    if stopped is not None or not status:
        return stopped or UNSEEN
    available = integer(status.get("updatedAvailableReplicas"))
    if available == replicas:
        return Health.HEALTHY, f"{available} of {replicas} replicas are new and available"
    conditions = conditions_of(object)
    if refused := is_true(conditions, "FailedCreatePod") or is_true(conditions, "FailedUpdatePod"):
        return Health.FAILED, refused.text
    return Health.PROGRESSING, f"{available} of {replicas} replicas are new and available"


def daemon_set(object: Object) -> Judgement:
    """OpenKruise's DaemonSet."""
    status = part(object, "status")
    if "updatedNumberScheduled" not in status and status:
        return Health.SUSPENDED, "its update is paused"
    wanted, updated = (
        integer(status.get("desiredNumberScheduled")),
        integer(status.get("updatedNumberScheduled")),
    )
    stopped = _stopped(object, done=updated, of=wanted)
    if stopped is not None or not status:
        return stopped or UNSEEN
    available = integer(status.get("numberAvailable"))
    if updated == wanted and available == wanted:
        return Health.HEALTHY, f"{available} of {wanted} pods are new and available"
    return Health.PROGRESSING, f"{available} of {wanted} pods are available"


def game_servers(object: Object) -> Judgement:
    """OpenKruise's GameServerSet: an update that is paused or has come to its partition waits for a person."""
    status, strategy = part(object, "status"), _rolling_update(object)
    if "observedGeneration" not in status:
        return UNSEEN
    if strategy.get("paused") is True:
        return Health.SUSPENDED, "its update is paused"
    replicas, updated = integer(status.get("replicas")), integer(status.get("updatedReplicas"))
    partition = _pods(strategy.get("partition"), replicas)
    if partition and updated >= replicas - partition:
        return Health.SUSPENDED, f"its update stops at its partition, {partition}"
    ready = integer(status.get("updatedReadyReplicas"))
    health = Health.HEALTHY if ready == replicas else Health.PROGRESSING
    return health, f"{ready} of {replicas} game servers are new and ready"


def _rolling_update(object: Object) -> Mapping[str, Any]:
    """How it is updated, as OpenKruise's kinds say it."""
    return mapping(mapping(part(object, "spec").get("updateStrategy")).get("rollingUpdate"))


def _stopped(object: Object, *, done: int, of: int) -> Judgement | None:
    """Of an update that is paused, or that stops at a partition; None when it goes on to the end."""
    strategy = _rolling_update(object)
    if strategy.get("paused") is True:
        return Health.SUSPENDED, "its update is paused"
    partition = _pods(strategy.get("partition"), of)
    if not partition or integer(part(object, "metadata").get("generation")) <= 1:
        return None
    if done > of - partition:
        return Health.SUSPENDED, f"its update stops at its partition, {partition}"
    return Health.PROGRESSING, f"{done} of {of} are new"


def _pods(amount: Any, of: int) -> int:  # noqa: ANN401 - whatever a spec holds
    """An amount of pods: a number, a number in a text, or percents (rounded up)."""
    found = AMOUNT.fullmatch(text(amount))
    if found is None:
        return integer(amount)
    return -(-of * int(found[1]) // 100) if found[2] else int(found[1])


def spark(object: Object) -> Judgement:
    """Spark's operator: one that runs is healthy when as many executors run as it asks for."""
    status = part(object, "status")
    application = mapping(status.get("applicationState"))
    state, error = text(application.get("state")), text(application.get("errorMessage"))
    if state in SPARK_STATES:
        return SPARK_STATES[state], f"{state}: {error}" if error else f"its state is {state}"
    if state != "RUNNING":
        return Health.PROGRESSING, f"its state is {state}" if state else "has no state yet"
    running = sum(each == "RUNNING" for each in mapping(status.get("executorState")).values())
    least, most = _executors(part(object, "spec"))
    health = Health.HEALTHY if least <= running <= most else Health.PROGRESSING
    wanted = least if most == least else f"{least} or more" if most == LARGEST else f"{least} to {most}"
    return health, f"{running} executors run, of {wanted}"


def _executors(spec: Mapping[str, Any]) -> tuple[int, int]:
    """How few and how many executors it may have: one number, or two where Spark allocates them or nobody says."""
    instances = mapping(spec.get("executor")).get("instances")
    dynamic, conf = mapping(spec.get("dynamicAllocation")), mapping(spec.get("sparkConf"))
    if dynamic.get("enabled") is True:
        return integer(dynamic.get("minExecutors")), integer(dynamic.get("maxExecutors"), LARGEST)
    for prefix in ("spark.dynamicAllocation", "spark.streaming.dynamicAllocation"):
        if scalar(conf.get(f"{prefix}.enabled")) == "true":
            least, most = (
                AMOUNT.fullmatch(scalar(conf.get(f"{prefix}.{end}")) or "")
                for end in ("minExecutors", "maxExecutors")
            )
            return int(least[1]) if least else 0, int(most[1]) if most else LARGEST
    return (1, LARGEST) if instances is None else (integer(instances, 1), integer(instances, 1))


RULES: Mapping[tuple[str, str], Callable[[Object], Judgement]] = {
    ("argoproj.io", "Rollout"): rollout,
    ("elasticsearch.k8s.elastic.co", "Elasticsearch"): elasticsearch,
    ("opentelemetry.io", "OpenTelemetryCollector"): collector,
    ("kafka.banzaicloud.io", "KafkaCluster"): brokers,
    ("apps.kruise.io", "StatefulSet"): stateful_set,
    ("apps.kruise.io", "DaemonSet"): daemon_set,
    ("game.kruise.io", "GameServerSet"): game_servers,
    ("sparkoperator.k8s.io", "SparkApplication"): spark,
}
