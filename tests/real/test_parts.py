"""The real parts themselves: what other tests take for granted about the control plane, Redis and the programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from parts.control_plane import ControlPlane, KubectlError
from parts.eventually import eventually
from parts.processes import NotReady, Process, started_at
from parts.programs import ProgramPath
from parts.redis import RedisServer

TESTS = Path(__file__).resolve().parent.parent
ROLLOUT_SECONDS = 2.0

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
"""

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: example.com/once}]}
"""


@pytest.fixture
def cluster_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for tests/cluster.py, stopped at the end whatever happened."""
    folder = tmp_path / ".cluster"
    yield folder
    run_cluster("stop", folder)


def run_cluster(action: str, folder: Path) -> str:
    """What `python tests/cluster.py ACTION` prints; fails the test when it fails."""
    command = [sys.executable, str(TESTS / "cluster.py"), action, "--folder", str(folder)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def pids_of(folder: Path) -> list[int]:
    """The processes that name this folder on their command line or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve() == folder:
                    found.append(int(entry.name))
            except OSError:  # it ended meanwhile
                continue
    return found


def test_versions_are_the_pinned_ones(program: ProgramPath, control_plane: ControlPlane) -> None:
    assert control_plane.request("GET", "/version")["gitVersion"] == "v1.36.3"
    assert "Client Version: v1.36.3" in control_plane.kubectl("version")
    versions = {"etcd": "3.7.3", "kustomize": "v5.8.2", "helm": "v4.3.1", "kwok": "0.8.0"}
    for name, version in versions.items():
        words = ["--version"] if name in {"etcd", "kwok"} else ["version"]
        said = subprocess.run([program(name), *words], capture_output=True, text=True, check=True).stdout
        assert version in said


def test_a_deployment_rolls_out_in_time(control_plane: ControlPlane, namespace: str) -> None:
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"

    def is_available() -> bool:
        return bool(control_plane.request("GET", deployments)["status"].get("availableReplicas") == 2)

    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=DEPLOYMENT)
    started = time.monotonic()
    eventually(is_available, within=ROLLOUT_SECONDS, explain=lambda: events_of(control_plane, namespace))
    assert time.monotonic() - started < ROLLOUT_SECONDS


def test_a_deployment_deleted_takes_its_pods_along(control_plane: ControlPlane, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=DEPLOYMENT)
    eventually(lambda: len(control_plane.request("GET", pods)["items"]) == 2)
    control_plane.kubectl("delete", "-n", namespace, "deployment/web")
    eventually(lambda: not control_plane.request("GET", pods)["items"])


def test_a_job_completes(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=JOB)
    job = f"/apis/batch/v1/namespaces/{namespace}/jobs/once"
    eventually(lambda: control_plane.request("GET", job)["status"].get("succeeded") == 1)


def test_a_namespace_is_the_tests_own(namespace: str, namespace_name: str) -> None:
    assert namespace == namespace_name
    assert re.fullmatch(r"a-namespace-is-the-tests-own-[0-9a-f]{8}", namespace)


def test_a_namespace_name_does_not_exist_yet(control_plane: ControlPlane, namespace_name: str) -> None:
    with pytest.raises(KubectlError, match="NotFound"):
        control_plane.kubectl("get", "namespace", namespace_name)


def test_rbac_is_enforced(control_plane: ControlPlane, namespace: str) -> None:
    nobody = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(KubectlError, match="Forbidden"):
        control_plane.kubectl("get", "secrets", "-n", namespace, f"--as={nobody}")


def test_tokens_of_service_accounts_are_accepted(control_plane: ControlPlane, namespace: str) -> None:
    token = control_plane.kubectl("create", "token", "default", "-n", namespace).strip()
    said = control_plane.kubectl(
        f"--token={token}", "auth", "whoami", "-o=jsonpath={.status.userInfo.username}"
    )
    assert said == f"system:serviceaccount:{namespace}:default"


def test_the_apiserver_can_be_restarted(control_plane: ControlPlane, namespace: str) -> None:
    before = control_plane.apiserver.pid
    control_plane.restart_apiserver()
    assert control_plane.apiserver.pid != before
    control_plane.kubectl("get", "namespace", namespace)
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=DEPLOYMENT)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    eventually(lambda: len(control_plane.request("GET", pods)["items"]) == 2, within=20)


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    process = Process("shell", ["/bin/sh", "-c", "echo the reason; exit 3"], folder=tmp_path)
    process.start()
    with pytest.raises(NotReady, match=r"shell ended with exit code 3\n.*shell\.log:\nthe reason"):
        process.wait_ready(lambda: False)
    process.stop()


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    script = (
        "import signal, sys; from pathlib import Path; from parts.processes import Process\n"
        "child = Process('sleep', ['/bin/sleep', '600'], folder=Path(sys.argv[1]))\n"
        "child.start(); print(child.pid, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        eventually(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: started_at(child) is None)


def test_each_test_has_an_empty_database(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
    assert int(redis_url.rpartition("/")[2]) > 0
    assert redis_server.is_running


def test_a_paused_redis_answers_nothing(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=0.1, retry=None) as client:
        client.ping()
        redis_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        redis_server.resume()
        eventually(client.ping)


def test_a_restarted_redis_is_empty(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("some", "thing")
    redis_server.restart()
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("some") is None


def test_a_redis_stopped_by_a_test_refuses_connections(redis_server: RedisServer, redis_url: str) -> None:
    redis_server.stop()
    with redis.Redis.from_url(redis_url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_eventually_tells_the_last_value() -> None:
    counted = iter(range(100))
    assert eventually(lambda: next(counted) == 3, every=0) is True
    with pytest.raises(AssertionError, match=r"within 0 s: the last time it was \[\]\nthe events"):
        eventually(list, within=0, explain=lambda: "the events")


def test_eventually_tells_the_last_exception() -> None:
    def fails() -> bool:
        raise ValueError("not yet")

    with pytest.raises(AssertionError, match=r"raised ValueError\('not yet'\)"):
        eventually(fails, within=0)


def test_a_program_that_is_not_built_names_the_command(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(TESTS / "programs" / "build.py"), "--path", "helm"]
    ended = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, cwd=TESTS.parent
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"build it with: {sys.executable} tests/programs/build.py helm\n")


def test_programs_come_from_kubebuilder_assets(tmp_path: Path) -> None:
    (tmp_path / "etcd").touch()
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(tmp_path)}
    command = [sys.executable, str(TESTS / "programs" / "build.py"), "--path"]
    found, missing = (
        subprocess.run([*command, name], check=False, env=environment, capture_output=True, text=True)
        for name in ("etcd", "kubectl")
    )
    assert found.stdout == f"{tmp_path}/etcd\n"
    assert "KUBEBUILDER_ASSETS is set and" in missing.stderr
    assert missing.returncode == 1


def test_cluster_by_hand_leaves_nothing_behind(cluster_folder: Path, program: ProgramPath) -> None:
    kubectl = [str(program("kubectl")), f"--kubeconfig={cluster_folder / 'kubeconfig'}"]

    assert "is ready" in run_cluster("start", cluster_folder)
    first = pids_of(cluster_folder)
    assert len(first) == 5
    assert b"node-a" in subprocess.run([*kubectl, "get", "nodes"], capture_output=True, check=True).stdout

    assert "already runs" in run_cluster("start", cluster_folder)
    assert pids_of(cluster_folder) == first

    assert "(5 processes)" in run_cluster("stop", cluster_folder)
    assert not cluster_folder.exists()
    assert not [pid for pid in first if started_at(pid) is not None]
    assert "No control plane runs" in run_cluster("stop", cluster_folder)


def test_cluster_stop_ends_nothing_that_it_did_not_start(cluster_folder: Path) -> None:
    cluster_folder.mkdir()
    with subprocess.Popen(["/bin/sleep", "600"]) as other:
        began = started_at(other.pid)
        assert began is not None
        (cluster_folder / "etcd.pid").write_text(f'{{"pid": {other.pid}, "started": {began - 1}}}')
        assert "(0 processes)" in run_cluster("stop", cluster_folder)
        assert started_at(other.pid) == began
        other.kill()


def events_of(control_plane: ControlPlane, namespace: str) -> str:
    """The namespace's events, for the error of a wait."""
    return control_plane.kubectl("get", "events", "-n", namespace)
