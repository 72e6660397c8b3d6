"""towline.yaml: what it means, and what is refused, all at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from towline.shared.config import Config, load_config, parse_config
from towline.shared.errors import ConfigError, NotFound, Problem, UnknownRepository
from towline.shared.model import Forge
from towline.shared.pod_limits import USUAL, PodLimits
from towline.shared.secret import Secret

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "towline.yaml"
FOLDER = Path("/etc/towline")

SMALL = """\
clusters: {local: {}}
environments:
  staging: {cluster: local, namespace: shop-staging}
  production: {cluster: local, namespace: shop}
  preview: {cluster: local, namespace: "preview-{branch}"}
repositories:
  - name: shop
    url: https://github.com/acme/shop.git
    webhook: {forge: github, secrets: [{env: SHOP_SECRET}]}
    branches: {main: staging, release: [production, staging], "feature/*": preview, "**": staging}
"""


def parse(text: str) -> Config:
    return parse_config(text.encode(), file="towline.yaml", folder=FOLDER)


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def one(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def names(config: Config, ref: str) -> list[str]:
    return [environment.name for environment in config.environments_for(config.repository("shop"), ref)]


def test_the_published_example_means_what_it_says() -> None:
    config = load_config(EXAMPLE)

    production, shop = config.environment("production"), config.repository("shop")
    assert config.data_dir == Path("/var/lib/towline")
    assert config.server.listen == ("127.0.0.1", 8080)
    assert config.clusters["here"].in_cluster
    assert production.allowed_kinds is not None and "Ingress.networking.k8s.io" in production.allowed_kinds
    assert (production.service_account, production.max_prune.allowed(100)) == ("deployer", 25)
    assert production.pod_limits == PodLimits(crash_restarts=4, unschedulable_seconds=120)
    assert config.templates["preview"].ttl_seconds == 72 * 3600
    assert shop.webhook.forge is Forge.GITHUB and len(shop.webhook.secrets) == 2
    assert shop.credentials is not None
    assert shop.credentials.password == Secret(file=Path("/run/secrets/shop-token"))


def test_what_is_left_out_has_a_default() -> None:
    config = parse("")

    assert config.redis.url is None
    assert config.server.max_body_bytes == 25 * 1024 * 1024
    assert config.server.secret_key is None
    assert (config.sync.workers, config.sync.requests_parallel, config.sync.clock_interval_seconds) == (
        2,
        16,
        180,
    )
    assert (config.sync.history, config.sync.stored_revisions) == (10, 3)
    assert config.data_dir == Path.home() / ".towline"


def test_an_environment_has_its_limits_by_default() -> None:
    environment = parse(SMALL).environment("staging")

    assert environment.allowed_kinds is None
    assert environment.prune_kinds == frozenset()
    assert environment.create_namespace and not environment.unverified
    assert environment.max_prune.allowed(8) == 5
    assert environment.template is None
    assert environment.pod_limits == USUAL


def test_templates_may_not_touch_the_cluster_unless_they_say_so() -> None:
    config = parse(SMALL)
    asked = parse(changed('"preview-{branch}"}', '"preview-{branch}", cluster_scoped: true}'))

    assert config.environment("staging").cluster_scoped
    assert not config.templates["preview"].cluster_scoped
    assert asked.templates["preview"].cluster_scoped


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("refs/heads/main", ["staging"]),
        ("refs/heads/release", ["production", "staging"]),
        ("refs/heads/feature/login", ["preview-feature-login"]),
        ("refs/heads/feature/a/b", ["staging"]),
        ("refs/heads/other", ["staging"]),
        ("refs/tags/main", []),
        ("main", []),
        ("refs/heads/", []),
        ("refs/heads/feature/*", []),
        ("refs/heads/a..b", []),
        ("refs/heads/a\nb", []),
    ],
)
def test_a_ref_leads_to_its_environments(ref: str, expected: list[str]) -> None:
    assert names(parse(SMALL), ref) == expected


def test_a_branch_that_no_name_or_pattern_covers_is_deployed_nowhere() -> None:
    assert names(parse(changed(', "**": staging', "")), "refs/heads/other") == []


def test_an_environment_of_a_template_has_a_namespace_of_its_own() -> None:
    config = parse(SMALL)

    (made,) = config.environments_for(config.repository("shop"), "refs/heads/feature/login")

    assert (made.name, made.namespace, made.template) == (
        "preview-feature-login",
        "preview-feature-login",
        "preview",
    )


def test_a_long_branch_still_makes_names_that_kubernetes_takes() -> None:
    config = parse(changed('"preview-{branch}"', '"team-a-preview-{branch}-web"'))

    (made,) = config.environments_for(config.repository("shop"), "refs/heads/feature/" + "x" * 200)

    assert len(made.namespace) == 63 and len(made.name) <= 63


def test_a_template_is_no_environment_and_its_own_are_found_by_ref_only() -> None:
    config = parse(SMALL)

    for name in ("preview", "preview-feature-login"):
        with pytest.raises(NotFound):
            config.environment(name)


def test_unknown_names_are_named_with_the_nearest_one() -> None:
    config = parse(SMALL)

    with pytest.raises(NotFound, match="did you mean staging"):
        config.environment("stagin")
    with pytest.raises(UnknownRepository):
        config.repository("shoop")


def test_all_problems_come_in_one_answer() -> None:
    text = """\
