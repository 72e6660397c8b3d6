"""A push as its users see it: by webhook, command line, API and kubectl, against processes started by the command line."""

import json
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from parts.eventually import eventually
from parts.manifests import config_map, deployment, several
from parts.processes import started_at
from parts.towline import Towline

from towline.shared.model import Phase

ORDERS = "services/orders/app.yaml"
CART = "services/cart/app.yaml"


def token_of(towline, *scopes):
    words = [word for scope in scopes for word in ("--scope", scope)]
    made = towline.run("token", "create", *words)
    assert made.returncode == 0, made.stderr
    return next(word for word in made.stdout.split() if word.startswith("tow_"))


def api(towline, token, path, *, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return towline.get(
        f"/api/v1/{path}", body=json.dumps(body).encode() if body is not None else None, headers=headers
    )


def test_a_signed_push_is_applied_recorded_and_shown_everywhere(towline, control_plane):
    towline.start("up")
    revision = towline.origin.commit(
        {ORDERS: several(config_map("orders"), deployment("orders", replicas=1))}
    )

    code, body = towline.webhook(revision)

    assert code == 202
    assert body["pushes"] == [{"ref": "refs/heads/main", "before": None, "after": revision}]
    release = towline.eventually_at("orders", revision)
    eventually(lambda: towline.release("orders").status.phase is Phase.HEALTHY, within=20)
    shown = control_plane.kubectl("get", "releases", "-n", release.namespace)
    assert shown.split()[:7] == ["NAME", "ENVIRONMENT", "REVISION", "STABLE", "PHASE", "HEALTH", "AGE"]
    assert f"orders staging {revision[:10]} {revision[:10]} Healthy healthy" in " ".join(shown.split())
    status = towline.run("status", "staging/orders", "--output", "json")
    assert json.loads(status.stdout)["stableRevision"] == revision
    token = token_of(towline, "read")
    code, live = api(towline, token, f"repositories/shop/revisions/{revision}")
    assert (code, [one["service"] for one in live["releases"]]) == (200, ["orders"])
    delivery = json.loads(towline.run("deliveries", "--output", "json").stdout)["deliveries"][0]
    assert (delivery["id"], delivery["verdict"]) == (body["delivery"], "succeeded")


def test_the_same_delivery_twice_is_one_job(towline):
    towline.start("up")
    revision = towline.origin.commit({ORDERS: config_map("orders")})

    first = towline.webhook(revision, delivery="one")
    second = towline.webhook(revision, delivery="one")

    assert (first[0], second[0]) == (202, 200)
    assert second[1]["reason"] == "duplicate"


def test_two_receivers_and_two_workers_share_the_work(towline, tmp_path, control_plane, kustomize):
    other = Towline(
        _folder(tmp_path / "other"),
        json.loads(json.dumps(_document(towline))),
        origin=towline.origin,
        kustomize=kustomize,
    )
    try:
        for each in (towline, other):
            each.start("receiver")
            each.start("worker")
        files = {f"services/s{number}/app.yaml": config_map(f"s{number}") for number in range(12)}
        revision = towline.origin.commit(files)

        with ThreadPoolExecutor(8) as pool:
            each = [towline, other] * 4
            codes = list(pool.map(lambda one: one.webhook(revision, delivery="same")[0], each))

        assert sorted(codes) == [200] * 7 + [202]
        for number in range(12):
            status = towline.eventually_at(f"s{number}", revision, within=20).status
            assert [entry.result for entry in status.history] == ["synced"]
    finally:
        other.stop()


def test_an_operator_syncs_one_release_by_command_line_and_repairs_what_was_changed_by_hand(
    towline, control_plane
):
    towline.start("up")
    revision = towline.origin.commit({ORDERS: config_map("orders", a="1")})
    towline.webhook(revision)
    namespace = towline.eventually_at("orders", revision).namespace
    control_plane.kubectl(
        "-n", namespace, "patch", "configmap", "orders", "--type=merge", "-p", '{"data":{"a":"9"}}'
    )

    synced = towline.run("sync", "staging/orders")

    def value():
        return control_plane.kubectl(
            "-n", namespace, "get", "configmap", "orders", "-o", "jsonpath={.data.a}"
        )

    assert synced.returncode == 0, synced.stderr
    eventually(lambda: value() == "1", within=10)


def test_up_ends_every_process_it_started(towline):
    up = towline.start("up")
    pids = {up.pid, *_descendants(up.pid)}
    assert len(pids) >= 6

    up.send(signal.SIGTERM)

    eventually(lambda: not [pid for pid in pids if started_at(pid)], within=15)


def test_nothing_of_up_survives_its_being_killed(towline):
    up = towline.start("up")
    pids = _descendants(up.pid)

    up.kill()

    eventually(lambda: not [pid for pid in pids if started_at(pid)], within=15)


def test_a_receiver_receives_while_cluster_and_git_server_are_away(towline, git_server, control_plane):
    git_server.stop()
    control_plane.apiserver.pause()
    try:
        towline.start("receiver")
        code, _ = towline.webhook("a" * 40)
    finally:
        control_plane.apiserver.resume()
        git_server.start()

    assert code == 202


def test_the_metrics_tell_of_a_push(towline):
    towline.start("up")
    revision = towline.origin.commit({ORDERS: config_map("orders")})
    towline.webhook(revision)
    towline.eventually_at("orders", revision)

    def metrics():
        with urllib.request.urlopen(f"{towline.url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert 'towline_deliveries_total{forge="github",verdict="accepted"} 1.0' in text
        assert 'towline_syncs_total{environment="staging",result="synced",service="orders"} 1.0' in text
        assert 'towline_push_to_applied_seconds_count{environment="staging"} 1.0' in text
        assert f'revision="{revision[:10]}"' in text
        return True

    eventually(metrics, within=5)


def test_a_clone_without_redis_configured_runs_its_own(towline):
    document = _document(towline)
    del document["redis"]
    towline.config_path.write_text(json.dumps(document))
    up = towline.start_embedded()
    revision = towline.origin.commit({CART: config_map("cart")})

    code, _ = towline.webhook(revision)

    assert code == 202
    towline.eventually_at("cart", revision)
    second = towline.run("up")
    assert second.returncode == 2
    assert "another `towline up`" in second.stderr
    up.stop()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _document(towline):
    return yaml.safe_load(towline.config_path.read_text())


def _descendants(pid):
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found |= {int(entry.name), *_descendants(int(entry.name))}
    return found
