from pathlib import Path

import pytest
from parts.trees import Content, Link, MemoryTree

from towline.shared.errors import MirrorDamaged
from towline.worker.inputs import Inputs, inputs_of
from towline.worker.render.programs import Programs
from towline.worker.services import services_of
from towline.worker.tree import Entry

SHOP: dict[str, Content] = {
    "base/kustomization.yaml": "resources: [app.yaml]",
    "base/app.yaml": "kind: A",
    "services/web/kustomization.yaml": "resources: [../../base]",
    "services/cart/kustomization.yaml": "resources: [../../base]",
    "services/mail/mail.yaml": "kind: A",
    "services/mail/README.md": "text",
    "services/chart/Chart.yaml": "name: chart",
    "services/chart/templates/a.yaml": "{{ x }}",
    "docs/index.md": "text",
}


def all_inputs(
    changes: dict[str, Content | None] | None = None, environment: str = "staging"
) -> dict[str, Inputs]:
    tree = MemoryTree({path: c for path, c in {**SHOP, **(changes or {})}.items() if c is not None})
    services = services_of(tree, team=None, patterns=["services/*"], environment=environment)
    return {name: inputs_of(tree, service, environment=environment) for name, service in services.items()}


@pytest.mark.parametrize(
    ("changes", "woken"),
    [
        ({"README.md": "new", "docs/index.md": "new", "services/mail/README.md": "new"}, set()),
        ({"base/README.md": "new", "services/web/notes.txt": "new"}, set()),
        ({"base/app.yaml": "kind: B"}, {"web", "cart"}),
        ({"services/web/kustomization.yaml": "namePrefix: x-\nresources: [../../base]"}, {"web"}),
        ({"services/mail/mail.yaml": "kind: B"}, {"mail"}),
        ({"services/mail/more.yaml": "kind: B"}, {"mail"}),
        ({"services/chart/templates/a.yaml": "{{ y }}"}, {"chart"}),
        ({"base/app.yaml": None}, {"web", "cart"}),
        ({"services/new/a.yaml": "kind: A"}, {"new"}),
        ({"services/mail/mail.yaml": None}, {"mail"}),
    ],
)
def test_a_change_wakes_exactly_the_services_that_read_it(
    changes: dict[str, Content | None], woken: set[str]
) -> None:
    before, after = all_inputs(), all_inputs(changes)
    assert {
        name for name, inputs in after.items() if inputs.digest != getattr(before.get(name), "digest", None)
    } == woken


def test_the_paths_are_the_files_that_are_read() -> None:
    found = all_inputs()
    assert found["mail"].paths == {"services/mail/mail.yaml"}
    assert found["web"].paths == {
        "services/web/kustomization.yaml",
        "base/kustomization.yaml",
        "base/app.yaml",
    }


def test_the_same_inputs_have_the_same_digest() -> None:
    assert all_inputs() == all_inputs()


def test_a_broken_service_has_a_digest_that_changes_when_it_is_mended() -> None:
    # given
    broken, worse = all_inputs({"base/app.yaml": None}), all_inputs({"base/kustomization.yaml": None})
    # then
    assert "app.yaml does not exist" in str(broken["web"].problems[0])
    assert len({broken["web"].digest, worse["web"].digest, all_inputs()["web"].digest}) == 3
    assert broken["mail"] == all_inputs()["mail"]


def test_a_service_that_cannot_be_used_has_a_digest_too() -> None:
    found = all_inputs({"services/Bad_Name/a.yaml": "kind: A"})
    assert found["bad-name"].paths == frozenset()
    assert found["bad-name"].digest


def test_environment_settings_and_the_renderers_version_are_inputs(tmp_path: Path) -> None:
    # given
    program = tmp_path / "kustomize"
    program.write_text("#!/bin/sh\necho v9")
    program.chmod(0o755)
    tree = MemoryTree(SHOP)
    services = services_of(tree, team=None, patterns=["services/*"], environment="staging")
    web, mail = services["web"], services["mail"]
    # when
    plain = inputs_of(tree, web, environment="staging")
    # then
    assert inputs_of(tree, web, environment="staging", settings="namespace: x").digest != plain.digest
    assert inputs_of(tree, web, environment="other").digest != plain.digest
    versioned = inputs_of(tree, web, environment="staging", programs=Programs(kustomize=program))
    assert versioned.digest != plain.digest
    of_mail = inputs_of(tree, mail, environment="staging")
    assert inputs_of(tree, mail, environment="staging", programs=Programs(kustomize=program)) == of_mail


def test_nothing_that_a_repository_holds_is_raised() -> None:
    found = all_inputs(
        {
            "services/loop": Link("loop"),
            "services/mail/loop.yaml": Link("loop.yaml"),
            "services/web/kustomization.yaml": Link("/etc/passwd"),
            "services/cart/kustomization.yaml": b"\xff\xfe",
        }
    )
    assert all(found[name].problems for name in ("mail", "web", "cart"))


class DamagedTree(MemoryTree):
    """A tree whose mirror breaks: from the first read on, nothing can be read any more."""

    is_damaged = False

    def children(self, path: str) -> tuple[Entry, ...]:
        if self.is_damaged:
            raise MirrorDamaged("an object cannot be read")
        return super().children(path)

    def read(self, entry: Entry, *, limit_bytes: int) -> bytes:
        if self.is_damaged:
            raise MirrorDamaged("an object cannot be read")
        return super().read(entry, limit_bytes=limit_bytes)


@pytest.mark.parametrize("name", ["web", "mail", "linked"])
def test_a_damaged_mirror_is_no_fault_of_a_service_and_is_not_remembered(name: str) -> None:
    # given: folders that no other test has read
    unique: dict[str, Content] = {
        "base/app.yaml": f"kind: {name}",
        "services/web/kustomization.yaml": f"resources: [../../base]\nnamePrefix: {name}-",
        "services/mail/mail.yaml": f"kind: {name}",
        "services/linked/kustomization.yaml": "resources: [a.yaml]",
        "services/linked/a.yaml": Link(f"{name}.yaml"),
        f"services/linked/{name}.yaml": "kind: A",
    }
    tree = DamagedTree({**SHOP, **unique})
    service = services_of(tree, team=None, patterns=["services/*"], environment="staging")[name]
    # when
    tree.is_damaged = True
    with pytest.raises(MirrorDamaged):
        inputs_of(tree, service, environment="staging")
    # then
    tree.is_damaged = False
    assert inputs_of(tree, service, environment="staging").problems == ()


def test_services_of_a_damaged_mirror_are_not_listed() -> None:
    tree = DamagedTree({**SHOP, "services/unseen/kustomization.yaml": "namePrefix: unseen-"})
    tree.is_damaged = True
    with pytest.raises(MirrorDamaged):
        services_of(tree, team=None, patterns=["services/*"], environment="staging")
