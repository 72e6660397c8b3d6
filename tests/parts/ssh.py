"""An ssh server on loopback that serves Git repositories, so that no sshd has to be on the machine (asyncssh).

Each server makes its own host key, and one key of a user whom it lets in.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from parts.git import Origin


class SshServer:
    """`url(origin)` is where a repository is; `known_hosts` is the line that trusts this server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.is_hanging = False
        self.sessions = 0
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    @property
    def private_key(self) -> str:
        """The user's key, as OpenSSH writes it."""
        return self.user_key.export_private_key("openssh").decode()

    def private_key_with(self, passphrase: str) -> str:
        """The same, encrypted."""
        return self.user_key.export_private_key("pkcs8-pem", passphrase).decode()

    @property
    def known_hosts(self) -> str:
        """What `ssh-keyscan` would print."""
        return f"[127.0.0.1]:{self._port} {self.host_key.export_public_key().decode().strip()}\n"

    def origin(self, name: str = "shop") -> Origin:
        """A new repository on it."""
        return Origin(self.folder / f"{name}.git", base_url=f"ssh://git@127.0.0.1:{self._port}")

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._ready.wait(10), "the ssh server did not start"

    def stop(self) -> None:
        """End, with all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listener = self._loop.run_until_complete(self._listen())
        self._port = listener.get_port()
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close(listener))
        self._loop.close()

    async def _close(self, listener: Any) -> None:
        listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> Any:
        authorized = asyncssh.import_authorized_keys(self.user_key.export_public_key().decode())
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=authorized,
            process_factory=self._serve,
            encoding=None,
        )

    async def _serve(self, process: Any) -> None:
        self.sessions += 1
        match = re.fullmatch(r"git-upload-pack '/([\w.-]+)'", process.command or "")
        if self.is_hanging:
            await asyncio.sleep(3600)
        if match is None:
            process.exit(1)
            return
        command = ["git", "-c", "safe.directory=*", "upload-pack", str(self.folder / match[1])]
        child = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        there = asyncio.create_task(_pump(process.stdin, child.stdin))
        await _pump(child.stdout, process.stdout)
        there.cancel()
        process.exit(await child.wait())


async def _pump(source: Any, target: Any) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[SshServer]:
    """An ssh server of this test alone."""
    folder = tmp_path / "ssh-server"
    folder.mkdir()
    server = SshServer(folder)
    server.start()
    yield server
    server.stop()
