"""A repository that somebody else can write has no say in how long, how deep and with how much memory it is read."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import api
from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.pages import mapping
from engines.backup.repository import config, lock_setting, point, quarantine, sessions, verified
from engines.backup.repository.keys import Kdf, Unlock
from engines.backup.store.local import LocalStore
from engines.job.errors import Refused
from engines.job.params import Secret
from tests.absent import absent
from tests.engines.backup import lab

GOOD: dict[str, Any] = {
    "format": 1, "id": "ab" * 16, "block": 1 << 20, "pack": 64 << 20, "created": "", "cipher": "aes-256-gcm",
    "wrapped": "ab" * 60, "kdf": "scrypt", "salt": "ab" * 16, "n": 1 << 15, "r": 8, "p": 1,
}  # fmt: skip


def kept(folder: Path, **changed: Any) -> LocalStore:
    """A config that fits its check, which nobody needs a key for."""
    folder.mkdir(exist_ok=True)
    made = msgspec.convert({**GOOD, **changed}, config.Config)
    (folder / "config.json").write_bytes(config.written(made))
    return LocalStore(folder)


WAY = {
    "name": "a",
    "kind": "scrypt",
    "added": "",
    "wrapped": "ab" * 60,
    "salt": "ab" * 16,
    "n": 1 << 15,
    "r": 8,
    "p": 1,
}
BARE = {"format": 2, "wrapped": "", "kdf": "", "salt": "", "n": 0, "r": 0, "p": 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "zz" * 16}, {"wrapped": "x"}, {"salt": "\u00e9" * 4},
        {"cipher": "none", "wrapped": "", "secret": "g" * 64},
        {**BARE, "ways": ({**WAY, "wrapped": "xyz"},)}, {**BARE, "ways": ({**WAY, "salt": "0"},)},
        {**BARE, "ways": (WAY,) * 40},
    ],
)  # fmt: skip
def test_a_config_of_what_is_no_hex_or_of_countless_keys_is_damaged(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert config.load(kept(tmp_path / "good")).id == "ab" * 16
    with pytest.raises(Damaged, match="out of bounds"):
        config.load(kept(tmp_path / "repo", **changed))


@pytest.mark.parametrize("n", [-1, 0, 3, (1 << 15) + 1, 1 << 18, 1 << 20, 1 << 60])
def test_a_key_derivation_that_takes_long_or_much_or_is_none_is_refused(n: int) -> None:
    with pytest.raises(Refused, match="out of bounds"):
        Unlock("", Secret("x")).key(Kdf("scrypt", "ab" * 16, n, 8, 1))


def test_folders_in_folders_without_an_end_are_left_at_some_depth(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):  # more than any path is long
        os.mkdir("points", dir_fd=at)
        below = os.open("points", os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    (tmp_path / "points/web1.point").touch()
    try:
        assert list(LocalStore(tmp_path).names("points")) == ["points/web1.point"]
        LocalStore(tmp_path).sweep()
    finally:
        subprocess.run(["rm", "-rf", "--", tmp_path / "points"], check=True)  # deeper than Python's own can go


def test_times_that_are_none_end_nothing(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    disk = tmp_path / "disk"
    disk.write_bytes(lab.block(1))
    good = names.parse(lab.backup(repo, disk))
    path = Path(repo, good.path())
    for when in ("99991399T999999Z", "20260231T000000Z", "00000101T000000Z", "20260101T250000Z"):
        path.with_name(f"{when}.point").write_bytes(path.read_bytes())
    assert good.time in str(api.look("backup", "list", repo=repo))
    lab.perform_job("backup-prune", repo=repo, keep_last=1)
    lab.perform_job("backup-gc", repo=repo)


def test_json_nested_without_an_end_is_what_cannot_be_read_and_ends_nothing(tmp_path: Path) -> None:
    """One note like that had every list, backup and gc of the repository end in a fault."""
    store = kept(tmp_path / "repo")
    deep = b'{"x":' * 50_000 + b"1" + b"}" * 50_000
    for name in (f"sessions/{'ab' * 16}.json", f"quarantine/{'ab' * 16}-64.json", "verified/x-ab.json", "lock.json"):
        store.put(name, deep)
    assert [each.does for each in sessions.every(store)] == ["a session that cannot be read"]
    assert (list(quarantine.every(store)), verified.last_verified(store)) == ([], {})
    with pytest.raises(Damaged):
        lock_setting.load(store)
    with pytest.raises(Damaged):
        point.decode(len(deep).to_bytes(4, "little") + deep, "a point")


def test_a_point_of_blocks_that_no_repository_has_is_damaged() -> None:
    """Blocks of one byte had `ls` and `diff` of a disk of 256 MiB go through 268,435,456 of them."""
    good = {"vm": "a", "disk": "d", "time": "20261130T000000Z", "size": 512, "session": "ab" * 16}
    for size, fits in ((1 << 20, True), (1 << 19, False), (1, False)):
        head = json.dumps({**good, "block": size}).encode()
        content = len(head).to_bytes(4, "little") + head + bytes(32)
        if fits:
            assert point.decode(content, "a point").blocks == 1
        else:
            with pytest.raises(Damaged, match="block"):
                point.decode(content, "a point")


@pytest.mark.parametrize("began", [-1, 1e300, 1e18])
def test_a_session_of_no_time_is_one_that_cannot_be_read(tmp_path: Path, began: float) -> None:
    (tmp_path / "sessions").mkdir()
    holder = {"pid": 10**30, "start": -1, "boot": "x", "run": ""}
    said = {"id": "ab" * 16, "kind": "write", "does": "x", "host": "h", "pidns": "", "holder": holder, "began": began}
    (tmp_path / f"sessions/{'ab' * 16}.json").write_text(json.dumps(said))
    (found,) = sessions.every(LocalStore(tmp_path))
    assert found.explained(alive=True)


def test_a_note_of_a_bad_record_that_names_none_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    said = {"id": "x", "kind": 1, "pack": "../..", "offset": 1, "why": "", "found": ""}
    (tmp_path / f"quarantine/{'ab' * 16}-1.json").write_text(json.dumps(said))
    assert list(quarantine.every(LocalStore(tmp_path))) == []


@pytest.mark.parametrize("writable", [False, True])
def test_a_file_of_another_that_is_cut_while_it_is_read_kills_nobody(tmp_path: Path, writable: bool) -> None:
    """A page of a mapped file that is no more raises SIGBUS; what is held in memory stays."""
    path = tmp_path / "index"
    path.write_bytes(b"x" * (1 << 20))
    os.chown(path, 65534, 65534)
    with path.open("r+b") as stream:
        held: Any = (
            mapping.Writable(stream.fileno(), 1 << 20) if writable else mapping.readable(stream.fileno(), 1 << 20)
        )
        os.truncate(path, 0)
        child = os.fork()
        if not child:
            os._exit(0 if (held.bytes if writable else held)[-1:] == b"x" else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_what_lies_beside_is_never_read_whole(tmp_path: Path) -> None:
    """A config of a terabyte costs a hole."""
    folder = tmp_path / "repo"
    folder.mkdir()
    with (folder / "config.json").open("wb") as made:
        made.truncate(1 << 40)
    tracemalloc.start()
    try:
        with pytest.raises((Damaged, Refused)):
            config.load(LocalStore(folder))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("folder", ["index", "positions/web1/disk0", "verified", "packs"])
def test_root_writes_and_deletes_nothing_where_a_link_of_another_user_leads(tmp_path: Path, folder: str) -> None:
    """`verify --rebuild` removed all that was in and below any folder of the machine; a backup did by positions/."""
    if os.geteuid() != 0:
        absent("root, which alone is kept from the links of others")
    repo, disk, theirs = lab.init(tmp_path / "repo"), tmp_path / "disk", tmp_path / "theirs"
    disk.write_bytes(lab.block(1))
    lab.backup(repo, disk)
    (theirs / "below").mkdir(parents=True)
    for name in ("config.json", "below/shadow"):
        (theirs / name).write_bytes(b"theirs")
    link = Path(repo, folder)
    link.rename(tmp_path / "away")
    link.symlink_to(theirs)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    disk.write_bytes(lab.block(2))
    for task, words in (("backup", {"source": str(disk), "vm": "web1"}), ("backup-verify", {"rebuild": True})):
        with contextlib.suppress(Refused):
            lab.perform_job(task, repo=repo, **words)
        assert sorted(path.name for path in theirs.rglob("*")) == ["below", "config.json", "shadow"]
        assert all(path.read_bytes() == b"theirs" for path in theirs.rglob("*") if path.is_file())


def test_rebuilt_are_index_files_and_nothing_else_goes(tmp_path: Path) -> None:
    repo, disk = lab.init(tmp_path / "repo"), tmp_path / "disk"
    disk.write_bytes(lab.block(1))
    lab.backup(repo, disk)
    others = [Path(repo, name) for name in ("index/notes", "index/below/shadow", "positions/web1/disk0/x")]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"theirs")
    lab.perform_job("backup-verify", repo=repo, rebuild=True)
    disk.write_bytes(lab.block(2))
    lab.backup(repo, disk)
    assert [path.read_bytes() for path in others] == [b"theirs"] * 3
