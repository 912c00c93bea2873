"""A server that knows SFTP version 3 and none of OpenSSH's extensions holds a repository."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml
from typing_extensions import override

from engines.backup.store.sftp import access
from engines.backup.store.sftp.files import FarFiles
from engines.backup.store.sftp.line import Line
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


class Together(FarFiles):
    """Asks for no VM's folder before eight of them are asked for at one time; a server may answer one by one."""

    _eight = asyncio.Barrier(8)

    @override
    def listing(self, folder: str) -> Callable[[asyncssh.SFTPClient], Awaitable[list[tuple[str, Any]]]]:
        work = super().listing(folder)

        async def waiting(client: asyncssh.SFTPClient) -> list[tuple[str, Any]]:
            if folder.rpartition("/")[2].startswith("vm"):
                await self._eight.wait()
            return await work(client)

        return waiting


@contextmanager
def serving(folder: Path, kind: type[asyncssh.SFTPServer]) -> Iterator[str]:
    """Its USER@HOST:PORT, for which access is arranged; `folder` is for its keys."""
    folder.mkdir()
    for name in ("host_key", "key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
    fingerprint = asyncssh.read_public_key(folder / "host_key.pub").get_fingerprint()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(folder / "host_key")],
            authorized_client_keys=str(folder / "key.pub"),
            sftp_factory=kind,
        )

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    place = f"root@127.0.0.1:{acceptor.get_port()}"
    path = access.access_file()
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({place: {"key_file": str(folder / "key"), "host_key": fingerprint, "patience": 10}}))
    try:
        yield place
    finally:
        loop.call_soon_threadsafe(acceptor.close)


def test_it_does_all_that_a_repository_needs(tmp_path: Path) -> None:
    with serving(tmp_path / "keys", Plain) as place:
        repo = f"sftp://{place}{tmp_path}/far"
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


def test_folders_of_one_depth_are_listed_side_by_side(tmp_path: Path) -> None:
    for number in range(8):
        disk = tmp_path / f"far/points/vm{number}/disk0"
        disk.mkdir(parents=True)
        (disk / "one.point").write_text("x" * number)
    with serving(tmp_path / "keys", asyncssh.SFTPServer) as place:
        address = access.parse(f"sftp://{place}{tmp_path}/far")
        line = Line(address, access.load(address))
        line.open()
        files = Together(line, address.path)
        found = list(files.listed_all([f"points/vm{number}" for number in range(8)]))
        line.end()
        store = open_sftp(f"sftp://{place}{tmp_path}/far")
        sizes = list(store.sizes("points"))
        store.close()
    assert [[name for name, _ in one] for one in found if isinstance(one, list)] == [["disk0"]] * 8
    assert sizes == [(f"points/vm{number}/disk0/one.point", number) for number in range(8)]


class Short(asyncssh.SFTPServer):
    """Answers with half of what was asked for at most, as a server may."""

    @override
    def read(self, file_obj: object, offset: int, size: int) -> Any:
        return super().read(file_obj, offset, min(size, 16384))


@pytest.mark.parametrize("server", [Short, asyncssh.SFTPServer])
@pytest.mark.parametrize("listed", [False, True])
def test_an_answer_that_is_shorter_than_the_question_is_not_the_end_of_a_file(
    tmp_path: Path, server: type[asyncssh.SFTPServer], listed: bool
) -> None:
    sizes = (0, 1, 16384, 32768, 40_000, 65_536, 100_000, 300_000)
    (tmp_path / "far").mkdir()
    for size in sizes:
        (tmp_path / "far" / f"{size}.json").write_bytes(os.urandom(size))
    with serving(tmp_path / "keys", server) as place, closing(open_sftp(f"sftp://{place}{tmp_path}/far")) as store:
        if listed:
            assert sorted(size for _, size in store.sizes("")) == sorted(sizes)
            for size in (40_000, 65_536):
                with (tmp_path / "far" / f"{size}.json").open("ab") as grown:
                    grown.write(b"since")
        found = dict(store.read_all([f"{size}.json" for size in sizes], 70_000))
    for name, content in found.items():
        assert content == (tmp_path / "far" / name).read_bytes()[:70_000], name


class Generous(asyncssh.SFTPServer):
    """Says that each file is a pebibyte, and answers with more than was asked for."""

    @override
    def read(self, file_obj: object, offset: int, size: int) -> Any:
        return bytes(size + 1)

    @override
    def fstat(self, file_obj: object) -> Any:
        return asyncssh.SFTPAttrs(size=1 << 50)


@pytest.mark.parametrize(("asked", "said"), [((), "gives no end"), ((5, 1000), "more than the 1000 bytes")])
def test_a_server_that_gives_more_than_was_asked_for_fills_no_memory(
    tmp_path: Path, asked: tuple[int, ...], said: str
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "config.json").write_bytes(bytes(100_000))
    with (
        serving(tmp_path / "keys", Generous) as place,
        closing(open_sftp(f"sftp://{place}{tmp_path}/far")) as store,
        pytest.raises(OSError, match=said),
    ):
        store.read("config.json", *asked)
