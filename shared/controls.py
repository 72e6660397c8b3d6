"""What a team says about one object by annotations, in our words, Argo CD's, Flux's and Helm's.

In: an object, rendered or live. Out: plain values; reading never fails, since a live object may hold anything, and what
is not understood means the default. `control_problems` names such values in rendered objects before anything is written.

    towline.dev/prune: disabled          argocd sync-options Prune=false|confirm    Flux prune: disabled
    towline.dev/apply: override|merge|if-not-present|ignore                         Flux ssa, reconcile: disabled
    towline.dev/recreate: allowed        argocd sync-options Force=true             Flux force: enabled
    towline.dev/wave: "<int>"            argocd sync-wave
    towline.dev/hook: pre-sync|post-sync argocd hook: PreSync|PostSync              Helm hook: pre-install, ...
                                         argocd hook-delete-policy                  Helm hook-delete-policy, hook-weight

Sources: https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/,
https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources,
https://helm.sh/docs/topics/charts_hooks/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from towline.shared.errors import Problem
from towline.shared.model import HookState, Object
from towline.shared.objects import annotations_of, key_of, values_named

OURS = "towline.dev/"
ARGO = "argocd.argoproj.io/"
FLUX = "kustomize.toolkit.fluxcd.io/"
HELM_HOOK = "helm.sh/hook"
HELM_WEIGHT = "helm.sh/hook-weight"
DELETE_POLICIES = (f"{ARGO}hook-delete-policy", "helm.sh/hook-delete-policy")
RUN = f"{OURS}run"  # set by Towline on a hook that it starts: which run it is

WAVE = re.compile(r"[+-]?[0-9]{1,6}")


class ApplyMode(StrEnum):
    """What a sync does with an object that exists already."""

    OVERRIDE = "override"
    MERGE = "merge"
    IF_NOT_PRESENT = "if-not-present"
    IGNORE = "ignore"


class Hook(StrEnum):
    """When a Job runs; `UNUSED` stands for moments of other tools that Towline does not have: it is never applied."""

    PRE_SYNC = "pre-sync"
    POST_SYNC = "post-sync"
    UNUSED = "unused"


# Every other hook of these tools (SyncFail, PostDelete, test, pre-delete, ...) is UNUSED.
HOOKS = {
    "presync": Hook.PRE_SYNC,
    "postsync": Hook.POST_SYNC,
    "pre-install": Hook.PRE_SYNC,
    "pre-upgrade": Hook.PRE_SYNC,
    "post-install": Hook.POST_SYNC,
    "post-upgrade": Hook.POST_SYNC,
}
ORDINARY_HOOKS = frozenset({"sync", "crd-install"})  # applied with everything else

# our annotation: what its value may be
ALLOWED = {
    "prune": ("disabled", "enabled"),
    "apply": tuple(ApplyMode),
    "recreate": ("allowed", "refused"),
    "hook": (Hook.PRE_SYNC, Hook.POST_SYNC),
}


def prune_disabled(object: Object) -> bool:
    """Whether the object stays when it leaves Git; asked of the rendered and of the live object."""
    named = values_named(object, (f"{OURS}prune", f"{FLUX}prune"))
    if any(value.lower() == "disabled" for value in named):
        return True
    # `confirm` waits for a person, and there is nobody to ask here.
    return not {"prune=false", "prune=confirm"}.isdisjoint(_sync_options(object))


def apply_mode(object: Object) -> ApplyMode:
    """What to do when the object exists."""
    if any(value.lower() == "disabled" for value in values_named(object, (f"{FLUX}reconcile",))):
        return ApplyMode.IGNORE
    for value in values_named(object, (f"{OURS}apply", f"{FLUX}ssa")):
        mode = _modes().get(value.lower().replace("-", ""))
        if mode is not None:
            return mode
    return ApplyMode.IGNORE if _argo_hooks(object) == ["skip"] else ApplyMode.OVERRIDE


def recreate_allowed(object: Object) -> bool:
    """Whether the object may be deleted and made anew when an immutable field changes."""
    if any(value.lower() == "allowed" for value in values_named(object, (f"{OURS}recreate",))):
        return True
    if any(value.lower() == "enabled" for value in values_named(object, (f"{FLUX}force",))):
        return True
    return "force=true" in _sync_options(object)


def wave(object: Object) -> int:
    """The wave in which the object is applied; 0 when none is named."""
    named = (f"{OURS}wave", f"{ARGO}sync-wave", *((HELM_WEIGHT,) if _helm_hooks(object) else ()))
    for value in values_named(object, named):
        if WAVE.fullmatch(value):
            return int(value)
    return 0


def hook(object: Object) -> Hook | None:
    """When the object runs, None for an ordinary one."""
    for value in values_named(object, (f"{OURS}hook",)):
        if value.lower() in ALLOWED["hook"]:
            return Hook(value.lower())
    names = [name for name in [*_argo_hooks(object), *_helm_hooks(object)] if name != "skip"]
    if not names or not ORDINARY_HOOKS.isdisjoint(names):
        return None
    return next((HOOKS[name] for name in names if name in HOOKS), Hook.UNUSED)


def is_run(object: Object) -> bool:
    """Whether this live object is a hook that Towline has started."""
    return RUN in annotations_of(object)


def hook_deletion(object: Object) -> tuple[HookState, ...]:
    """After which outcomes a hook is deleted: after success, unless a policy is written. Before its next run it always is."""
    words = {word.replace("-", "") for name in DELETE_POLICIES for word in _words(object, name)}
    if not words:
        return (HookState.SUCCEEDED,)
    outcomes = {"hooksucceeded": HookState.SUCCEEDED, "hookfailed": HookState.FAILED}
    return tuple(state for word, state in outcomes.items() if word in words)


def control_problems(object: Object) -> Iterator[Problem]:
    """Values of our own annotations that mean nothing."""
    annotations = annotations_of(object)
    for name, allowed in ALLOWED.items():
        value = annotations.get(f"{OURS}{name}")
        if value is not None and str(value).strip().lower() not in allowed:
            yield _problem(object, f"{OURS}{name}", found=value, allowed=", ".join(allowed))
    for name in (f"{OURS}wave", f"{ARGO}sync-wave"):
        value = annotations.get(name)
        if value is not None and not WAVE.fullmatch(str(value).strip()):
            yield _problem(object, name, found=value, allowed="a whole number of up to 6 digits, in quotes")


def _problem(object: Object, name: str, *, found: object, allowed: str) -> Problem:
    return Problem(
        message="the annotation has a value that means nothing",
        object=str(key_of(object)),
        path=f"metadata.annotations[{name}]",
        found=repr(found)[:100],
        allowed=allowed,
    )


def _modes() -> dict[str, ApplyMode]:
    return {mode.value.replace("-", ""): mode for mode in ApplyMode}


def _sync_options(object: Object) -> set[str]:
    return {
        option.strip().lower().replace(" ", "")
        for value in values_named(object, (f"{ARGO}sync-options",))
        for option in value.split(",")
    }


def _argo_hooks(object: Object) -> list[str]:
    return _words(object, f"{ARGO}hook")


def _helm_hooks(object: Object) -> list[str]:
    return _words(object, HELM_HOOK)


def _words(object: Object, name: str) -> list[str]:
    return [
        word.strip().lower()
        for value in values_named(object, (name,))
        for word in value.split(",")
        if word.strip()
    ]
