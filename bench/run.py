"""Measures the path of a push on this machine: real control plane, real Redis, real processes, local HTTP for Git.

    python bench/run.py [--services 10,100] [--repeat 5] [--singles 25] [--only-one] [--bare]

Prints a table, with what each row must be and should be (goals.py), and writes bench/results/<date>.json. With `--only-one` just
one install, and the pushes that change one service, so that cost can be seen to grow with the change. `webhook to applied` is taken from outside: from before a signed push
is sent until a watch shows the Release's status at that revision. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from figures import Figure, Report, Unit, milliseconds
from goals import (
    ALL,
    ANSWERED,
    GROWTH,
    INSTALL,
    MEMORY,
    NOTHING,
    NOTHING_FETCHES,
    NOTHING_WRITES,
    ONE,
)
from installation import Installation
from machine import machine, memory_mib
from parts.control_plane import ControlPlane
from parts_of_a_run import parts_of_a_run
from raw import RawLimit
from watching import Watch
from workload import manifest, names, objects, path_of

from towline.shared.release import RELEASE
from towline.shared.stored_revisions import SECRET

WITHIN_SECONDS = 1200.0  # an install of 5,000 services takes some ten minutes
MAIN = "main"  # the environment that is pushed to
AFTERWARDS = ("judge", "conclude")  # a job of its own, once it is applied
SETTLED_SECONDS = 3.0  # the controllers have done what 100 new Deployments ask of them
UNCHANGED = 25  # pushes that change nothing deployed
COMPARED = 100  # services, with which more of them are compared
WRITES = ("apply", "create", "update", "patch", "delete")  # the verbs of requests that write


class Round:
    """All measurements for one number of services."""

    def __init__(
        self, installation: Installation, raw: RawLimit, plane: ControlPlane, services: int, *, bare: bool
    ) -> None:
        self.installation, self.raw, self.plane, self.bare = installation, raw, plane, bare
        self.names = names(services)
        self.services = services
        self.version = 1
        self.watches = {name: Watch(plane, space) for name, space in installation.namespaces.items()}
        self.answers: list[float] = []

    def files(self, version: int) -> dict[str, str]:
        """Every service at a version."""
        return {path_of(name): manifest(name, version) for name in self.names}

    def push(self, files: dict[str, str], services: list[str], *, branch: str, environment: str) -> float:
        """Commit, send the webhook, wait until these services are recorded at the commit; returns seconds."""
        revision = self.installation.origin.commit(files, branch=branch)
        sent, answered = self.installation.webhook(revision, branch=branch)
        self.answers.append(answered)
        done = self.watches[environment].wait(services, revision, within=WITHIN_SECONDS)
        return done - sent

    def install(self, environment: str) -> float:
        """An install of all services in one environment."""
        branch = "main" if environment == MAIN else environment
        seconds = self.push(self.files(1), self.names, branch=branch, environment=environment)
        self._settle()
        return seconds

    def _settle(self) -> None:
        """Wait until the judging is over, too; without controllers nothing ever becomes healthy."""
        if self.bare:
            self.installation.settle(within=WITHIN_SECONDS)
        else:
            self.installation.settle_health(within=WITHIN_SECONDS)

    def everything(self, repeat: int) -> list[float]:
        """Pushes that change all services."""
        seconds = []
        for _ in range(repeat):
            self.version += 1
            seconds.append(self.push(self.files(self.version), self.names, branch="main", environment=MAIN))
            self._settle()
        return seconds

    def one(self, index: int) -> tuple[float, dict[str, Any]]:
        """A push that changes one service; returns seconds and the stages of its sync."""
        self.version += 1
        name = self.names[index % len(self.names)]
        files = {path_of(name): manifest(name, self.version)}
        seconds = self.push(files, [name], branch="main", environment=MAIN)
        tip = self.installation.origin.tip("main") or ""
        self.installation.settle()
        return seconds, self.watches[MAIN].entry(name, tip)

    def nothing(self, count: int) -> list[float]:
        """Pushes that change a file nothing is deployed from; returns the seconds until each job has ended."""
        seconds = []
        for index in range(count):
            revision = self.installation.origin.commit({"README.md": f"# {index} {self.version}\n"})
            sent, answered = self.installation.webhook(revision)
            self.answers.append(answered)
            self.installation.settle()
            seconds.append(time.perf_counter() - sent)
        return seconds


def measure(round: Round, report: Report, *, repeat: int, singles: int, redis_pid: int) -> None:
    """Every figure for one number of services."""
    installation, services = round.installation, round.services
    limits = raw_limits(round, repeat)
    installs = [round.install(MAIN)]
    found = measure_one(round, report, singles)
    everything = round.everything(repeat)
    memory = memory_mib([installation.process.pid, redis_pid])
    idle = installation.counts()
    nothing = round.nothing(UNCHANGED)
    still = installation.counts()
    installs += [round.install(name) for name in installation.namespaces if name != MAIN]
    report.figures += [
        figure(ANSWERED, services, round.answers),
        figure(ONE, services, found, limits["one"]),
        figure(INSTALL, services, installs, limits["install"]),
        figure(ALL, services, everything, limits["all"]),
        figure(NOTHING, services, nothing),
        count(NOTHING_WRITES, services, written(idle, still) / UNCHANGED),
        count(NOTHING_FETCHES, services, (still["fetches"] - idle["fetches"]) / UNCHANGED),
        Figure(what=MEMORY, services=services, samples=(float(memory["pss"]),), unit=Unit.MEMORY),
    ]
    report.details[f"Requests and commands for each push that changes nothing, {services} services"] = costs(
        [("nothing changed", idle, still, UNCHANGED)]
    )
    report.details[f"Memory of Towline at {services} services, MiB"] = [
        ["processes, with Redis", "PSS", "RSS"],
        [str(memory["processes"]), str(memory["pss"]), str(memory["rss"])],
    ]
    report.details[f"The least writes until a sync is recorded, {services} services, ms"] = recorded(
        round, {INSTALL: installs, ALL: everything}
    )


def measure_one(round: Round, report: Report, singles: int) -> list[float]:
    """Pushes that change one service: their seconds; where they went, and what they cost, is in the report."""
    before = round.installation.counts()
    found = [round.one(index) for index in range(singles)]
    after = round.installation.counts()
    services = round.services
    report.details[f"Stages of a push that changes 1 of {services}, ms"] = stages(
        found, before, after, singles
    )
    report.details[f"Requests and commands for each push that changes 1 of {services}"] = costs(
        [("1 changed", before, after, singles)]
    )
    return [seconds for seconds, _ in found]


def measure_growth(round: Round, report: Report, singles: int) -> None:
    """One install, then pushes that change one service."""
    installed = round.install(MAIN)
    found = measure_one(round, report, singles)
    limit = raw_install(round, f"raw-{round.services}")  # last, as its objects keep the controllers busy
    report.figures += [
        figure(ONE, round.services, found),
        figure(INSTALL, round.services, [installed], limit),
    ]


def compare(report: Report) -> None:
    """A push that changes one of many, as a ratio to one that changes one of COMPARED."""
    medians = {one.services: one.median for one in report.figures if one.what == ONE}
    if COMPARED in medians:
        report.figures += [
            Figure(what=GROWTH, services=services, samples=(median / medians[COMPARED],), unit=Unit.RATIO)
            for services, median in medians.items()
            if services != COMPARED
        ]


def written(before: dict[str, Any], after: dict[str, Any]) -> float:
    """How many requests wrote to the cluster meanwhile."""
    return float(
        sum(
            after["requests"].get(verb, (0.0, 0.0))[0] - before["requests"].get(verb, (0.0, 0.0))[0]
            for verb in WRITES
        )
    )


def count(what: str, services: int, number: float) -> Figure:
    """One row that counts."""
    return Figure(what=what, services=services, samples=(number,), unit=Unit.COUNT)


def figure(what: str, services: int, samples: Iterable[float], raw: float | None = None) -> Figure:
    """One row."""
    return Figure(what=what, services=services, samples=tuple(samples), raw=raw)


def raw_limits(round: Round, repeat: int) -> dict[str, float]:
    """Medians of the bare loop: install, change of all, change of one; each sends what changed and nothing else."""
    raw, count = round.raw, round.services
    install, everything, one = [], [], []
    for index in range(repeat):
        namespace = f"raw-{count}-{index}"
        install.append(raw_install(round, namespace))
        changed = [_deployment(name, 2) for name in round.names]
        everything.append(raw.apply(changed, namespace=namespace))
        for version in range(3, 8):
            one.append(raw.apply([_deployment(round.names[0], version)], namespace=namespace))
    return {
        "install": statistics.median(install),
        "all": statistics.median(everything),
        "one": statistics.median(one),
    }


def recorded(round: Round, samples: dict[str, list[float]]) -> list[list[str]]:
    """The least writes until a sync is recorded, in a bare loop while Towline is stopped; and how far from it we are."""
    like = {what: _record_of(round, space) for what, space in _places(round).items()}
    round.installation.towline.stop()
    rows = [["what", "in a bare loop", "by Towline", "ratio", "samples"]]
    first = [(name, objects(name, 1)) for name in round.names]
    changed = [(name, [_deployment(name, 2)]) for name in round.names]
    limits: dict[str, list[float]] = {INSTALL: [], ALL: []}
    for number in range(len(samples[ALL])):
        namespace = f"recorded-{round.services}-{number}"
        round.raw.make_namespace(namespace)
        for what, services in ((INSTALL, first), (ALL, changed)):
            limits[what].append(round.raw.record(services, **like[what], namespace=namespace))
            time.sleep(SETTLED_SECONDS)
    for what, ours in samples.items():
        limit, median = statistics.median(limits[what]), statistics.median(ours)
        ratio = f"{median / limit:.1f}"
        rows.append([what, milliseconds(limit), milliseconds(median), ratio, str(len(limits[what]))])
    return rows


def _places(round: Round) -> dict[str, str]:
    """Where a Release is that was installed just now, and where one is with a history."""
    *_, newest = round.installation.namespaces.values()
    return {INSTALL: newest, ALL: round.installation.namespaces[MAIN]}


def _record_of(round: Round, namespace: str) -> dict[str, Any]:
    """A Release there, and a Secret with a stored revision."""
    release = round.plane.request("GET", RELEASE.path(round.names[0], namespace))
    stored = release["status"]["stored"][0]["name"]
    return {"like": release, "secret": round.plane.request("GET", SECRET.path(stored, namespace))}


def raw_install(round: Round, namespace: str) -> float:
    """Seconds of the bare loop for an install of all in a namespace of its own."""
    round.raw.make_namespace(namespace)
    return round.raw.apply([each for name in round.names for each in objects(name, 1)], namespace=namespace)


def _deployment(name: str, version: int) -> dict[str, Any]:
    return next(each for each in objects(name, version) if each["kind"] == "Deployment")


def stages(
    found: list[tuple[float, dict[str, Any]]], before: dict[str, Any], after: dict[str, Any], pushes: int
) -> list[list[str]]:
    """Medians by the Releases' histories, means by the metrics; what is in no stage is queue and bookkeeping."""
    rows = [["stage", "median by history", "mean by metrics", "times a push"]]
    total = 0.0
    for stage, (times, seconds) in after["stages"].items():
        times -= before["stages"].get(stage, (0.0, 0.0))[0]
        seconds -= before["stages"].get(stage, (0.0, 0.0))[1]
        if times:
            samples = [entry["stages"][stage] for _, entry in found if stage in entry.get("stages", {})]
            median = milliseconds(statistics.median(samples)) if samples else ""
            rows.append([stage, median, milliseconds(seconds / times), f"{times / pushes:.2f}"])
            total += seconds / pushes if stage not in AFTERWARDS else 0.0
    whole = statistics.mean(seconds for seconds, _ in found)
    rows.append(["receive, queue, bookkeeping, watch", "", milliseconds(whole - total), ""])
    rows.append(
        ["webhook to applied", milliseconds(statistics.median(s for s, _ in found)), milliseconds(whole), ""]
    )
    return rows


