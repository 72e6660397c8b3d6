"""Pure helpers on Kubernetes objects: their key, digest, marks of ownership, annotations and masking.

In: objects as plain dicts, rendered or as an API server answers them, so nothing in them can be trusted to have the
right type. Out: new values; no object is ever changed in place. No state, no requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from towline.shared.errors import RenderError
from towline.shared.model import Object, ObjectKey

GROUP = "towline.dev"
MANAGER = "towline"  # field manager of everything that a release holds

# KEP-3659, "ApplySet: kubectl apply --prune redesign and graduation strategy".
PART_OF = "applyset.kubernetes.io/part-of"
APPLYSET_ID = "applyset.kubernetes.io/id"
IS_PARENT_TYPE = "applyset.kubernetes.io/is-parent-type"
TOOLING = "applyset.kubernetes.io/tooling"
CONTAINS_GROUP_KINDS = "applyset.kubernetes.io/contains-group-kinds"
ADDITIONAL_NAMESPACES = "applyset.kubernetes.io/additional-namespaces"

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

MASKED = "***"

# Set by an API server; in a rendered object they come from `kubectl get -o yaml` and make an apply fail or lie.
SERVER_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def group_of(api_version: str) -> str:
    """The group in an apiVersion: "" for `v1`, `apps` for `apps/v1`."""
    return api_version.rpartition("/")[0]


def metadata_of(object: Object) -> Mapping[str, Any]:
    """The metadata, empty when it is missing or not a mapping."""
    return _mapping(object.get("metadata"))


def labels_of(object: Object) -> Mapping[str, Any]:
    """The labels, empty when they are missing or not a mapping."""
    return _mapping(metadata_of(object).get("labels"))


def annotations_of(object: Object) -> Mapping[str, Any]:
    """The annotations, empty when they are missing or not a mapping."""
    return _mapping(metadata_of(object).get("annotations"))


def key_of(object: Object, *, namespaced: bool | None = None) -> ObjectKey:
    """Which object this is; `namespaced` False drops a namespace that a cluster-scoped object names by mistake."""
    metadata = metadata_of(object)
    namespace = "" if namespaced is False else _text(metadata.get("namespace"))
    return ObjectKey(
        group=group_of(_text(object.get("apiVersion"))),
        kind=_text(object.get("kind")),
        namespace=namespace,
        name=_text(metadata.get("name")),
    )


def group_kind(key: ObjectKey) -> str:
    """`Deployment.apps`, `ConfigMap`: how KEP-3659 and `allowed_kinds` name a kind."""
    return f"{key.kind}.{key.group}" if key.group else key.kind


def is_terminating(object: Object) -> bool:
    """Whether the object is being deleted: an apply to it answers 200 and the object is gone a moment later."""
    return bool(metadata_of(object).get("deletionTimestamp"))


def canonical(value: object) -> bytes:
    """One JSON text for equal values: sorted keys, no blanks, ASCII. Raises RenderError for what JSON cannot say."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, TypeError, RecursionError) as error:
        raise RenderError(
            "an object holds a value that JSON cannot express",
            hint="look for .nan, .inf or a very deep value",
        ) from error


def digest(object: Object) -> str:
    """SHA-256 of the object as it stands, in hexadecimal; normalise first what is to be compared between syncs."""
    return hashlib.sha256(canonical(object)).hexdigest()


def normalise(object: Object) -> Object:
    """The object as it is sent: without what a server sets, `status` and kubectl's copy; `stringData` as `data`."""
    result = {name: value for name, value in object.items() if name != "status"}
    if isinstance(object.get("metadata"), dict):
        result["metadata"] = _sent_metadata(object["metadata"])
    return _secret_data(result) if is_secret(object) else result


def _sent_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    result = {name: value for name, value in metadata.items() if name not in SERVER_METADATA}
    annotations = result.get("annotations")
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        result["annotations"] = {name: text for name, text in annotations.items() if name != LAST_APPLIED}
    return result


def is_secret(object: Object) -> bool:
    """Whether this is a core Secret, whose values are never shown."""
    return object.get("kind") == "Secret" and object.get("apiVersion") == "v1"


def _secret_data(secret: Object) -> Object:
    plain = secret.get("stringData")
    data = secret.get("data") or {}
    if not isinstance(plain, dict) or not isinstance(data, dict):
        return secret  # refused by the server, in a message that is masked
    encoded = {name: _encoded(value) for name, value in plain.items()}
    return {name: value for name, value in secret.items() if name != "stringData"} | {
        "data": {**data, **encoded}
    }


def _encoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")


def applied_entry(object: Object, manager: str = MANAGER) -> Mapping[str, Any] | None:
    """The managedFields entry of a server-side apply to the object itself by this manager."""
    for entry in _items(metadata_of(object).get("managedFields")):
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ):
            return entry
    return None


def owned_hash(object: Object, manager: str = MANAGER) -> str:
    """A hash of the fields that this manager owns by apply, "" for none.

    It changes when somebody else changes or removes one of them, since ownership moves with the change; so drift is
    seen from metadata alone.
    """
    entry = applied_entry(object, manager)
    return hashlib.sha256(canonical(entry.get("fieldsV1"))).hexdigest() if entry else ""


