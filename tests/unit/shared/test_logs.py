"""Nothing secret reaches a log: neither what the configuration names, nor what is secret by its name or place."""

import json
import logging

import pytest
import structlog

from towline.shared import logs

SECRETS = [
    "webhook-secret-1",
    "s3cr3t",
    "a secret with spaces",
    "pässword-ünicode",
    "webhook-secret-1-longer",
]

log = structlog.get_logger("test")


@pytest.fixture
def logged(capsys):
    """What an action logs, parsed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def lines(action):
        logs.configure(lambda: SECRETS)
        action()
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield lines
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_of_the_configuration_is_masked_wherever_it_stands(logged, secret):
    def action():
        nested = {"deep": [f"x{secret}"]}
        log.warning("fetch.failed", error=f"refused: {secret}!", nested=nested, other=ValueError(secret))
        logging.getLogger("library").warning("it said %s", secret)

    text = json.dumps(logged(action), ensure_ascii=False)

    assert secret not in text
    assert text.count(logs.MASK) == 4


def test_an_exceptions_traceback_is_masked_too(logged):
    def action():
        try:
            raise ValueError("password is s3cr3t")
        except ValueError:
            log.exception("job.failed")

    (line,) = logged(action)

    assert "Traceback" in line["exception"]
    assert "s3cr3t" not in line["exception"]


@pytest.mark.parametrize("key", ["password", "ssh_passphrase", "Authorization", "webhook_secret", "cookie"])
def test_a_field_that_is_secret_by_its_name_is_masked_whatever_it_holds(logged, key):
    (line,) = logged(lambda: log.warning("x", **{key: "unknown to the configuration"}))

    assert line[key] == logs.MASK


def test_a_credential_in_a_url_is_masked(logged):
    (line,) = logged(lambda: log.warning("x", url="https://user:token@example.com/a.git"))

    assert line["url"] == f"https://{logs.MASK}@example.com/a.git"


def test_a_longer_secret_is_masked_whole_although_a_shorter_one_begins_it(logged):
    (line,) = logged(lambda: log.warning("x", text="webhook-secret-1-longer"))

    assert line["text"] == logs.MASK


def test_the_event_and_its_facts_stay(logged):
    (line,) = logged(lambda: log.info("sync.applied", release="staging/orders", seconds=0.2, objects=["a"]))

    facts = (line["event"], line["release"], line["seconds"], line["objects"])
    assert facts == ("sync.applied", "staging/orders", 0.2, ["a"])
