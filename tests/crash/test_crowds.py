"""Many at once: workers, receivers, repositories, pushes. Each release gets to the newest push, one sync at a time."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from parts.deliveries import digest
from parts.eventually import eventually
from parts.manifests import config_map
from parts.towline import Towline

from towline.shared.ledger import Verdict
from towline.shared.queue import OUTBOX

PUSHES = 500
SERVICES = [f"s{number}" for number in range(10)]


def live(towline, name):
    environment = towline.tools.config.environment("staging")
    cluster = towline.tools.cluster(environment)
    return cluster.get(cluster.resource("v1", "ConfigMap"), name, environment.namespace)


def commit(towline, service, number):
    return towline.origin.commit({f"services/{service}/app.yaml": config_map(service, number=str(number))})


def wait_until_nothing_is_to_be_done(towline, within=60):
    redis = towline.tools.broker.redis
    eventually(lambda: redis.hlen(OUTBOX) == 0, within=within, explain=lambda: redis.hkeys(OUTBOX))


def number_of_syncs(towline):
    text = towline.get("/metrics")[1]["text"]
    return sum(float(value) for value in re.findall(r"^towline_syncs_total\{.*\} (\S+)$", text, re.MULTILINE))


def test_two_hosts_with_a_receiver_and_workers_each_do_the_work_of_one(install):
    hosts = [install(), install(host="host-2")]
    for host in hosts:
        host.start("receiver")
        host.start("worker")
    hosts[0].start("clock")

    codes, newest = [], {}
    for number in range(8):
        for service in SERVICES:
            newest[service] = commit(hosts[0], service, number)
        codes += [host.webhook(newest[SERVICES[-1]])[0] for host in hosts]

    assert codes == [202] * 16
    wait_until_nothing_is_to_be_done(hosts[0])
    for service in SERVICES:
        assert live(hosts[0], service)["data"] == {"number": "7"}


def test_500_pushes_to_one_branch_end_at_the_newest_with_far_fewer_syncs(towline):
    towline.start("up")

    with ThreadPoolExecutor(8) as pool:
        answers = []
        for number in range(PUSHES):
            revision = commit(towline, "orders", number)
            answers.append(pool.submit(towline.webhook, revision))
        codes = {answer.result()[0] for answer in answers}

    assert codes == {202}
    towline.eventually_at("orders", revision, within=30)
    wait_until_nothing_is_to_be_done(towline)
    assert live(towline, "orders")["data"] == {"number": str(PUSHES - 1)}
    deliveries = towline.tools.ledger.recent(2 * PUSHES)
    assert {delivery.verdict for delivery in deliveries} == {Verdict.SUCCEEDED}
    eventually(lambda: 0 < number_of_syncs(towline) < PUSHES / 4, within=5)


@pytest.fixture
def on_two_forges(towline, git_server):
    """The repository is mirrored: it is `shop` at a GitHub and `mirror` at a Gitea, and both deploy it."""
    (git_server.folder / "mirror.git").symlink_to("shop.git")
    document = yaml.safe_load(towline.config_path.read_text())
    (shop,) = document["repositories"]
    webhook = {**shop["webhook"], "forge": "gitea"}
    document["repositories"].append(
        {**shop, "name": "mirror", "url": f"{git_server.url}/mirror.git", "webhook": webhook}
    )
    towline.config_path.write_text(yaml.safe_dump(document))
    return towline


def webhook_of_gitea(towline, revision):
    url = towline.origin.url.replace("shop", "mirror")
    repository = {"clone_url": url, "html_url": url}
    said = {"ref": "refs/heads/main", "before": "0" * 40, "after": revision, "repository": repository}
    body = json.dumps(said).encode()
    secret = towline.config.repositories[0].webhook.secrets[0].value()
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Delivery": revision,
        "X-Gitea-Signature": digest(body, secret),
    }
    return towline.get("/webhooks/mirror", body=body, headers=headers)


def test_the_same_push_from_two_forges_at_once_is_applied_once_and_the_other_is_told_so(on_two_forges):
    towline = on_two_forges
    towline.start("up")
    revision = commit(towline, "orders", 1)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(towline.webhook, revision), pool.submit(webhook_of_gitea, towline, revision)]
        codes = [call.result()[0] for call in calls]

    assert codes == [202, 202]
    release = towline.eventually_at("orders", revision)
    wait_until_nothing_is_to_be_done(towline)
    owner = release.status.repository
    loser, webhook = {"shop": ("mirror", webhook_of_gitea), "mirror": ("shop", Towline.webhook)}[owner]
    touched = towline.tools.views.revision(loser, revision)["staging/orders"]
    assert touched.state in ("failed", "superseded")  # as the other one was there already, or just came
    assert touched.text

    newer = commit(towline, "orders", 2)
    assert webhook(towline, newer)[0] == 202

    wait_until_nothing_is_to_be_done(towline)
    told = towline.tools.views.revision(loser, newer)["staging/orders"]
    assert (told.state, f"belongs to repository {owner}" in told.text) == ("failed", True)
    assert towline.release("orders").status.repository == owner
