"""A server that knows SFTP version 3 and none of OpenSSH's extensions holds a repository."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from engines.backup.store.sftp import access
from engines.backup.store.sftp.store import open_sftp
from engines.doctor import examine_place
from tests.engines.backup import lab


class Plain(asyncssh.SFTPServer):
    """Renames to new names only, links nothing, syncs nothing, and does not know how full it is."""

    def _lacks(self, *_: Any) -> Any:
        raise asyncssh.SFTPOpUnsupported("not known here")

    link = posix_rename = fsync = statvfs = _lacks  # type: ignore[assignment]  # it only ever raises

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        if Path(self.map_path(newpath).decode()).exists():
            raise asyncssh.SFTPFailure("Failure")
        return super().rename(oldpath, newpath)


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Its port; whoever has `folder`/key is let in."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(folder / "host_key")],
            authorized_client_keys=str(folder / "key.pub"),
            sftp_factory=Plain,
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    try:
        yield int(acceptor.get_port())
    finally:
        loop.call_soon_threadsafe(acceptor.close)


def test_it_does_all_that_a_repository_needs(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("host_key", "key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
    fingerprint = asyncssh.read_public_key(folder / "host_key.pub").get_fingerprint()
    with serving(folder) as port:
        path = access.access_file()
        path.parent.mkdir(parents=True)
        entry = {"key_file": str(folder / "key"), "host_key": fingerprint, "patience": 10}
        path.write_text(yaml.safe_dump({f"root@127.0.0.1:{port}": entry}))
        repo = f"sftp://root@127.0.0.1:{port}{tmp_path}/far"
        lab.done("backup-init", repo=repo)
        said = examine_place(repo)[0].says
        for lacking in ("no hard links", "posix-rename@", "fsync@", "fsync of folders", "statvfs@"):
            assert lacking in said
        source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 4 * lab.MIB)
        before = source.read_bytes()
        first = lab.backup(repo, source)
        lab.disk(source, {0: 5, 3: 2}, 4 * lab.MIB)
        second = lab.backup(repo, source)
        store = open_sftp(repo)
        with pytest.raises(FileExistsError):
            store.put(f"points/{first.replace('@', '/')}.point", b"", new=True)
        store.close()
        assert lab.content(repo, first) == before
        assert lab.content(repo, second) == source.read_bytes()
        lab.done("backup-prune", repo=repo, keep_last=1)
        lab.done("backup-gc", repo=repo)
        assert lab.verified(repo=repo)["whole"] == 1
    assert not [path for path in (tmp_path / "far").rglob("*") if path.name.startswith(".tmp-")]
