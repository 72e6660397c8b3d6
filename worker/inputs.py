"""Everything that a service is rendered from, as one digest, found without rendering it.

In: a tree and a service. Out: a digest that changes when, and only when, something changes that the render reads: its
files (for Kustomize the closure over bases and components), its entry in .towline.yaml, the operator's settings, the
renderer and its version. State: none of its own; folders are remembered by id where they are read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from towline.shared.errors import Problem
from towline.worker.render.closure import closure_of
from towline.worker.render.plain import sources_of
from towline.worker.render.programs import Programs
from towline.worker.services import Renderer, Service
from towline.worker.tree import Tree

RENDER_VERSION = "1"  # raised when a change of ours makes other objects of the same files


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a render reads; with problems it cannot be rendered, and its digest changes when they do."""

    digest: str
    paths: frozenset[str]
    problems: tuple[Problem, ...] = ()


def inputs_of(
    tree: Tree, service: Service, *, environment: str, programs: Programs | None = None, settings: str = ""
) -> Inputs:
    """The inputs of a service in an environment; nothing is raised for what a repository holds.

    `settings`: the operator's part, any text that changes when the environment is configured differently.
    """
    digest, paths, problems = _files(tree, service)
    version = (
        programs.version(service.renderer) if programs and service.renderer is not Renderer.PLAIN else ""
    )
    seed = [RENDER_VERSION, environment, settings, service.renderer, service.path, service.entry_digest]
    seed += [version, digest, str(service.problem or "")]
    return Inputs(digest=_digest(seed), paths=paths, problems=problems)


def _files(tree: Tree, service: Service) -> tuple[str, frozenset[str], tuple[Problem, ...]]:
    if service.problem is not None:
        return "", frozenset(), ()
    if service.renderer is Renderer.PLAIN:
        sources = sources_of(tree, service.path)
        return sources.digest, sources.paths, sources.problems
    if service.renderer is Renderer.KUSTOMIZE:
        closure = closure_of(tree, service.path)
        return closure.digest, closure.paths, closure.problems
    folder = tree.entry(service.path)  # of a chart everything may be read by its templates
    return folder.id if folder else "", frozenset(), ()


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
