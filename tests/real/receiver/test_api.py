"""Each call of the API, on a real Redis: what it answers, and what it refuses to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from parts.answering import REVISION, TokenFor, deliver, show

from towline.receiver.api import OPERATIONS
from towline.receiver.context import Context
from towline.shared.ledger import NewDelivery, Verdict
from towline.shared.model import ReleaseName

CALLS = {
    "listReleases": ("GET", "/api/v1/releases"),
    "showRelease": ("GET", "/api/v1/releases/staging/orders"),
    "syncRelease": ("POST", "/api/v1/releases/staging/orders/sync"),
    "rollbackRelease": ("POST", "/api/v1/releases/staging/orders/rollback"),
    "pinRelease": ("POST", "/api/v1/releases/staging/orders/pin"),
    "unpinRelease": ("POST", "/api/v1/releases/staging/orders/unpin"),
    "suspendRelease": ("POST", "/api/v1/releases/staging/orders/suspend"),
    "resumeRelease": ("POST", "/api/v1/releases/staging/orders/resume"),
    "showRevision": ("GET", f"/api/v1/repositories/shop/revisions/{REVISION}"),
    "push": ("POST", "/api/v1/repositories/shop/push"),
    "listDeliveries": ("GET", "/api/v1/deliveries"),
    "showDelivery": ("GET", "/api/v1/deliveries/d-1"),
    "redeliver": ("POST", "/api/v1/deliveries/d-1/redeliver"),
}
BODIES = {"push": {"ref": "main"}, "rollbackRelease": {"revision": "2" * 40}}
WRITES = {
    **dict.fromkeys(["syncRelease", "suspendRelease", "resumeRelease", "push", "redeliver"], "sync"),
    **dict.fromkeys(["rollbackRelease", "pinRelease", "unpinRelease"], "rollback"),
}
OF_STAGING = ["showRelease", *(name for name in WRITES if name != "push"), "showDelivery"]

Call = Callable[..., "tuple[int, dict]"]


@pytest.fixture
def call(web: FlaskClient) -> Call:
    def answer(name: str, headers: dict[str, str] | None = None) -> tuple[int, dict]:
        method, path = CALLS[name]
        response = web.open(path, method=method, headers=headers, json=BODIES.get(name))
        return response.status_code, response.get_json()

    return answer


@pytest.fixture(autouse=True)
def shop(context: Context) -> None:
    """One release and one delivery, both of staging."""
    show(context, "staging/orders")
    deliver(context, "d-1")
    context.views.touch("shop", REVISION, ["staging/orders"], "synced")


def waiting(context: Context) -> int:
    return sum(context.queue.depths().values())


def test_every_operation_is_called_here() -> None:
    assert set(CALLS) == {operation.name for operation in OPERATIONS}


@pytest.mark.parametrize("name", CALLS)
def test_with_a_token_of_its_scope_it_answers(name: str, call: Call, token: TokenFor) -> None:
    status, _ = call(name, token(WRITES.get(name, "read")))

    assert status == (202 if name in WRITES else 200)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer tow_nonsense"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer " + "x" * 7000},
    ],
    ids=["none", "empty", "no token", "nonsense", "basic", "long"],
)
@pytest.mark.parametrize("name", CALLS)
def test_without_a_valid_token_it_is_401(
    name: str, headers: dict[str, str], call: Call, context: Context
) -> None:
    before = waiting(context)

    status, problem = call(name, headers)

    assert status == 401
    assert problem["type"] == "/problems/access-error"
    assert problem["detail"] == "the token is missing, wrong, expired or revoked"
    assert waiting(context) == before


@pytest.mark.parametrize("name", WRITES)
def test_with_too_small_a_scope_it_is_403(name: str, call: Call, token: TokenFor, context: Context) -> None:
    before = waiting(context)

    for scope in {"read", "sync", "rollback"} - {WRITES[name]}:
        status, problem = call(name, token(scope))

        assert status == 403
        assert problem["type"] == "/problems/not-allowed"
    assert waiting(context) == before


@pytest.mark.parametrize("name", OF_STAGING)
def test_what_lies_in_another_environment_is_as_if_absent(
    name: str, call: Call, token: TokenFor, context: Context, web: FlaskClient
) -> None:
    before = waiting(context)

    status, elsewhere = call(name, token("admin", environments=["production"]))
    context.views.remove(ReleaseName.parse("staging/orders"))
    context.broker.redis.delete("towline:delivery:shop:d-1")
    _, absent = call(name, token("admin"))

    assert status == 404
    assert elsewhere == absent
    assert waiting(context) == before


def test_lists_leave_out_what_lies_in_other_environments(
    call: Call, token: TokenFor, context: Context
) -> None:
    show(context, "production/orders", revision="2" * 40)
    deliver(context, "d-2", branch="release")
    context.views.touch("shop", REVISION, ["production/orders"], "failed", text="quota")
    header = token("read", environments=["production"])

    assert [each["environment"] for each in call("listReleases", header)[1]["releases"]] == ["production"]
    assert [each["id"] for each in call("listDeliveries", header)[1]["deliveries"]] == ["d-2"]
    revision = call("showRevision", header)[1]
    assert [each["environment"] for each in revision["releases"]] == ["production"]
    assert revision["applied"] is False


@pytest.mark.parametrize(("state", "applied"), [("removed", True), ("wanted", False), ("superseded", False)])
def test_a_revision_that_takes_releases_away_is_applied_when_they_are_gone(
    call: Call, token: TokenFor, context: Context, state: str, applied: bool
) -> None:
    context.views.touch("shop", REVISION, ["staging/mailer"], state)

    revision = call("showRevision", token("read"))[1]

    assert revision["applied"] is applied
    assert [each["applied"] for each in revision["releases"]] == [applied, True]


def test_a_revision_that_changes_no_release_is_applied_once_it_was_read(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    path = f"/api/v1/repositories/shop/revisions/{'e' * 40}"

    before = web.get(path, headers=token("read")).json
    context.views.touch_nothing("shop", "e" * 40)
    after = web.get(path, headers=token("read")).json

    assert (before["applied"], after["applied"]) == (False, True)
    assert after["releases"] == []


def test_a_narrowed_token_does_not_see_refused_deliveries(
    call: Call, token: TokenFor, context: Context
) -> None:
    refused = NewDelivery(id="d-3", repository="shop", forge="github", event="push", received_at=1.0)
    context.ledger.note(refused, Verdict.REFUSED, "signature does not match")

    assert len(call("listDeliveries", token("read"))[1]["deliveries"]) == 2
    assert len(call("listDeliveries", token("read", environments=["staging"]))[1]["deliveries"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "place"),
    [
        ("GET", "/api/v1/releases?enviroment=staging", None, "enviroment"),
        ("GET", "/api/v1/releases?environment=staging&environment=production", None, "environment"),
        ("GET", "/api/v1/deliveries?limit=0", None, "limit"),
        ("GET", "/api/v1/deliveries?limit=501", None, "limit"),
        ("GET", "/api/v1/deliveries?limit=many", None, "limit"),
        ("GET", "/api/v1/deliveries?verdict=lost", None, "verdict"),
        ("GET", "/api/v1/deliveries?before=yesterday", None, "before"),
        ("GET", "/api/v1/deliveries?before=inf", None, "before"),
        ("GET", "/api/v1/repositories/shop/revisions/HEAD", None, "revision"),
        ("GET", f"/api/v1/repositories/shop/revisions/{'1' * 39}", None, "revision"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"revision": "HEAD"}', "revision"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"revision": "%s\\n"}' % (b"1" * 40), "revision"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"revision": 1}', "revision"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"allowPrune": "yes"}', "allowPrune"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"allow_prune": true}', "allow_prune"),
        ("POST", "/api/v1/releases/staging/orders/sync", b'{"force": true}', "force"),
        ("POST", "/api/v1/releases/staging/orders/sync", b"[]", ""),
        ("POST", "/api/v1/releases/staging/orders/sync", b"{", ""),
        ("POST", "/api/v1/releases/staging/orders/sync", b"[" * 10_000, ""),
        ("POST", "/api/v1/releases/staging/orders/sync", b"\xff", ""),
        ("POST", "/api/v1/repositories/shop/push", b"{}", "ref"),
        ("POST", "/api/v1/repositories/shop/push", b'{"ref": ""}', "ref"),
        ("POST", "/api/v1/repositories/shop/push", b'{"ref": "unmapped"}', "ref"),
        ("POST", "/api/v1/repositories/shop/push", b'{"ref": "refs/tags/v1"}', "ref"),
        ("POST", "/api/v1/repositories/shop/push", b'{"ref": "refs/heads/../../main"}', "ref"),
        ("POST", "/api/v1/repositories/shop/push", b'{"ref": "main\\n"}', "ref"),
    ],
)
def test_wrong_input_is_422_and_enqueues_nothing(
    web: FlaskClient,
    token: TokenFor,
    context: Context,
    method: str,
    path: str,
    body: bytes | None,
    place: str,
) -> None:
    before = waiting(context)

    answer = web.open(path, method=method, headers=token("admin"), data=body)

    assert answer.status_code == 422, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["type"] == "/problems/invalid-input"
    assert place in [problem.get("path", "") for problem in answer.get_json()["problems"]]
    assert waiting(context) == before


def test_a_revision_in_capitals_is_the_same_one(web: FlaskClient, token: TokenFor, context: Context) -> None:
    revision = "ab" * 20
    context.views.touch("shop", revision, ["staging/orders"], "synced")
    shouted = revision.upper()

    shown = web.get(f"/api/v1/repositories/shop/revisions/{shouted}", headers=token("read"))
    sync = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync"), json={"revision": shouted})

    assert (shown.get_json()["revision"], shown.get_json()["applied"]) == (revision, True)
    assert sync.get_json()["job"].startswith(f"sync_staging_orders_{revision[:10]}_")


def test_a_body_that_is_no_json_is_a_problem_without_a_place(web: FlaskClient, token: TokenFor) -> None:
    answer = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync"), data=b"{")

    assert [set(problem) for problem in answer.get_json()["problems"]] == [{"message"}]


def test_a_401_says_what_is_asked_for(web: FlaskClient) -> None:
    answer = web.get("/api/v1/releases")

    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.mimetype == "application/problem+json"


def test_a_body_above_the_limit_is_413(web: FlaskClient, token: TokenFor) -> None:
    body = json.dumps({"revision": "1" * 20_000})

    answer = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync"), data=body)

    assert answer.status_code == 413


def test_a_push_to_an_environment_outside_the_token_is_refused_like_an_unmapped_branch(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    before = waiting(context)
    header = token("sync", environments=["staging"])

    mapped = web.post("/api/v1/repositories/shop/push", headers=header, json={"ref": "release"})
    unmapped = web.post("/api/v1/repositories/shop/push", headers=header, json={"ref": "nothing"})

    assert mapped.status_code == unmapped.status_code == 422
    assert mapped.text.replace("release", "nothing") == unmapped.text
    assert waiting(context) == before


@pytest.mark.parametrize("path", ["/api/v1/releases/staging/nothing", "/api/v1/releases/Staging/orders"])
def test_a_release_that_is_not_there_is_404(web: FlaskClient, token: TokenFor, path: str) -> None:
    assert web.get(path, headers=token("read")).status_code == 404


def test_an_unknown_repository_is_404(web: FlaskClient, token: TokenFor) -> None:
    assert web.get(f"/api/v1/repositories/no/revisions/{REVISION}", headers=token("read")).status_code == 404
    push = web.post("/api/v1/repositories/no/push", headers=token("sync"), json={"ref": "main"})
    assert push.status_code == 404


def test_one_release_shows_its_history_and_the_list_does_not(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    entry = {"revision": REVISION, "author": "Ada", "result": "synced", "stages": {"apply": 0.02}}
    show(context, "staging/orders", stableRevision="2" * 40, history=[entry], message="2 objects changed")

    listed = web.get("/api/v1/releases", headers=token("read")).get_json()["releases"][0]
    one = web.get("/api/v1/releases/staging/orders", headers=token("read")).get_json()

    assert listed.items() <= one.items()
    assert "history" not in listed
    assert one["stableRevision"] == "2" * 40
    assert one["history"][0]["author"] == "Ada"
    assert one["history"][0]["stages"] == {"apply": 0.02}


def test_a_status_that_cannot_be_read_hides_only_itself(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    show(context, "staging/payments", history="nonsense", revision=["no"], quarantined=7)

    releases = web.get("/api/v1/releases", headers=token("read")).get_json()["releases"]

    assert [each["service"] for each in releases] == ["orders", "payments"]
    assert "not of the form" in releases[1]["error"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("?environment=staging", 2),
        ("?service=orders", 2),
        ("?phase=failed", 1),
        ("?environment=staging&phase=Failed", 0),
    ],
)
def test_releases_are_filtered(
    web: FlaskClient, token: TokenFor, context: Context, query: str, found: int
) -> None:
    show(context, "staging/payments")
    show(context, "production/orders", phase="Failed")

    answer = web.get("/api/v1/releases" + query, headers=token("read")).get_json()

    assert len(answer["releases"]) == found


def test_a_release_that_is_being_synced_says_so(web: FlaskClient, token: TokenFor, context: Context) -> None:
    context.views.started(ReleaseName.parse("staging/orders"))

    answer = web.get("/api/v1/releases?phase=syncing", headers=token("read")).get_json()

    assert [each["phase"] for each in answer["releases"]] == ["Syncing"]


def test_sync_to_a_revision_wants_exactly_that_on_the_urgent_queue(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    body = {"revision": "a" * 40, "allowPrune": True}

    job = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync"), json=body).get_json()["job"]

    wanted = context.queue.wishes.get("staging/orders")
    assert wanted is not None
    assert (wanted.revision, wanted.ref, wanted.allow_prune) == ("a" * 40, "refs/heads/main", True)
    assert wanted.operator == "tester"
    assert job.startswith(f"sync_staging_orders_{'a' * 10}_")
    assert context.queue.parked(job) is not None


def test_sync_without_a_body_takes_the_tip_of_the_branch(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    job = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync")).get_json()["job"]

    parked = context.queue.parked(job)
    assert parked is not None
    assert parked.queue == "urgent"
    assert parked.arguments["release"] == "staging/orders"
    assert parked.arguments["ref"] == "refs/heads/main"


def test_a_suspended_release_is_not_synced(web: FlaskClient, token: TokenFor, context: Context) -> None:
    context.views.put(show(context, "staging/orders").model_copy(update={"suspended": True}))
    before = waiting(context)

    answer = web.post("/api/v1/releases/staging/orders/sync", headers=token("sync"))

    assert answer.status_code == 409
    assert "suspended" in answer.get_json()["detail"]
    assert waiting(context) == before


def test_push_takes_a_branch_or_a_whole_ref(web: FlaskClient, token: TokenFor, context: Context) -> None:
    for ref in ("main", "refs/heads/main"):
        answer = web.post("/api/v1/repositories/shop/push", headers=token("sync"), json={"ref": ref})

        assert answer.status_code == 202
        assert answer.get_json()["pushes"] == [{"ref": "refs/heads/main", "before": None, "after": None}]
        delivery = context.ledger.get(answer.get_json()["delivery"], repositories=["shop"])
        assert list(delivery.jobs) == answer.get_json()["jobs"]
        assert delivery.trigger == "operator"


def test_redelivery_enqueues_the_same_refs_again(web: FlaskClient, token: TokenFor, context: Context) -> None:
    before = waiting(context)

    answer = web.post("/api/v1/deliveries/d-1/redeliver", headers=token("sync")).get_json()

    assert [push["ref"] for push in answer["pushes"]] == ["refs/heads/main"]
    assert answer["delivery"] != "d-1"
    assert waiting(context) == before + 1


def test_a_delivery_without_a_push_cannot_be_sent_again(
    web: FlaskClient, token: TokenFor, context: Context
) -> None:
    ping = NewDelivery(id="d-4", repository="shop", forge="github", event="ping", received_at=1.0)
    context.ledger.note(ping, Verdict.IGNORED, "ping")

    assert web.post("/api/v1/deliveries/d-4/redeliver", headers=token("sync")).status_code == 409


@pytest.mark.parametrize("environments", [None, ["staging"]], ids=["all", "narrowed"])
def test_all_deliveries_are_read_page_by_page(
    web: FlaskClient, token: TokenFor, context: Context, environments: list[str] | None
) -> None:
    for number in range(2, 6):
        deliver(context, f"d-{number}")
    seen, query = [], "limit=2"

    while query:
        found = web.get(f"/api/v1/deliveries?{query}", headers=token("read", environments=environments)).json
        seen += [each["id"] for each in found["deliveries"]]
        query = f"limit=2&before={found['next']}" if found["next"] else ""

    assert seen == ["d-5", "d-4", "d-3", "d-2", "d-1"]


def test_a_delivery_tells_what_came_of_its_jobs(web: FlaskClient, token: TokenFor, context: Context) -> None:
    (job,) = context.ledger.get("d-1", repositories=["shop"]).jobs
    context.ledger.ended("shop", "d-1", job, ok=False, text="services/orders: no such file")

    one = web.get("/api/v1/deliveries/d-1", headers=token("read")).get_json()
    failed = web.get("/api/v1/deliveries?verdict=failed", headers=token("read")).get_json()
    accepted = web.get("/api/v1/deliveries?verdict=accepted", headers=token("read")).get_json()

    assert one["verdict"] == "failed"
    assert one["results"][0]["text"] == "services/orders: no such file"
    assert [each["id"] for each in failed["deliveries"]] == ["d-1"]
    assert accepted["deliveries"] == []


def test_the_description_needs_no_token(web: FlaskClient) -> None:
    answer = web.get("/api/v1/openapi.json")

    assert answer.status_code == 200
    assert answer.get_json()["openapi"] == "3.1.0"


PEOPLES = {"page", "access", "problem_types", "rq_dashboard"}  # the parts that answer people, by pages


def test_every_route_for_programs_is_described(web: FlaskClient) -> None:
    described = web.get("/api/v1/openapi.json").get_json()["paths"]
    routes = {
        re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        for rule in web.application.url_map.iter_rules()
        if "." in rule.endpoint and rule.endpoint.partition(".")[0] not in PEOPLES
    }

    assert {path.replace("{repository}", "{name}") for path in described} == routes


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_is_what_the_description_says(
    name: str, web: FlaskClient, call: Call, token: TokenFor
) -> None:
    document = web.get("/api/v1/openapi.json").get_json()
    described = next(
        operation
        for methods in document["paths"].values()
        for operation in methods.values()
        if operation["operationId"] == name
    )

    status, answer = call(name, token("admin"))
    content = described["responses"][str(status)]["content"]["application/json"]

    Draft202012Validator({**content["schema"], "components": document["components"]}).validate(answer)


@pytest.mark.parametrize("path", ["/api/v1/releases", "/webhooks/shop", "/rq/", "/healthz", "/sign-in"])
def test_a_slash_more_or_less_leads_to_the_same_and_never_elsewhere(
    web: FlaskClient, token: TokenFor, path: str
) -> None:
    other = path.removesuffix("/") if path.endswith("/") else path + "/"

    plain, slashed = (web.get(each, headers=token("read")) for each in (path, other))

    assert plain.status_code == slashed.status_code != 404
    assert not slashed.headers.get("Location", "/").startswith("http")


def test_a_doubled_slash_is_no_path_of_ours(web: FlaskClient, token: TokenFor) -> None:
    assert web.get("/api//v1/releases", headers=token("read")).status_code == 404


def test_a_problem_type_has_a_page(web: FlaskClient) -> None:
    assert "not of the documented form" in web.get("/problems/invalid-input").text
    assert web.get("/problems/nothing").status_code == 404
