"""From a service to its objects, whichever renderer it has.

In: a tree, a service and its inputs. Out: its objects, in the order of the files, each with its place; the same bytes
give the same objects. Raises RenderError (EmptyRender, ProgramLimit) with everything that is wrong, by file and line.
State: none that outlives the call. The rules for people stand in docs/render.md.
"""

from __future__ import annotations

from towline.shared.errors import EmptyRender, Problem, RenderError
from towline.worker.inputs import Inputs
from towline.worker.render import kustomize, plain
from towline.worker.render.objects import failed, objects_of
from towline.worker.render.programs import Programs
from towline.worker.render.rendered import Loaded, Rendered
from towline.worker.services import Renderer, Service
from towline.worker.tree import Tree

__all__ = ["Rendered", "render"]


def render(
    tree: Tree, service: Service, inputs: Inputs, *, environment: str, programs: Programs
) -> tuple[Rendered, ...]:
    """The objects of a service; never none, as an empty render would mean to delete everything."""
    if service.problem is not None:
        raise service.problem
    if inputs.problems:
        raise failed(inputs.problems, what=f"{service.name} cannot be rendered for {environment}")
    objects = objects_of(_documents(tree, service, inputs, programs), substitute=service.substitute)
    if not objects:
        raise EmptyRender(
            f"{service.name} renders no object for {environment}, from {service.path or 'the root'}",
            hint="to remove a service, remove its folder or its entry; an empty one is taken for a mistake",
        )
    return objects


def _documents(tree: Tree, service: Service, inputs: Inputs, programs: Programs) -> list[Loaded]:
    if service.renderer is Renderer.KUSTOMIZE:
        return kustomize.build(tree, service.path, inputs.paths, programs=programs)
    if service.renderer is Renderer.HELM:
        raise RenderError(
            f"{service.path} is a Helm chart, which Towline does not render yet",
            hint="commit its manifests (helm template), or use a kustomization",
        )
    problems: list[Problem] = []
    documents = [
        document
        for source in plain.sources_of(tree, service.path).files
        for document in plain.read(tree, source, problems)
    ]
    if problems:
        raise failed(problems, what=f"{service.name} cannot be rendered")
    return documents