def applyset_id(name: str, namespace: str, group: str = GROUP, kind: str = "Release") -> str:
    """The id of the ApplySet whose parent this is (KEP-3659, "Labels and annotations on the parent")."""
    parent = hashlib.sha256(f"{name}.{namespace}.{kind}.{group}".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(parent).decode('ascii').rstrip('=')}-v1"


def is_ours(object: Object, set_id: str, *, release_namespace: str | None = None) -> bool:
    """Whether the object belongs to this ApplySet by all four marks of the design (section 4, "Ownership").

    The label alone proves nothing: Services' labels are copied to EndpointSlices, `kubectl get -o yaml | apply` copies
    it too. Without `release_namespace` no Namespace is ours, so that none is deleted by mistake.
    """
    return (
        labels_of(object).get(PART_OF) == set_id
        and applied_entry(object) is not None
        and not _has_controller(object)
        and not _is_own_namespace(object, release_namespace)
    )


def _has_controller(object: Object) -> bool:
    return any(owner.get("controller") for owner in _items(metadata_of(object).get("ownerReferences")))


def _is_own_namespace(object: Object, release_namespace: str | None) -> bool:
    key = key_of(object)
    if (key.group, key.kind) != ("", "Namespace"):
        return False
    return release_namespace is None or key.name == release_namespace


def mask(object: Object) -> Object:
    """The object as it may be shown: a Secret without its values, nothing with kubectl's copy of it."""
    return _masked(object, {})


def mask_pair(before: Object | None, after: Object | None) -> tuple[Object | None, Object | None]:
    """Both sides of a diff as they may be shown: values that differ are told apart without being told."""
    changed = _changed_values(before or {}, after or {})
    return (
        None if before is None else _masked(before, dict.fromkeys(changed, f"{MASKED} (before)")),
        None if after is None else _masked(after, dict.fromkeys(changed, f"{MASKED} (after)")),
    )


def _changed_values(before: Object, after: Object) -> set[tuple[str, str]]:
    return {
        (part, str(name))
        for part in ("data", "stringData")
        for name in {**_mapping(before.get(part)), **_mapping(after.get(part))}
        if _mapping(before.get(part)).get(name) != _mapping(after.get(part)).get(name)
    }


def _masked(object: Object, words: Mapping[tuple[str, str], str]) -> Object:
    result = dict(object)
    if is_secret(object):
        for part in ("data", "stringData"):
            if part in object:
                result[part] = _masked_values(part, object[part], words)
    annotations = annotations_of(object)
    shown = {name: MASKED if _is_copy(object, name, text) else text for name, text in annotations.items()}
    if shown != annotations:
        result["metadata"] = {**metadata_of(object), "annotations": shown}
    return result


def _masked_values(part: str, values: object, words: Mapping[tuple[str, str], str]) -> object:
    if not isinstance(values, dict):
        return None if values is None else MASKED
    return {name: words.get((part, str(name)), MASKED) for name in values}


def _is_copy(object: Object, name: str, text: object) -> bool:
    if name == LAST_APPLIED:
        return True
    return is_secret(object) and redact(str(text), object) != str(text)


def redact(text: str, object: Object) -> str:
    """A text of others about this object, an API server's error above all, without the values of a Secret."""
    if not is_secret(object):
        return text
    for value in sorted(_secret_values(object), key=len, reverse=True):
        # A short value is replaced as a word only, or the text would be unreadable.
        pattern = re.escape(value) if len(value) > 3 else rf"(?<!\w){re.escape(value)}(?!\w)"
        text = re.sub(pattern, MASKED, text)
    # Go's own print of a value of a wrong type, and what validation quotes.
    text = re.sub(r"got &?value\.\w+\{.*?\}+", f"got {MASKED}", text, flags=re.DOTALL)
    return re.sub(r'Invalid value: (?:"(?:[^"\\]|\\.)*"|\S+)', f"Invalid value: {MASKED}", text)


def _secret_values(secret: Object) -> set[str]:
    values: set[str] = set()
    for part in ("data", "stringData"):
        for leaf in _leaves(secret.get(part)):
            values |= {
                leaf,
                json.dumps(leaf)[1:-1],
                _decoded(leaf) if part == "data" else str(_encoded(leaf)),
            }
    return {value for value in values if value.strip()}


def _leaves(value: object) -> Iterator[str]:
    """Every scalar below a part of a Secret; the keys of that part are no secrets, deeper ones may be."""
    pending: list[object] = list(value.values()) if isinstance(value, dict) else [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item
        elif item is not None and not isinstance(item, bool):
            yield str(item)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:
        return ""


def values_named(object: Object, names: tuple[str, ...]) -> Iterator[str]:
    """The values of these annotations or labels, in the order of `names`, without blanks around."""
    parts = (annotations_of(object), labels_of(object))
    for name in names:
        for part in parts:
            value = part.get(name)
            if isinstance(value, str):
                yield value.strip()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
