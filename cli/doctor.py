"""`towline doctor`: asks every part once, as the programs would, and says what to do where one does not answer.

In: the configuration. Out: a line a check; exit code 0 when all is well, 1 when something would keep a push from being
deployed. Nothing is written anywhere.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from towline.cli.embedded_redis import redis_url_of, server_program, socket_path
from towline.cli.main import EXIT_NEGATIVE, EXIT_OK
from towline.cli.output import OUTPUT, print_json, print_table
from towline.shared.broker import Broker
from towline.shared.cluster import Cluster, connect
from towline.shared.cluster_session import Request
from towline.shared.config import REDIS_VARIABLE, ClusterConfig, Config, Environment, load_config
from towline.shared.errors import TowlineError
from towline.shared.objects import canonical
from towline.shared.release import RELEASE
from towline.shared.secret import Secret
from towline.shared.secret_key import secret_key
from towline.worker.mirror import Mirror
from towline.worker.render.network import Isolation, starter
from towline.worker.render.programs import Programs

ASK_SECONDS = 15.0
SKEW_SECONDS = 5.0
SECRET_LENGTH = 16  # characters of a webhook secret; forges make longer ones

# What a worker does with its own rights; objects are applied with those of the environment's service account.
RIGHTS = (
    ("towline.dev", "releases", "create"),
    ("towline.dev", "releases", "patch"),
    ("towline.dev", "releases", "update"),
    ("towline.dev", "releases", "delete"),
    ("towline.dev", "releases/status", "update"),
    ("", "secrets", "create"),
    ("", "secrets", "delete"),
    ("", "events", "create"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was checked; `state` is ok, warning or failed."""

    part: str
    state: str
    text: str
    hint: str = ""


@click.command(short_help="Check every part and say what to do.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="towline.yaml")
@OUTPUT
def doctor(config: Path | None, output: str) -> None:
    """Check Redis, data_dir, repositories, clusters, rights and renderers."""
    findings = list(examine(load_config(config)))
    if output == "json":
        print_json([{"part": f.part, "state": f.state, "text": f.text, "hint": f.hint} for f in findings])
    else:
        print_table(
            ("PART", "STATE", "FOUND", "WHAT TO DO"), [(f.part, f.state, f.text, f.hint) for f in findings]
        )
    sys.exit(EXIT_NEGATIVE if any(f.state == "failed" for f in findings) else EXIT_OK)


def examine(config: Config) -> Iterator[Finding]:
    """Every check, one after the other; none of them keeps the next from being made."""
    yield _checked("data_dir", partial(_data_dir, config))
    yield _checked("secret key", partial(_secret_key, config))
    yield _checked("redis", partial(_redis, config))
    for repository in config.repositories:
        part = f"repository {repository.name}"
        yield _checked(f"{part}: webhook", partial(_webhook, repository.webhook.secrets))
        yield _checked(f"{part}: git", partial(_git, Mirror(config.data_dir / "mirrors", repository)))
    for name, access in config.clusters.items():
        yield _checked(f"cluster {name}", partial(_cluster, access))
    for environment in config.environments.values():
        part = f"environment {environment.name}"
        yield _checked(part, partial(_environment, config, environment))
    yield _checked("kustomize", _kustomize)
    yield _checked("render network", _network)


def _checked(part: str, check: Callable[[], tuple[str, str, str]]) -> Finding:
    try:
        state, text, hint = check()
    except TowlineError as error:
        return Finding(part=part, state="failed", text=error.message, hint=error.hint)
    except OSError as error:
        return Finding(part=part, state="failed", text=str(error))
    return Finding(part=part, state=state, text=text, hint=hint)


def _data_dir(config: Config) -> tuple[str, str, str]:
    config.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=config.data_dir):
        free_bytes = os.statvfs(config.data_dir).f_bavail * os.statvfs(config.data_dir).f_frsize
    if free_bytes < 1 << 30:
        return (
            "warning",
            f"{free_bytes >> 20} MB are free",
            "mirrors grow with the repositories: free some space",
        )
    return "ok", f"{config.data_dir} can be written, {free_bytes >> 30} GB are free", ""


