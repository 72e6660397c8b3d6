"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok.

kwok plays the nodes and their kubelets: pods are scheduled, run and end within milliseconds, and no container exists. Pods
that are to fail do so (parts/failing.py), and every container has the same logs.
One is started a run, ready in about 3 s; each test has a namespace of its own.

    def test_something(control_plane, namespace):
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifests)

RBAC is on and the token is an administrator's. The kube-apiserver logs that it may not write its own address (127.0.0.1)
into Endpoints: harmless, nothing here uses the Service `kubernetes`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.certificates import Certificates, make_certificates
from parts.eventually import eventually
from parts.processes import Process, free_port
from parts.programs import program_path

KWOK = Path(__file__).parent.parent / "data" / "kwok"
NODES = ("node-a", "node-b")
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"
REQUEST_SECONDS = 5.0
KUBECTL_SECONDS = 60.0
RUNNING_LINES = ("starting", "GET /ready 503: waiting for the database")
CRASHED_LINES = (
    *(f"line {number}" for number in range(1, 41)),
    "fatal: no database, password=hunter2-of-the-test",
)
CLIENT_RATE = 1000  # requests a second of each controller; their defaults (20 to 50) are for large clusters


class KubectlError(Exception):
    """kubectl ended with an error; the message is its last words."""


