"""Private folders of renders whose worker was killed."""

import os
import time

from towline.worker.render.kustomize import LEFT_SECONDS, PREFIX, remove_left_folders


def test_what_killed_workers_left_is_removed_and_nothing_else(tmp_path):
    now = time.time()
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, age in (("old", LEFT_SECONDS + 1), ("young", LEFT_SECONDS - 60)):
        folder = tmp_path / f"{PREFIX}{name}"
        folder.mkdir()
        (folder / "file").touch()
        os.utime(folder, (now - age, now - age))
    (tmp_path / f"{PREFIX}link").symlink_to(kept)

    remove_left_folders(tmp_path, now=now)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", f"{PREFIX}link", f"{PREFIX}young"]
