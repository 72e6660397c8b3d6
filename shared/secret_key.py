"""The installation's secret key, behind every signature that Towline itself makes: job arguments, tokens, sessions.

It is `server.secret_key` when that is configured. Otherwise a random one is made once and kept in the file
`secret_key` under `data_dir`, readable by its owner only. Whoever is killed while making it leaves a file with another
name, which nobody reads; of several processes that make it at the same time one wins and all use its key.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from towline.shared.config import Config
from towline.shared.errors import ConfigError

FILE_NAME = "secret_key"
SHORTEST = 32  # characters: a shorter one could be guessed from the signature of a job or token
SIZE_LIMIT = 4096  # bytes; a longer file is not a key


def secret_key(config: Config) -> str:
    """The secret key; raises ConfigError when it cannot be had or is too short."""
    if config.server.secret_key is None:
        return kept_key(config.data_dir / FILE_NAME)
    key = config.server.secret_key.value()
    if len(key) < SHORTEST:
        raise ConfigError(
            f"server.secret_key has {len(key)} characters, fewer than {SHORTEST}",
            hint="make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'",
        )
    return key


def kept_key(path: Path) -> str:
    """The key in this file, which is made when it is not there."""
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise ConfigError(
            f"the secret key cannot be kept in {path}: {error.strerror}",
            hint="make data_dir writable for this user, or set server.secret_key",
        ) from error


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(SIZE_LIMIT).decode("ascii", "replace").strip()
    if mode & 0o077:
        raise ConfigError(f"{path} can be read by others (mode {mode:04o})", hint=f"chmod 600 {path}")
    if len(text) < SHORTEST:
        raise ConfigError(f"{path} does not hold a key", hint=f"remove {path}: a new one is made")
    return text


def _make(path: Path) -> None:
    """Write the whole key under another name first: nobody may ever read half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first: its key counts
    finally:
        draft.unlink()