enviroments: {}
clusters: {local: {}}
environments:
  staging: {cluster: locla, namespace: 1, max_prune: lots}
repositories:
  - name: shop
    url: https://github.com/acme/shop.git?x
    webhook: {forge: gihub, secrets: []}
    branches: {main: stagin}
    services: [../x]
"""

    found = problems(text)

    assert [(p.line, p.path) for p in found] == [
        (1, "enviroments"),
        (4, "environments.staging.namespace"),
        (4, "environments.staging.max_prune"),
        (4, "environments.staging.cluster"),
        (7, "repositories.0.url"),
        (8, "repositories.0.webhook.forge"),
        (8, "repositories.0.webhook.secrets"),
        (9, "repositories.0.branches.main"),
        (10, "repositories.0.services.0"),
    ]
    assert all(p.file == "towline.yaml" for p in found)


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    problem = one(SMALL + "sycn: {}\n")

    assert "did you mean sync?" in problem.message
    assert problem.allowed is not None and "environments" in problem.allowed


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("namespace: shop}", "namespace: no}", "environments.production.namespace", "in quotes"),
        ("namespace: shop}", "namespace: Shop}", "environments.production.namespace", "form"),
        ("namespace: shop}", "namespace: -shop}", "environments.production.namespace", "name of a namespace"),
        (
            "namespace: shop}",
            "namespace: shop-staging}",
            "environments.production.namespace",
            "staging has this",
        ),
        (
            "namespace: shop}",
            "namespace: preview-x}",
            "environments.preview.namespace",
            "production has this",
        ),
        ("namespace: shop}", "namespace: shop, ttl: 1h}", "environments.production.ttl", "{branch}"),
        (
            "namespace: shop}",
            'namespace: "pre{branch}"}',
            "environments.preview.namespace",
            "production has this",
        ),
        ("production:", "preview-x:", "environments.preview-x", "template preview"),
        ("preview:", "p" * 52 + ":", "environments." + "p" * 52, "too long"),
        ("{local: {}}", "{local: {in_cluster: true, context: x}}", "clusters.local", "no room"),
        ("https://github.com", "http://github.com", "repositories.0.url", "http protects nothing"),
        ("https://github.com", "git://github.com", "repositories.0.url", "git protocol"),
        ("https://github.com", "file://", "repositories.0.url", "file protects nothing"),
        ("https://github.com", "https://bob@github.com", "repositories.0.url", "credentials never"),
        ("forge: github", "forge: github, rate_limit: often", "repositories.0.webhook.rate_limit", "form"),
        ("{main: staging", '{"a b": staging', "repositories.0.branches.a b", "name of a branch"),
        ("{main: staging", "{main: [staging, staging]", "repositories.0.branches.main", "twice"),
        ("{main: staging", "{main: []", "repositories.0.branches.main", "too few"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(old: str, new: str, path: str, message: str) -> None:
    found = [p for p in problems(changed(old, new)) if p.path == path]

    assert any(message in p.message for p in found), problems(changed(old, new))


@pytest.mark.parametrize(
    ("credentials", "key"),
    [
        ("{username: bob}", None),
        ("{password: {env: X}}", None),
        ("{username: bob, password: {env: X}, ssh_key: {env: Z}}", None),
        ("{ssh_key: {env: X}}", "ssh_key"),
        ("{username: bob, password: {env: X}, passphrase: {env: Z}}", "passphrase"),
    ],
)
def test_credentials_fit_each_other_and_the_address(credentials: str, key: str | None) -> None:
    found = problems(SMALL + f"    credentials: {credentials}\n")

    assert ".".join(filter(None, ["repositories.0.credentials", key])) in [p.path for p in found]


def test_insecure_addresses_are_taken_where_the_operator_says_so() -> None:
    text = changed("https://github.com/acme/shop.git", "file:///srv/git/shop.git")

    config = parse(text + "    allow_insecure: true\n")

    assert config.repository("shop").url == "file:///srv/git/shop.git"


def test_two_repositories_need_two_names_and_two_addresses() -> None:
    again = SMALL[SMALL.index("  - name") :].replace("https://github.com/", "git@github.com:")

    found = problems(SMALL + again)

    assert [p.path for p in found] == ["repositories.1.name"]
    assert [p.path for p in problems(SMALL + again.replace("name: shop", "name: other"))] == [
        "repositories.1.url"
    ]


def test_an_alias_that_changes_nothing_is_pointed_out() -> None:
    problem = one(SMALL + '    aliases: ["git@github.com:acme/shop.git"]\n')

    assert problem.path == "repositories.0.aliases.0"


@pytest.mark.parametrize(
    "place",
    [
        "server: {secret_key: hunter2}",
        "server: {secret_key: {env: hunter2-}}",
        "server: {secret_key: {file: hunter2, env: X}}",
        "server: {secret_key: {value: hunter2}}",
        "server: {secret_key: [hunter2]}",
        'redis: {url: "redis://:hunter2@localhost/0"}',
        'redis: {url: "http://:hunter2@localhost/0"}',
        "redis: {password: hunter2}",
        "repositories: [{name: x, url: 'https://bob:hunter2@example.com/x', webhook: hunter2, branches: {a: b}}]",
        "repositories: [{credentials: {password: hunter2, username: x, passwrod: hunter2}}]",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(place)

    error = caught.value
    assert "hunter2" not in f"{error} {error!r} {error.__cause__} {error.__context__} {error.problems}"


def test_secrets_are_looked_up_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_SECRET", raising=False)
    secret = parse(SMALL).repository("shop").webhook.secrets[0]
    with pytest.raises(ConfigError, match="SHOP_SECRET"):
        secret.value()

    monkeypatch.setenv("SHOP_SECRET", "hunter2")

    assert secret.value() == "hunter2"


def test_every_secret_is_known_to_redaction(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL + "redis: {url: redis://localhost/0, password: {env: B}}\nserver: {secret_key: {env: C}}\n"
    config = parse(text.replace("{forge", "{sha1: true, forge") + "data_dir: x\n")
    for name, value in (("SHOP_SECRET", "one"), ("B", "two"), ("C", "three")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOWLINE_REDIS_URL", "redis://:f%2Four@localhost/0")

    assert set(config.secrets()) == {"one", "two", "three", "f/our"}


def test_paths_start_at_the_folder_of_the_file() -> None:
    text = "data_dir: state\nclusters: {a: {kubeconfig: ../kube}, b: {kubeconfig: ~/.kube/config}}\n"

    config = parse(text + "server: {secret_key: {file: /run/key}}\n")

    assert config.data_dir == FOLDER / "state"
    assert config.clusters["a"].kubeconfig == FOLDER / "../kube"
    assert config.clusters["b"].kubeconfig == Path.home() / ".kube/config"
    assert config.server.secret_key == Secret(file=Path("/run/key"))


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("0.0.0.0:80", ("0.0.0.0", 80)), ('"[::1]:8080"', ("::1", 8080)), ("h:0", ("h", 0))],
)
def test_an_address_to_listen_on_is_host_and_port(listen: str, expected: tuple[str, int]) -> None:
    assert parse(f"server: {{listen: {listen}}}").server.listen == expected


@pytest.mark.parametrize("listen", ["8080", '":8080"', "localhost", "localhost:99999", "a:b", "a:1:2", "[]"])
def test_anything_else_is_no_address_to_listen_on(listen: str) -> None:
    assert one(f"server: {{listen: {listen}}}").path == "server.listen"


def test_redis_is_where_towline_up_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse("redis: {url: redis://configured/0, password: {env: REDIS_SECRET}}")
    monkeypatch.setenv("TOWLINE_REDIS_URL", "unix:///run/towline/redis.sock")

    assert config.redis_url() == "unix:///run/towline/redis.sock"


def test_the_password_of_redis_joins_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOWLINE_REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_SECRET", "p@ss/word")

    plain = parse("redis: {url: redis://host:1/0, password: {env: REDIS_SECRET}}")
    with_user = parse("redis: {url: redis://bob@host:1/0, password: {env: REDIS_SECRET}}")

    assert plain.redis_url() == "redis://:p%40ss%2Fword@host:1/0"
    assert with_user.redis_url() == "redis://bob:p%40ss%2Fword@host:1/0"
    assert "p@ss" not in repr(plain)


def test_no_redis_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOWLINE_REDIS_URL", raising=False)

    with pytest.raises(ConfigError) as caught:
        parse("").redis_url()

    assert "towline up" in caught.value.hint


def test_the_file_is_named_found_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "towline.yaml").write_text("data_dir: here\n")
    (tmp_path / "other.yaml").write_text("data_dir: there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOWLINE_CONFIG", raising=False)
    by_default = load_config()
    monkeypatch.setenv("TOWLINE_CONFIG", str(tmp_path / "other.yaml"))
    by_variable = load_config()

    with pytest.raises(ConfigError, match=r"missing\.yaml cannot be read"):
        load_config(tmp_path / "missing.yaml")

    assert (by_default.data_dir.name, by_variable.data_dir.name) == ("here", "there")
    assert load_config(tmp_path / "towline.yaml").data_dir == tmp_path / "here"
    assert os.environ["TOWLINE_CONFIG"].endswith("other.yaml")


@pytest.mark.parametrize("text", ["[]", "3", "text", "a: 1\n---\nb: 2\n", "a: [", "a: 1\na: 2"])
def test_a_file_of_another_form_is_refused(text: str) -> None:
    assert problems(text)


def test_health_rules_are_checked_where_they_are_written() -> None:
    rules = parse(SMALL + "health: {db.example.com/Database: self.status.phase == 'Ready'}").health
    [wrong] = problems(SMALL + "health: {db.example.com/Database: size(self.status)}")

    assert rules == {"db.example.com/Database": "self.status.phase == 'Ready'"}
    assert (wrong.path, wrong.found) == ("health.db.example.com/Database", '"size(self.status)"')
    assert "gives INT" in wrong.message
