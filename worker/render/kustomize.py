"""Kustomize: the program, in a private folder that holds nothing but the closure of the kustomization.

In: a tree, the folder of a kustomization and its closure's paths. Out: the documents that it builds, each with the
file it most likely comes from. State: a private folder in the temporary directory while the program runs. Killed
half-way: that folder is left, and removed when a worker starts an hour later or more; nothing else was touched.

Kustomize confines files to the kustomization's folder, but not folders, fetches URLs in every path field and runs git
for remote bases. So the closure was checked before (worker/render/closure.py), the folder holds nothing else, and
there is no network and no git. Never used: --enable-helm, --enable-exec, --enable-alpha-plugins, --network.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from towline.shared.documents import load_documents
from towline.shared.errors import ConfigError, Problem, RenderError, Unavailable
from towline.worker.checkout import write_checkout
from towline.worker.render.kustomization import FILE_NAMES
from towline.worker.render.origins import Origins
from towline.worker.render.programs import LIMITS, Finished, Limits, Programs, run
from towline.worker.render.rendered import Loaded
from towline.worker.resolve import resolve
from towline.worker.tree import Tree

PREFIX = "towline-render-"
LEFT_SECONDS = 3600.0  # no render takes so long; by age, since a pid of another container means nothing here
SHOWN_BYTES = 2_000  # of what kustomize says; its messages nest, the last part is the cause
LINE = re.compile(r"\bline (\d+)")
FILE = re.compile(r"in File: (\S+)|'([^'\n]+)'|\"([^\"\n]+)\"|(?:open|read) (\S+?):")


def build(
    tree: Tree, folder: str, paths: frozenset[str], *, programs: Programs, limits: Limits = LIMITS
) -> list[Loaded]:
    """Build the kustomization in `folder`; raises RenderError with file and line where kustomize tells them."""
    program = programs.path("kustomize")
    entry = resolve(tree, folder).entry
    real = entry.path if entry else folder
    with _private_folder() as private:
        root = Path(private)
        write_checkout(tree, paths, root)
        finished = run([program, "build", root / real], folder=root, limits=limits)
    if finished.status != 0:
        raise failed(finished, root=root, folder=real, paths=paths)
    return _documents(finished.output, Origins(tree, real, paths))


def _private_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise Unavailable(
            f"no private folder can be made for a render: {error.strerror}", hint="make room in TMPDIR"
        ) from error


def remove_left_folders(folder: Path, *, now: float) -> None:
    """Remove the private folders that killed workers left in the temporary directory; only our user's."""
    for left in folder.glob(f"{PREFIX}*"):
        try:
            found = left.lstat()
        except OSError:
            continue  # removed by its owner just now
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if is_ours and now - found.st_mtime > LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _documents(output: bytes, origins: Origins) -> list[Loaded]:
    try:
        documents = load_documents(output, file="the output of kustomize")
    except ConfigError as error:
        raise RenderError(
            "kustomize wrote YAML that cannot be read",
            hint="run kustomize build on it",
            problems=error.problems,
        ) from error
    places = ((document.value, *origins.of(document.value)) for document in documents)
    return [Loaded(value=value, file=file, line=line) for value, file, line in places]


def failed(finished: Finished, *, root: Path, folder: str, paths: Iterable[str]) -> RenderError:
    """What kustomize says, without the private folder's name, at the file and line that it names."""
    text = _said(finished.message).replace(f"{root}/", "").replace(str(root), ".")
    file, line = _place(text, folder, sorted(paths))
    return RenderError(
        f"kustomize cannot build {folder or 'the root of the repository'}",
        hint="kustomize build on a checkout of this commit says the same",
        problems=[Problem(message=text[-SHOWN_BYTES:], file=file, line=line)],
    )


def _said(message: str) -> str:
    """The error without the warnings about old fields before it."""
    text = message[message.find("Error: ") + len("Error: ") :] if "Error: " in message else message
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split()) or "it said nothing"


def _place(text: str, folder: str, paths: Sequence[str]) -> tuple[str | None, int | None]:
    """The last file of the closure that the message names, and the line in it; else the kustomization itself."""
    for match in reversed(list(FILE.finditer(text))):
        named = next(filter(None, match.groups())).strip("./")
        if file := _known(named, paths):
            line = LINE.search(text)
            return file, int(line[1]) if line else None
    return _known(folder, paths), None


def _known(named: str, paths: Sequence[str]) -> str | None:
    """A file of the closure by its path, by the end of its path, or by its folder if it is a kustomization."""
    kustomizations = {posixpath.join(named, name) for name in FILE_NAMES}
    ends = (path for path in paths if path == named or path.endswith(f"/{named}"))
    return next(ends, None) or next((path for path in paths if path in kustomizations), None)
