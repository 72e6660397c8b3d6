"""What is decided about a verified message; the HTTP side is in tests/real/receiver."""

from __future__ import annotations

from pathlib import Path

import pytest

from towline.receiver.forges.forge import Kind, Message
from towline.receiver.webhooks import decide, is_about, keys_of
from towline.shared.config import Config, Repository, parse_config
from towline.shared.errors import Unavailable
from towline.shared.model import Push, Revision

CONFIG = b"""\
redis: {url: "redis://127.0.0.1:1/0"}
data_dir: data
clusters: {local: {kubeconfig: kubeconfig}}
environments:
  staging: {cluster: local, namespace: staging}
  production: {cluster: local, namespace: production}
  preview: {cluster: local, namespace: "preview-{branch}"}
repositories:
  - name: shop
    url: https://git.example.com/acme/shop.git
    aliases: ["https://old.example.com/shop"]
    webhook: {forge: github, secrets: [{file: first}, {file: second}]}
    branches: {main: staging, release: production, "feature/*": preview}
    services: ["services/*"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config(CONFIG, file="towline.yaml", folder=tmp_path)


@pytest.fixture
def shop(config: Config) -> Repository:
    return config.repository("shop")


def push(ref: str, *, before: str | None = "a" * 40, after: str | None = "b" * 40) -> Push:
    return Push(
        ref=ref, before=Revision(before) if before else None, after=Revision(after) if after else None
    )


def message(
    *refs: str, kind: Kind = Kind.PUSH, urls: tuple[str, ...] = ("https://git.example.com/acme/shop",)
) -> Message:
    pushes = tuple(push(ref) for ref in refs)
    return Message(kind=kind, event="push", delivery_id=None, pushes=pushes, urls=urls)


@pytest.mark.parametrize(
    ("refs", "mapped", "reason"),
    [
        (["refs/heads/main"], ["refs/heads/main"], ""),
        (["refs/heads/feature/x"], ["refs/heads/feature/x"], ""),
        (["refs/heads/other"], [], "branch"),
        (["refs/heads/feature/x/y"], [], "branch"),
        (["refs/tags/v1"], [], "tag"),
        (["refs/tags/main"], [], "tag"),
        (["refs/heads/refs/heads/main"], [], "branch"),
        (["refs/pull/1/head"], [], "branch"),
        (["refs/tags/v1", "refs/heads/other"], [], "branch"),
        (["refs/tags/v1", "refs/heads/main", "refs/heads/other"], ["refs/heads/main"], ""),
        (["refs/heads/main", "refs/heads/release"], ["refs/heads/main", "refs/heads/release"], ""),
        ([], [], "empty"),
    ],
    ids=str,
)
def test_refs_that_an_environment_maps_are_pushed(
    config: Config, shop: Repository, refs: list[str], mapped: list[str], reason: str
) -> None:
    decision = decide(config, shop, message(*refs))

    assert decision.reason == reason
    assert reason or [each.ref for each in decision.pushes] == mapped


@pytest.mark.parametrize(("kind", "reason"), [(Kind.PING, "ping"), (Kind.OTHER, "event")])
def test_what_is_no_push_needs_no_repository(
    config: Config, shop: Repository, kind: Kind, reason: str
) -> None:
    assert decide(config, shop, message(kind=kind, urls=())).reason == reason


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/acme/shop.git",
        "http://git.example.com:8080/acme/shop",
        "ssh://git@git.example.com:2222/acme/shop.git",
        "git@git.example.com:acme/shop.git",
        "https://GIT.example.com/Acme/Shop",
        "https://old.example.com/shop.git",
    ],
)
def test_the_repository_is_known_by_host_and_path(shop: Repository, url: str) -> None:
    assert is_about(shop, message(urls=("https://elsewhere.example.com/x", url)))


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/acme/shopping.git",
        "https://git.example.com/acme/shop/more",
        "https://git.example.com/other/shop",
        "https://gitXexample.com/acme/shop",
        "https://evil.example.com/git.example.com/acme/shop",
        "/acme/shop",
        "",
        "https://[",
    ],
)
def test_another_repository_is_another(config: Config, shop: Repository, url: str) -> None:
    decision = decide(config, shop, message("refs/heads/main", urls=(url,)))

    assert (decision.reason, decision.pushes) == ("repository", ())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ACME/shop", True),
        ("acme/SHOP", True),
        ("me/shop", False),
        ("acme/shop/x", False),
        ("", False),
    ],
)
def test_project_and_slug_are_enough_where_there_is_no_url(
    shop: Repository, path: str, expected: bool
) -> None:
    said = Message(kind=Kind.PUSH, event="push", delivery_id=None, path=path)

    assert is_about(shop, said) is expected


def test_a_secret_that_cannot_be_read_stops_only_itself(shop: Repository, tmp_path: Path) -> None:
    (tmp_path / "second").write_text("the secret\n")

    assert keys_of(shop, now=1.0).secrets == ("the secret",)


def test_without_any_secret_the_answer_tells_nothing(shop: Repository) -> None:
    with pytest.raises(Unavailable) as error:
        keys_of(shop, now=1.0)

    assert "first" not in f"{error.value}{error.value.hint}"
    assert error.value.status == 503