def _secret_key(config: Config) -> tuple[str, str, str]:
    secret_key(config)
    if config.server.secret_key is None:
        return (
            "ok",
            "made by itself and kept in data_dir",
            "set server.secret_key to run more than one machine",
        )
    return "ok", "configured", ""


def _redis(config: Config) -> tuple[str, str, str]:
    if config.redis.url is None and REDIS_VARIABLE not in os.environ:
        program = server_program()
        if not socket_path(config.data_dir).exists():
            return "ok", f"embedded, not running: `towline up` starts {program}", ""
    broker = Broker(redis_url_of(config), patient=False)
    with broker.guard():
        version = broker.redis.info("server")["redis_version"]
        policy = broker.redis.info("memory").get("maxmemory_policy", "noeviction")
        skew = abs(broker.time() - time.time())
    if policy != "noeviction":
        return (
            "failed",
            f"Redis {version} evicts keys ({policy})",
            "set maxmemory-policy noeviction: jobs would vanish",
        )
    if skew > SKEW_SECONDS:
        return "warning", f"its clock differs by {skew:.0f} s", "run a time service on both machines"
    return "ok", f"Redis {version}", ""


def _webhook(secrets: tuple[Secret, ...]) -> tuple[str, str, str]:
    values = [secret.value() for secret in secrets]
    if any(len(value) < SECRET_LENGTH for value in values):
        return (
            "warning",
            f"a secret is shorter than {SECRET_LENGTH} characters",
            "make one with `openssl rand -hex 20`",
        )
    return "ok", f"{len(values)} secret{'s' if len(values) > 1 else ''}", ""


def _git(mirror: Mirror) -> tuple[str, str, str]:
    started = time.monotonic()
    refs = mirror.refs(deadline_seconds=ASK_SECONDS)
    return "ok", f"{len(refs)} refs in {time.monotonic() - started:.2f} s", ""


def _cluster(access: ClusterConfig) -> tuple[str, str, str]:
    cluster = connect(access)
    version = cluster.request(Request(verb="get", method="GET", path="/version"))
    try:
        cluster.resource(RELEASE.api_version, RELEASE.kind)
    except TowlineError:
        hint = "a worker installs it at the first sync, if it may; else: kubectl apply --server-side -f k8s/base/crd.yaml"
        return "warning", f"Kubernetes {version.get('gitVersion')}, without the Release kind", hint
    return "ok", f"Kubernetes {version.get('gitVersion')}", ""


def _environment(config: Config, environment: Environment) -> tuple[str, str, str]:
    cluster = connect(config.clusters[environment.cluster])
    missing = [
        f"{verb} {name}" for group, name, verb in RIGHTS if not _may(cluster, environment, group, name, verb)
    ]
    if missing:
        hint = "give the worker's account these rights there (docs/install.md)"
        return "failed", f"in namespace {environment.namespace} not allowed: {', '.join(missing)}", hint
    return "ok", f"namespace {environment.namespace}, all rights for the record", ""


def _may(cluster: Cluster, environment: Environment, group: str, name: str, verb: str) -> bool:
    plural, _, subresource = name.partition("/")
    attributes = {"namespace": environment.namespace, "group": group, "resource": plural, "verb": verb}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {"name": ""},
        "spec": {"resourceAttributes": attributes | ({"subresource": subresource} if subresource else {})},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = cluster.request(Request(verb="create", method="POST", path=path, body=canonical(body)))
    return bool((answer.get("status") or {}).get("allowed"))


def _kustomize() -> tuple[str, str, str]:
    programs = Programs.find()
    if programs.kustomize is None:
        hint = "needed only where services are kustomizations: `make install`, or put it on PATH"
        return "warning", "kustomize is not installed", hint
    return "ok", f"{programs.kustomize} {programs.version('kustomize')}", ""


def _network() -> tuple[str, str, str]:
    isolation = starter().isolation
    if isolation is Isolation.NONE:
        hint = "allow user namespaces, or give the worker's host no way out; URLs in kustomizations are refused anyway"
        return "warning", "renderers cannot be cut off from the network here", hint
    return "ok", f"renderers run without a network (by {isolation.value})", ""