def costs(spans: list[tuple[str, dict[str, Any], dict[str, Any], int]]) -> list[list[str]]:
    """What a push cost in requests to the API server, fetches and Redis commands (idle chatter included)."""
    rows = [["push", "kind", "what", "a push"]]
    for label, before, after, pushes in spans:
        fetched = (after["fetches"] - before["fetches"]) / pushes
        rows.append([label, "fetch", "", f"{fetched:.1f}"])
        for verb, (times, _) in after["requests"].items():
            if made := times - before["requests"].get(verb, (0.0, 0.0))[0]:
                rows.append([label, "API server", verb, f"{made / pushes:.1f}"])
        made_by = {name: calls - before["redis"].get(name, 0.0) for name, calls in after["redis"].items()}
        rows.append([label, "Redis", "all commands", f"{sum(made_by.values()) / pushes:.1f}"])
        for name, calls in sorted(made_by.items(), key=lambda item: -item[1])[:8]:
            rows.append([label, "Redis", name, f"{calls / pushes:.1f}"])
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--services", default="10,100", help="numbers of services, one round each")
    parser.add_argument("--repeat", type=int, default=5, help="installs and pushes that change all")
    parser.add_argument("--singles", type=int, default=25, help="pushes that change one service")
    parser.add_argument(
        "--only-one", action="store_true", help="one install, and pushes that change one service"
    )
    parser.add_argument(
        "--bare",
        action="store_true",
        help="etcd and kube-apiserver alone: no controller competes for the cores",
    )
    return parser.parse_args()


def main() -> int:
    """Run every round; the parts end with this process."""
    asked = arguments()
    started = time.monotonic()
    report = Report(machine=machine())
    with parts_of_a_run() as (folder, plane, redis):
        if asked.bare:
            for process in plane.controllers:
                process.stop()
        for index, services in enumerate(map(int, asked.services.split(","))):
            installs = 1 if asked.only_one else asked.repeat
            environments = [MAIN, *(f"install-{number}" for number in range(1, installs))]
            installation = Installation(
                folder / f"of-{services}", plane, redis, database=index, environments=environments
            )
            try:
                round = Round(installation, RawLimit(plane), plane, services, bare=asked.bare)
                if asked.only_one:
                    measure_growth(round, report, asked.singles)
                    continue
                measure(
                    round, report, repeat=asked.repeat, singles=asked.singles, redis_pid=redis.process.pid
                )
            finally:
                installation.close()
    compare(report)
    print(report.text())
    print(f"\n{time.monotonic() - started:.0f} s; written to {report.write().relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