class ControlPlane:
    """One control plane with its files in `folder`; `detached`: it outlives this process."""

    def __init__(
        self, folder: Path, *, detached: bool = False, program: Callable[[str], Path] = program_path
    ) -> None:
        self.folder = folder.absolute()
        self.kubeconfig = self.folder / "kubeconfig"
        self.token = secrets.token_urlsafe(24)
        self.url = f"https://127.0.0.1:{free_port()}"
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._kubelet_port = free_port()
        self._detached = detached
        self._program = program

    def start(self) -> None:
        """Start everything; returns when the nodes take pods. Nothing is left running when that fails."""
        try:
            self._write_files()
            self.etcd.start()
            self.apiserver.start()
            self._wait_answers(self.etcd, f"{self._etcd_url}/health")
            self.apiserver.wait_ready(self.is_ready)
            for process in self.controllers:
                process.start()
            self._add_nodes()
            self._wait_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything, at once: nothing in it is to be kept."""
        for process in reversed(self.processes):
            process.kill()

    def restart_apiserver(self) -> None:
        """Kill the kube-apiserver and start it again on the same port; returns when it and the controllers work.

        The controllers are started anew too: left alone, they come back when their back-off of up to 30 s is over. kwok
        comes back at once, while a new one would wait until the leases of the nodes that the old one held are over.
        """
        self.apiserver.kill()
        self.apiserver.start()
        self.apiserver.wait_ready(self.is_ready)
        for process in self.controllers[:-1]:
            process.kill()
            process.start()
        self._wait_controllers()

    def compact(self) -> None:
        """Have etcd forget everything but what is there now, as a kube-apiserver has it do every 5 minutes."""
        revision = self._ask_etcd("/v3/maintenance/status", {})["header"]["revision"]
        self._ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _ask_etcd(self, path: str, body: object) -> Any:
        """One call of etcd's gRPC gateway, which takes JSON: https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/."""
        request = urllib.request.Request(self._etcd_url + path, data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
            return json.load(answer)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl writes to standard output; raises KubectlError."""
        ended = subprocess.run(
            [self._program("kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments],
            env={"PATH": os.defpath, "HOME": str(self.folder)},  # HOME: kubectl caches discovery there
            input=stdin,
            check=False,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
        )
        if ended.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One call of the API by plain HTTP, as JSON; raises urllib.error.HTTPError for every answer over 399."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_SECONDS, context=self._tls) as answer:
            return json.load(answer)

    def is_ready(self) -> bool:
        """The kube-apiserver says that it is ready."""
        return self._answers(f"{self.url}/readyz")

    @property
    def processes(self) -> list[Process]:
        """All of them, in the order in which they start."""
        return [self.etcd, self.apiserver, *self.controllers]

    @cached_property
    def etcd(self) -> Process:
        """The store; nothing is synced to the disk."""
        peers = f"http://127.0.0.1:{free_port()}"
        return self._process(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    @cached_property
    def apiserver(self) -> Process:
        """The API server: tests pause, kill and restart it."""
        return self._process(
            "kube-apiserver",
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--tls-cert-file={self._certificates.server}",
            f"--tls-private-key-file={self._certificates.server_key}",
            f"--cert-dir={self.folder}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._certificates.service_account_key}",
            f"--service-account-signing-key-file={self._certificates.service_account_key}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--allow-privileged",
        )

    @cached_property
    def controllers(self) -> list[Process]:
        """What turns objects into other objects, once the kube-apiserver is ready."""
        return [
            self._process(
                "kube-controller-manager",
                f"--kubeconfig={self.kubeconfig}",
                "--leader-elect=false",
                "--secure-port=0",
                f"--service-account-private-key-file={self._certificates.service_account_key}",
                f"--root-ca-file={self._certificates.authority}",
                f"--kube-api-qps={CLIENT_RATE}",
                f"--kube-api-burst={CLIENT_RATE}",
            ),
            self._process("kube-scheduler", f"--config={self.folder / 'scheduler.yaml'}", "--secure-port=0"),
            self._process(
                "kwok",
                f"--kubeconfig={self.kubeconfig}",
                f"--config={KWOK / 'stages.yaml'}",
                f"--config={KWOK / 'failing.yaml'}",
                f"--config={self.folder / 'logs.yaml'}",
                "--manage-all-nodes=true",
                f"--cidr={POD_RANGE}",
                "--node-ip=127.0.0.1",
                f"--node-port={self._kubelet_port}",
                f"--server-address=127.0.0.1:{self._kubelet_port}",
                f"--tls-cert-file={self._certificates.server}",
                f"--tls-private-key-file={self._certificates.server_key}",
                "--node-lease-duration-seconds=40",
            ),
        ]

    def _process(self, name: str, *arguments: str) -> Process:
        return Process(name, [self._program(name), *arguments], folder=self.folder, detached=self._detached)

    @cached_property
    def _certificates(self) -> Certificates:
        names = ["localhost", "kubernetes.default.svc"]
        return make_certificates(self.folder / "certificates", names=names, addresses=["127.0.0.1"])

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._certificates.authority)

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{self.token},admin,admin,system:masters\n")
        scheduler = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False},
            "clientConnection": {
                "kubeconfig": str(self.kubeconfig),
                "qps": CLIENT_RATE,
                "burst": CLIENT_RATE,
            },
        }
        (self.folder / "scheduler.yaml").write_text(yaml.safe_dump(scheduler))
        self._write_kubeconfig()
        self._write_logs()

    def _write_logs(self) -> None:
        """What every container says, and what its last run said before it crashed, as a container runtime keeps it."""
        files = {}
        for name, lines in (("logsFile", RUNNING_LINES), ("previousLogsFile", CRASHED_LINES)):
            files[name] = str(self.folder / f"{name}.log")
            kept = "".join(f"2026-11-24T12:00:00.000000000Z stderr F {line}\n" for line in lines)
            Path(files[name]).write_text(kept)
        logs = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterLogs",
            "metadata": {"name": "all"},
            "spec": {"logs": [files]},
        }
        (self.folder / "logs.yaml").write_text(yaml.safe_dump(logs))

    def _write_kubeconfig(self) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "towline-tests",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority": str(self._certificates.authority),
                    },
                }
            ],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "towline-tests", "context": {"cluster": "towline-tests", "user": "admin"}}],
            "current-context": "towline-tests",
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _add_nodes(self) -> None:
        for name in NODES:
            metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}}
            self.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})

    def _wait_controllers(self) -> None:
        """A node without taints is kwok's and the controller manager's work; a pod on it the scheduler's."""
        manager, scheduler, kwok = self.controllers
        kwok.wait_ready(lambda: all(self._node_takes_pods(name) for name in NODES))
        manager.wait_ready(lambda: self._exists("/api/v1/namespaces/default/serviceaccounts/default"))
        name = f"first-{secrets.token_hex(4)}"
        pod = f"/api/v1/namespaces/default/pods/{name}"
        spec = {"containers": [{"name": "main", "image": "example.com/first"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.request("POST", pod.rpartition("/")[0], body)
        scheduler.wait_ready(lambda: self.request("GET", pod)["status"]["phase"] == "Running")
        self.request("DELETE", pod)

    def _node_takes_pods(self, name: str) -> bool:
        node = self.request("GET", f"/api/v1/nodes/{name}")
        conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    def _exists(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return False
            raise
        return True

    def _wait_answers(self, process: Process, url: str) -> None:
        process.wait_ready(lambda: self._answers(url))

    def _answers(self, url: str) -> bool:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS, context=self._tls) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The run's control plane."""
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def namespace_name(request: pytest.FixtureRequest) -> str:
    """A name for a namespace that does not exist; what the test makes under it stays until the control plane ends.

    Deleting one costs a hundred requests, of all kinds of objects that could be in it, and a seventh of a second of CPU.
    """
    return new_namespace_name(request.node.name)


@pytest.fixture
def namespace(namespace_name: str, control_plane: ControlPlane) -> str:
    """A namespace of the test's own, in which pods can run."""
    metadata = {"name": namespace_name}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    control_plane.request("POST", "/api/v1/namespaces", body)
    account = f"/api/v1/namespaces/{namespace_name}/serviceaccounts/default"
    eventually(lambda: control_plane.request("GET", account))
    return namespace_name


def new_namespace_name(test: str) -> str:
    """The test's name as a DNS label (RFC 1123: 63 characters), made unlike all others."""
    label = re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_"))[:50].strip("-")
    return f"{label}-{secrets.token_hex(4)}"


def delete_namespace(plane: ControlPlane, name: str) -> None:
    """Have it deleted; returns before it is gone, and does nothing when there is none."""
    try:
        plane.request("DELETE", f"/api/v1/namespaces/{name}")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 404:
            raise
