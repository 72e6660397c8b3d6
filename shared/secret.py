"""A secret that the configuration names and never holds: `{env: NAME}` or `{file: PATH}`.

A file is read again when it changed, so that a rotated secret counts without a restart. Nothing is kept of one that
cannot be read.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from towline.shared.errors import ConfigError

SIZE_LIMIT = 1024 * 1024  # bytes; keys and lists of known hosts are far smaller

REMEMBERED = 4  # values of one secret; a log line may still hold one that was rotated

# Which state of a file was read: Kubernetes swaps a link (another inode), people write in place.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: Stamp
    value: str


class Secret:
    """Where one secret is; prints as that, never as its value."""

    __slots__ = ("_known", "_last", "env", "file")

    def __init__(self, *, env: str | None = None, file: Path | None = None) -> None:
        self.env = env
        self.file = file
        self._last: _Read | None = None
        self._known: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{{env: {self.env}}}" if self.file is None else f"{{file: {self.file}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.env, self.file) == (other.env, other.file)

    def __hash__(self) -> int:
        return hash((self.env, self.file))

    def value(self) -> str:
        """The secret as it is now, without line ends behind it; ConfigError when it is missing or empty."""
        value = self._from_file(self.file) if self.file is not None else os.environ.get(self.env or "", "")
        if not value:
            raise ConfigError(f"the secret {self!r} is empty or not set", hint="set it, or correct its name")
        if value not in self._known:
            self._known = (value, *self._known[: REMEMBERED - 1])
        return value

    def known(self) -> tuple[str, ...]:
        """The values it had while this process used it, for redaction; looked up once when it was never used."""
        if not self._known:
            with suppress(ConfigError):
                self.value()
        return self._known

    def _from_file(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                if self._last is not None and self._last.stamp == stamp:
                    return self._last.value
                data = file.read(SIZE_LIMIT + 1)
            if len(data) > SIZE_LIMIT:
                raise ConfigError(f"the secret {self!r} is larger than {SIZE_LIMIT:,} bytes")
            value = data.decode("utf-8").rstrip("\r\n")
        except OSError as error:
            self._last = None
            raise ConfigError(f"the secret {self!r} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"the secret {self!r} is not UTF-8 text") from error
        self._last = _Read(stamp, value)
        return value


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
