"""A receiver in this process on a real, empty Redis: its context, tokens for it, and a client that speaks HTTP to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from parts.processes import free_port
from werkzeug.serving import make_server

from towline.receiver.app import app_of, context_of
from towline.receiver.context import Context
from towline.receiver.tokens import Scope
from towline.shared.broker import Broker
from towline.shared.config import Config, load_config
from towline.shared.ledger import NewDelivery
from towline.shared.model import Push, ReleaseName
from towline.shared.views import ReleaseView

SECRET_KEY = "a secret key of the tests, long enough to be one"
REVISION = "1" * 40

CONFIG = """\
redis: {{url: "{redis_url}"}}
data_dir: {folder}/data
server: {{listen: "127.0.0.1:{port}", public_url: "http://localhost", secret_key: {{file: "{folder}/key"}}}}
clusters: {{local: {{kubeconfig: {folder}/kubeconfig}}}}
environments:
  staging: {{cluster: local, namespace: shop-staging}}
  production: {{cluster: local, namespace: shop}}
repositories:
  - name: shop
    url: https://git.example.com/acme/shop.git
    webhook: {{forge: github, secrets: [{{env: SHOP_WEBHOOK_SECRET}}]}}
    branches: {{main: staging, release: production}}
    services: ["services/*"]
"""

TokenFor = Callable[..., dict[str, str]]


@pytest.fixture
def receiver_config(redis_url: str, tmp_path: Path) -> Config:
    """A shop with a staging and a production environment."""
    (tmp_path / "key").write_text(SECRET_KEY)
    path = tmp_path / "towline.yaml"
    path.write_text(CONFIG.format(redis_url=redis_url, folder=tmp_path, port=free_port()))
    return load_config(path)


@pytest.fixture
def context(receiver_config: Config) -> Iterator[Context]:
    """What the parts of the receiver work with."""
    broker = Broker(receiver_config.redis_url(), patient=False)
    yield context_of(receiver_config, broker)
    broker.redis.close()


@pytest.fixture
def app(context: Context) -> Flask:
    """The receiver."""
    return app_of(context)


@pytest.fixture
def web(app: Flask) -> FlaskClient:
    """A browser without a screen: it keeps cookies."""
    return app.test_client()


@pytest.fixture
def token(context: Context) -> TokenFor:
    """Makes the header of a call: `token("sync", environments=["staging"])`."""

    def make(*scopes: str, environments: Sequence[str] | None = None, seconds: float = 60) -> dict[str, str]:
        text, _ = context.tokens.issue(
            name="tester",
            scopes=frozenset(Scope(scope) for scope in scopes),
            environments=tuple(environments) if environments is not None else None,
            seconds=seconds,
        )
        return {"Authorization": f"Bearer {text}"}

    return make


@pytest.fixture
def signed_in(web: FlaskClient, token: TokenFor) -> Callable[..., FlaskClient]:
    """The same browser, signed in with a token of these scopes."""

    def sign_in(*scopes: str, environments: Sequence[str] | None = None) -> FlaskClient:
        text = token(*scopes, environments=environments)["Authorization"].removeprefix("Bearer ")
        answer = web.post("/sign-in", data={"token": text})
        assert answer.status_code == 303, answer.text
        return web

    return sign_in


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    """The address of this receiver on loopback, for clients that are no part of it."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def show(context: Context, name: str, **status: object) -> ReleaseView:
    """Have a release be there, as a worker would have left it."""
    release = ReleaseName.parse(name)
    facts = {
        "environment": release.environment,
        "repository": "shop",
        "ref": "refs/heads/main" if release.environment == "staging" else "refs/heads/release",
        "revision": REVISION,
        "phase": "Healthy",
        "health": "healthy",
        "message": "2 objects changed",
    }
    view = ReleaseView(
        environment=release.environment,
        service=release.service,
        cluster="local",
        namespace="shop",
        status={**facts, **status},
        updated_at=time.time(),
    )
    context.views.put(view)
    return view


def deliver(context: Context, identifier: str, *, branch: str = "main") -> None:
    """Have a delivery be there that waits for a worker."""
    context.ledger.accept(
        NewDelivery(
            id=identifier,
            repository="shop",
            forge="github",
            event="push",
            pushes=(Push(ref=f"refs/heads/{branch}", before=None, after=None),),
            received_at=time.time(),
        )
    )
