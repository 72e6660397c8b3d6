"""The RQ dashboard: open to signed-in operators only, and no way in for whoever writes to Redis."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from parts.answering import deliver
from parts.redis import RedisServer

from towline.receiver.access import CSRF_COOKIE, CSRF_PATH
from towline.receiver.context import Context
from towline.shared.jobs import QueueName

SignedIn = Callable[..., FlaskClient]
MARKUP = "<img src=x onerror=alert(1)>"
REGISTRIES = ["queued", "failed", "started", "finished", "deferred", "scheduled", "canceled"]


def csrf(web: FlaskClient) -> dict[str, str]:
    cookie = web.get_cookie(CSRF_COOKIE, path=CSRF_PATH)
    assert cookie is not None
    return {"X-CSRFToken": cookie.value}


def only_job(context: Context) -> str:
    deliver(context, "d-1")
    (job,) = context.ledger.get("d-1", repositories=["shop"]).jobs
    return job


def test_jobs_are_readable_and_their_pages_open(signed_in: SignedIn, context: Context) -> None:
    job = only_job(context)
    web = signed_in("read")

    listed = web.get("/rq/0/data/jobs/pushes/queued/8/asc/1.json").get_json()["jobs"]
    page = web.get(f"/rq/0/view/job/{job}")
    data = web.get(f"/rq/0/data/job/{job}.json").get_json()

    assert [(each["id"], each["description"]) for each in listed] == [
        (job, "push shop refs/heads/main (webhook)")
    ]
    assert page.status_code == 200
    assert job in page.text
    assert (data["status"], data["origin"]) == ("queued", "pushes")


def test_every_list_opens(signed_in: SignedIn, context: Context) -> None:
    only_job(context)
    web = signed_in("read")

    for registry in REGISTRIES:
        for order in ("asc", "dsc"):
            assert web.get(f"/rq/0/view/jobs/pushes/{registry}/8/{order}/1").status_code == 200
            assert web.get(f"/rq/0/data/jobs/pushes/{registry}/8/{order}/1.json").status_code == 200
    assert web.get("/rq/0/view/jobs").status_code == 200
    assert web.get("/rq/0/data/workers.json").get_json() == {"workers": []}


def test_a_token_for_some_environments_does_not_open_it(signed_in: SignedIn) -> None:
    assert signed_in("admin", environments=["staging"]).get("/rq/").status_code == 403


def test_no_address_of_redis_is_shown(signed_in: SignedIn, context: Context) -> None:
    assert context.broker.url not in signed_in("admin").get("/rq/").text


@pytest.mark.parametrize(
    "path",
    [
        "1/view/queues",
        "7/data/queues.json",
        "0/view/job/a$b",
        "0/view/job/" + "x" * 300,
        "0/view/job/nothing",
        "0/data/job/nothing.json",
        "0/view/jobs/no-queue/queued/8/asc/1",
        "0/view/jobs/pushes/no-registry/8/asc/1",
        "0/view/jobs/pushes/queued/201/asc/1",
        "0/view/jobs/pushes/queued/8/up/1",
        "0/data/jobs/pushes/queued/x/asc/1.json",
        "0/data/jobs/pushes/queued/8/asc/-1.json",
        "0/view/jobs/%27);alert(1);(%27/queued/8/asc/1",
    ],
)
def test_what_is_not_there_is_404(signed_in: SignedIn, path: str) -> None:
    answer = signed_in("admin").get(f"/rq/{path}")

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path", ["requeue/pushes", "job/{job}/delete", "job/{job}/requeue", "queue/pushes/queued/empty"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_jobs_are_neither_deleted_nor_requeued(
    signed_in: SignedIn, context: Context, path: str, method: str
) -> None:
    job = only_job(context)
    web = signed_in("admin")

    answer = web.open(f"/rq/{path.format(job=job)}", method=method, headers=csrf(web))

    assert answer.status_code in (403, 405)
    assert context.queue.rq(QueueName.PUSHES).fetch_job(job) is not None
    assert context.queue.depths()["pushes"] == 1


def test_compacting_needs_admin_the_csrf_token_and_our_own_page(
    signed_in: SignedIn, context: Context
) -> None:
    only_job(context)
    web = signed_in("admin")
    right = csrf(web)

    assert web.post("/rq/queue/pushes/compact").status_code == 403
    assert web.post("/rq/queue/pushes/compact", headers={"X-CSRFToken": "wrong"}).status_code == 403
    evil = {**right, "Origin": "http://evil.example"}
    assert web.post("/rq/queue/pushes/compact", headers=evil).status_code == 403
    assert web.post("/rq/queue/pushes/compact", headers=right).get_json() == {"status": "OK"}
    assert context.queue.depths()["pushes"] == 1
    assert web.post("/rq/queue/syncs/compact", headers=right).status_code == 409


def test_compacting_is_not_for_readers(signed_in: SignedIn) -> None:
    web = signed_in("sync")

    assert web.post("/rq/queue/pushes/compact", headers=csrf(web)).status_code == 403


def test_without_redis_it_is_503(signed_in: SignedIn, redis_server: RedisServer) -> None:
    web = signed_in("admin")
    redis_server.stop()

    for path in ("/rq/", "/rq/0/data/queues.json", "/", "/metrics", "/sign-in"):
        assert web.get(path).status_code == (200 if path == "/sign-in" else 503)


class Bomb:
    """Runs code in whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return open, (str(self.path), "w")


def test_a_pickle_in_redis_is_never_loaded(signed_in: SignedIn, context: Context, tmp_path: Path) -> None:
    job, mark = only_job(context), tmp_path / "executed"
    bomb = pickle.dumps(Bomb(mark))
    context.broker.redis.hset(f"rq:job:{job}", mapping={"data": bomb, "meta": bomb, "result": bomb})
    context.broker.redis.zadd("rq:failed:pushes", {job: 9e9})
    web = signed_in("admin")

    for path in (
        f"view/job/{job}",
        f"data/job/{job}.json",
        "data/jobs/pushes/queued/8/asc/1.json",
        "data/jobs/pushes/failed/8/asc/1.json",
        "data/workers.json",
    ):
        web.application.config["PROPAGATE_EXCEPTIONS"] = False
        web.get(f"/rq/0/{path}")

    assert not mark.exists()
    pickle.loads(bomb).close()  # noqa: S301 - our own
    assert mark.exists(), "the bomb itself works"


def test_markup_in_a_job_does_not_reach_the_page_as_such(signed_in: SignedIn, context: Context) -> None:
    job = only_job(context)
    context.broker.redis.hset(f"rq:job:{job}", "description", MARKUP)
    context.broker.redis.hset(f"rq:job:{job}", "meta", json.dumps({"note": MARKUP}))
    web = signed_in("admin")

    one = web.get(f"/rq/0/data/job/{job}.json").text
    listed = web.get("/rq/0/data/jobs/pushes/queued/8/asc/1.json").get_json()["jobs"]

    assert "<img" not in one
    assert "&lt;img" in one
    assert listed[0]["description"] == MARKUP  # its own template escapes this one


def test_scripts_run_by_nonce_only(signed_in: SignedIn) -> None:
    answer = signed_in("admin").get("/rq/")

    nonce = re.search(r"script-src 'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
    assert nonce is not None
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"].split("style-src")[0]
    assert len(re.findall(r"<script", answer.text)) == len(
        re.findall(rf'<script nonce="{nonce[1]}"', answer.text)
    )
    assert answer.headers["X-Frame-Options"] == "DENY"
