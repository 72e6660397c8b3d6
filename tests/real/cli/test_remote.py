"""The commands that ask a receiver, against one that answers on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from parts.answering import SECRET_KEY, TokenFor, deliver, show

from towline.receiver.context import Context

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(served: str, token: TokenFor) -> Run:
    """Runs `towline ...` as a process with a token of these scopes."""

    def command(
        *words: str, scopes: Sequence[str] = ("sync",), env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        text = token(*scopes)["Authorization"].removeprefix("Bearer ")
        variables = {"TOWLINE_URL": served, "TOWLINE_TOKEN": text} if env is None else env
        return towline(*words, env=variables)

    return command


def towline(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", "from towline.cli.main import main; main()", *words],
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_status_lists_releases(run: Run, context: Context) -> None:
    show(context, "staging/orders", message="2 objects changed")
    show(context, "production/orders", phase="Failed", message="quota exceeded")

    table = run("status")
    narrowed = run("status", "--phase", "failed", "--output", "json")

    assert table.returncode == 0, table.stderr
    assert "staging/orders" in table.stdout
    assert "quota exceeded" in table.stdout
    releases = json.loads(narrowed.stdout)["releases"]
    assert [each["environment"] for each in releases] == ["production"]


def test_status_tells_which_releases_no_push_moves(run: Run, context: Context) -> None:
    view = show(context, "staging/orders")
    context.views.put(view.model_copy(update={"pinned": "1a2b3c4d5e" * 4}))

    assert "pinned to 1a2b3c4d5e; 2 objects changed" in run("status").stdout


def test_status_of_one_release_shows_its_history(run: Run, context: Context) -> None:
    entry = {"revision": "3" * 40, "result": "synced", "triggeredBy": "d-1", "stages": {"apply": 0.5}}
    show(context, "staging/orders", history=[entry])

    answer = run("status", "staging/orders")

    assert answer.returncode == 0, answer.stderr
    assert "phase       Healthy" in answer.stdout
    assert "3" * 10 in answer.stdout
    assert "0.500" in answer.stdout


def test_status_says_which_objects_differ_from_what_was_applied(run: Run, context: Context) -> None:
    show(context, "staging/orders", message="all is well", drift=["Service shop/orders was deleted"])

    assert "all is well; 1 object differs" in run("status").stdout
    assert "drift       Service shop/orders was deleted" in run("status", "staging/orders").stdout


def test_sync_enqueues_and_names_the_job(run: Run, context: Context) -> None:
    show(context, "staging/orders")

    answer = run("sync", "staging/orders", "--revision", "4" * 40, "--output", "json")

    assert answer.returncode == 0, answer.stderr
    assert context.queue.parked(json.loads(answer.stdout)["job"]) is not None


def test_deliveries_are_listed_and_sent_again(run: Run, context: Context) -> None:
    deliver(context, "d-1")

    listed = run("deliveries")
    again = run("deliveries", "--redeliver", "d-1")

    assert "d-1" in listed.stdout
    assert again.returncode == 0, again.stderr
    assert context.queue.depths()["urgent"] == 1


def test_older_deliveries_are_asked_for_by_what_the_last_answer_gave(run: Run, context: Context) -> None:
    deliver(context, "d-1")
    deliver(context, "d-2")

    newest = run("deliveries", "--limit", "1")
    words = newest.stderr.split()
    older = run("deliveries", "--output", "json", "--limit", "1", *words[-2:])

    assert "d-2" in newest.stdout
    assert words[-2] == "--before"
    assert [each["id"] for each in json.loads(older.stdout)["deliveries"]] == ["d-1"]


@pytest.mark.parametrize(
    ("words", "scopes", "message"),
    [
        (("status", "staging/none"), ("read",), "there is no release staging/none"),
        (("status", "nonsense"), ("read",), "is not the name of a release"),
        (("sync", "staging/orders"), ("read",), "does not have the scope sync"),
        (("sync", "staging/orders", "--revision", "HEAD"), ("sync",), "revision"),
        (("deliveries", "--limit", "0"), ("read",), "limit"),
        (("status", "--output", "yaml"), ("read",), "yaml"),
    ],
)
def test_what_is_refused_ends_with_two_and_says_why(
    run: Run, context: Context, words: tuple[str, ...], scopes: tuple[str, ...], message: str
) -> None:
    show(context, "staging/orders")

    answer = run(*words, scopes=scopes)

    assert answer.returncode == 2
    assert message in answer.stderr
    assert answer.stdout == ""


def test_a_receiver_that_is_not_there_is_an_error_without_the_token(run: Run) -> None:
    secret = "tow_this-is-secret"

    answer = run("status", env={"TOWLINE_URL": "http://127.0.0.1:1", "TOWLINE_TOKEN": secret})

    assert answer.returncode == 2
    assert "does not answer" in answer.stderr
    assert secret not in answer.stderr + answer.stdout


def write_config(folder: Path, *, redis_url: str, listen: str) -> dict[str, str]:
    path = folder / "towline.yaml"
    path.write_text(
        f"redis: {{url: '{redis_url}'}}\n"
        f"data_dir: {folder / 'data'}\n"
        f"server: {{listen: '{listen}', secret_key: {{env: TOWLINE_SECRET_KEY}}}}\n"
        f"clusters: {{local: {{kubeconfig: {folder / 'kubeconfig'}}}}}\n"
        "environments: {staging: {cluster: local, namespace: shop}}\n"
        "repositories: []\n"
    )
    return {"TOWLINE_CONFIG": str(path), "TOWLINE_SECRET_KEY": SECRET_KEY}


def test_on_the_receivers_machine_the_configuration_is_enough(
    served: str, context: Context, redis_url: str, tmp_path: Path
) -> None:
    show(context, "staging/orders")
    env = write_config(tmp_path, redis_url=redis_url, listen=served.removeprefix("http://"))

    answer = towline("status", env=env)

    assert answer.returncode == 0, answer.stderr
    assert "staging/orders" in answer.stdout


def test_a_token_made_here_is_never_sent_elsewhere(redis_url: str, tmp_path: Path) -> None:
    env = write_config(tmp_path, redis_url=redis_url, listen="127.0.0.1:8080")

    answer = towline("status", "--url", "https://towline.example.com", env=env)

    assert answer.returncode == 2
    assert "TOWLINE_TOKEN is not set" in answer.stderr


def test_a_token_is_created_used_and_revoked(
    served: str, context: Context, redis_url: str, tmp_path: Path
) -> None:
    show(context, "staging/orders")
    show(context, "production/orders")
    env = write_config(tmp_path, redis_url=redis_url, listen="127.0.0.1:8080")
    made = towline(
        "token", "create", "--environment", "staging", "--expires", "1h", "--output", "json", env=env
    )
    assert made.returncode == 0, made.stderr
    text, identifier = (json.loads(made.stdout)[name] for name in ("token", "id"))
    use = {"TOWLINE_URL": served, "TOWLINE_TOKEN": text}

    before = towline("status", env=use)
    revoked = towline("token", "revoke", text, "--output", "json", env=env)
    after = towline("status", env=use)

    assert "staging/orders" in before.stdout
    assert "production/orders" not in before.stdout
    assert revoked.returncode == 0, revoked.stderr
    assert json.loads(revoked.stdout) == {"id": identifier, "revoked": True}
    assert after.returncode == 2
    assert "revoked" in after.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--scope", "all"),
        ("create", "--expires", "forever"),
        ("create", "--environment", "Staging"),
        ("create", "--name", "\x1b[2J"),
        ("revoke", "nonsense"),
    ],
)
def test_tokens_that_cannot_be_made_or_revoked_end_with_two(
    redis_url: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    env = write_config(tmp_path, redis_url=redis_url, listen="127.0.0.1:8080")

    answer = towline("token", *words, env=env)

    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "\x1b" not in answer.stderr
