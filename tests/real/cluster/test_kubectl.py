"""What people see of a release, with kubectl on a real API server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from parts.a_release import OLDER, REVISION, claim, full_status, member
from parts.control_plane import ControlPlane, KubectlError
from parts.eventually import eventually
from parts.programs import ProgramPath

from towline.shared.cluster import Cluster
from towline.shared.model import Health, Phase
from towline.shared.objects import TOOLING, metadata_of
from towline.shared.records import Owner, Records
from towline.shared.release import ReleaseStatus


def test_kubectl_shows_a_release_in_columns(records: Records, owner: Owner, control_plane: ControlPlane):
    release = claim(records, owner)
    records.write_status(release, full_status(release, records))

    heads, row = control_plane.kubectl("get", "releases", "-n", owner.namespace).splitlines()

    assert heads.split() == ["NAME", "ENVIRONMENT", "REVISION", "STABLE", "PHASE", "HEALTH", "AGE"]
    assert row.split()[:6] == ["orders", "staging", REVISION[:10], OLDER[:10], "Healthy", "healthy"]
    assert "orders" in control_plane.kubectl("get", "rel", "-A", "--no-headers")


def test_kubectl_shows_where_a_release_is_pinned_when_it_is_asked_for_more(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    records.set_spec(claim(records, owner), pinned=REVISION)

    heads, row = control_plane.kubectl("get", "rel", "-n", owner.namespace, "-o", "wide").splitlines()

    assert row[heads.index("PINNED") :].split()[0] == REVISION


def test_kubectl_waits_for_ready_and_for_what_is_not(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    release = claim(records, owner)
    release = records.write_status(release, ReleaseStatus(phase=Phase.VERIFYING))
    wait = ("wait", "-n", owner.namespace, "--for=condition=Ready", "rel/orders")
    with pytest.raises(KubectlError, match="timed out"):
        control_plane.kubectl(*wait, "--timeout=200ms")

    records.write_status(release, ReleaseStatus(phase=Phase.HEALTHY, health=Health.HEALTHY))

    assert "condition met" in control_plane.kubectl(*wait, "--timeout=5s")


def test_kubectl_explains_every_field(records: Records, control_plane: ControlPlane):
    eventually(lambda: control_plane.kubectl("explain", "release.status"), within=10)

    assert "rolled back" in control_plane.kubectl("explain", "release.status.quarantined")
    told = " ".join(control_plane.kubectl("explain", "rel.status.history").split())
    assert "the seconds of its stages" in told  # the long parts have no schema, and say what is in them
    assert "suspended" in control_plane.kubectl("explain", "rel.spec")


def test_kubectl_describes_a_release_with_its_events(
    records: Records, owner: Owner, control_plane: ControlPlane
):
    release = claim(records, owner)

    records.event(release, reason="Synced", message="4 objects applied\x1b[31m")
    records.event(release, reason="RolledBack", message="crash loop", type="Warning")

    told = control_plane.kubectl("describe", "rel", "orders", "-n", owner.namespace)
    events = told.partition("Events:")[2]
    assert "4 objects applied" in events and "\x1b" not in events
    assert any(line.split()[:2] == ["Warning", "RolledBack"] for line in events.splitlines())
    assert "towline" in events


def test_another_tool_is_kept_out_of_the_apply_set_until_it_is_handed_over(
    records: Records, owner: Owner, cluster: Cluster, control_plane: ControlPlane, program: ProgramPath
):
    # given two members of the set
    claim(records, owner, kinds=("ConfigMap",))
    for name in ("kept", "dropped"):
        cluster.apply(member(owner, name))
    manifest = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"mode":"kubectl"}}'

    # when kubectl applies one of them as the set
    refused = apply_as_set(program("kubectl"), control_plane, owner, manifest)
    assert refused.returncode != 0
    assert "tooling" in refused.stderr

    # then it is refused until the set is handed over, and takes exactly this set afterwards
    control_plane.kubectl(
        "annotate", "rel", "orders", "-n", owner.namespace, "--overwrite", f"{TOOLING}=kubectl/v1.36.3"
    )
    taken = apply_as_set(program("kubectl"), control_plane, owner, manifest)
    assert "configmap/dropped pruned" in taken.stdout, taken.stderr
    assert {
        metadata_of(one)["name"] for one in cluster.list(cluster.resource("v1", "ConfigMap"), owner.namespace)
    } == {
        "kept",
        "kube-root-ca.crt",
    }


def apply_as_set(
    kubectl: Path, control_plane: ControlPlane, owner: Owner, manifest: str
) -> subprocess.CompletedProcess[str]:
    """`kubectl apply --prune --applyset`, which is behind a switch in the environment."""
    command = [kubectl, f"--kubeconfig={control_plane.kubeconfig}", f"-n={owner.namespace}", "apply"]
    flags = [
        "--server-side",
        "--force-conflicts",
        "--prune",
        "--applyset=releases.towline.dev/orders",
        "-f",
        "-",
    ]
    return subprocess.run(
        [*command, *flags],
        check=False,
        env={"PATH": os.defpath, "HOME": str(control_plane.folder), "KUBECTL_APPLYSET": "true"},
        input=manifest,
        capture_output=True,
        text=True,
        timeout=60,
    )
