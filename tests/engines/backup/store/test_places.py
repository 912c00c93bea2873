"""Places that can do less than a local disk: without links, read-only, another user's, with a clock of their own."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import yaml
from typing_extensions import override

from engines.backup import names
from engines.backup.errors import Damaged
from engines.backup.repository import config, sessions, spelling
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.store.local import LocalStore
from engines.backup.store.sftp import access
from engines.doctor import examine_place
from engines.job.contract import RunFailed
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.store import crippled
from tests.engines.backup.store.sshd import Sshd


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder as a file system that is mounted read-only."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_system_without_links_folder_syncs_modes_and_mapping_holds_a_repository(tmp_path: Path) -> None:
    behind, at = tmp_path / "behind", tmp_path / "at"
    behind.mkdir()
    at.mkdir()
    source = lab.disk(tmp_path / "disk", {0: 1, 7: 2, 9: 3}, 16 * lab.MIB)
    before = source.read_bytes()
    with crippled.mounted(behind, at) as place:
        (place / "x").write_bytes(bytes(4096))
        with pytest.raises(PermissionError):
            os.link(place / "x", place / "y")
        with (place / "x").open("r+b") as stream, pytest.raises(OSError, match="No such device") as refused:
            mmap.mmap(stream.fileno(), 4096)
        assert refused.value.errno == errno.ENODEV
        (place / "x").unlink()
        repo = lab.init(place / "repo", pack=2 * lab.MIB)
        said = examine_place(repo)[0]
        assert said.works
        for lacking in ("no hard links", "no fsync of folders", "no shared mappings", "no modes"):
            assert lacking in said.says
        other = str(lab.disk(tmp_path / "other", {0: 1}, lab.MIB))
        with pytest.raises(Refused, match="for one name"):  # where nothing is yet, too
            lab.perform_job("backup", repo=repo, source=str(source), more=[other], vm="web1", disk=["sda", "SDA"])
        with Repository.glance(repo) as glance, pytest.raises(Refused, match="web1/guest and web1/Guest for one name"):
            spelling.refuse_twin(glance, [("web1", "Guest"), ("web1", names.GUEST)])
        first = lab.backup(repo, source)
        lab.disk(source, {0: 1, 7: 9, 9: 3}, 16 * lab.MIB)
        second = lab.done("backup", repo=repo, source=str(source), vm="web1", limit="none")
        assert second["changed"] == lab.MIB
        store = LocalStore(Path(repo))
        with pytest.raises(FileExistsError):
            store.put(f"points/{first.replace('@', '/')}.point", b"", new=True)
        assert lab.content(repo, first) == before
        assert lab.content(repo, second["point"]) == source.read_bytes()
        assert lab.verified(repo=repo)["whole"] == 2
        for twin in ({"vm": "WEB1"}, {"vm": "web1", "disk": ["Disk0"]}, {"vm": "Web1", "disk": ["disk1"]}):
            with pytest.raises(Refused, match="for one name"):
                lab.perform_job("backup", repo=repo, source=str(source), limit="none", **twin)
        with pytest.raises(Refused, match="for one name"):
            lab.perform_job("backup-rename", repo=repo, vm="web1", to="Web1")
        file = str(place / "web1.tar")
        lab.done("backup-export", repo=repo, point=second["point"], file=file)
        assert lab.content(file, second["point"]) == source.read_bytes()
        lab.done("backup-prune", repo=repo, keep_last=1)
        lab.done("backup-gc", repo=repo)
        assert lab.content(repo, second["point"]) == source.read_bytes()
    assert not [path for path in behind.rglob("*") if path.name.startswith(".tmp-")]


def test_the_doctor_says_of_a_good_place_that_it_is_and_of_none_why(tmp_path: Path) -> None:
    assert not examine_place(str(tmp_path / "none"))[0].works
    repo = lab.init(tmp_path / "repo")
    before = sorted(Path(repo).rglob("*"))
    (said,) = examine_place(repo)
    assert said.works and "has all" in said.says and sorted(Path(repo).rglob("*")) == before
    with read_only(Path(repo)):
        (said,) = examine_place(repo)
    assert not said.works and "nothing can be written there: Read-only" in said.says


def test_a_repository_that_can_only_be_read_is_listed_restored_and_verified(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 4 * lab.MIB)
    point = lab.backup(repo, source)
    with read_only(Path(repo)):
        assert lab.content(repo, point) == source.read_bytes()
        assert not lab.warned("backup-restore", repo=repo, point=point, target=str(tmp_path / "out"))
        assert lab.verified(repo=repo)["hit"] == []
        with lab.opened(repo) as repository:
            assert [str(name) for name, _ in repository.every()] == [point]
        _, last = lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none")
        assert isinstance(last, RunFailed) and "cannot be written" in last.why


def test_a_session_whose_file_could_not_be_removed_keeps_nobody_waiting(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    store = LocalStore(Path(repo))
    for kind in ("gc", "write"):
        with ExitStack() as away, suppress(KeyError), Presence(store, kind, "a run whose store goes away") as presence:
            presence.stores = kind == "write"
            assert [session.id for session in sessions.living(store)] == [presence.session.id]
            away.enter_context(read_only(Path(repo)))
            raise KeyError
        assert Path(repo, presence.session.path).exists() and sessions.living(store) == []
    lab.done("backup-gc", repo=repo)


def test_a_server_that_refuses_every_write_is_restored_from(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    source = lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 4 * lab.MIB)
    point = lab.backup(repo, source)
    folder = tmp_path / "sshd"
    folder.mkdir()
    sshd = Sshd(folder)
    text = (folder / "config").read_text().replace("internal-sftp", "internal-sftp -R")
    (folder / "config").write_text(text)
    with sshd as running:
        path = access.access_file()
        path.parent.mkdir(parents=True)
        entry = {"key_file": str(folder / "key"), "host_key": running.fingerprint, "patience": 10}
        path.write_text(yaml.safe_dump({running.place: entry}))
        assert lab.content(running.url(Path(repo)), point) == source.read_bytes()


def test_what_root_writes_belongs_to_the_repositorys_owner_with_its_rights(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    for path in (Path(repo), *Path(repo).rglob("*")):
        os.chown(path, 65534, 65534)
    Path(repo).chmod(0o750)
    source = lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)
    lab.backup(repo, source)
    made = [path for path in Path(repo).rglob("*") if path.name.endswith((".pack", ".point", ".pos", "web1"))]
    assert len(made) >= 5
    for path in made:
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (65534, 65534), path
        assert stat.S_IMODE(found.st_mode) == (0o750 if path.is_dir() else 0o640), path


def test_a_pack_that_may_not_be_read_is_named_and_the_points_are_listed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = lab.init(Path(folder, "repo"))
        lab.backup(repo, lab.disk(Path(folder, "disk"), {0: 1}, 2 * lab.MIB))
        for path in (Path(folder), Path(repo), *Path(repo).rglob("*")):
            os.chown(path, 65534, 65534)
        pack = next(Path(repo, "packs").glob("*.pack"))
        os.chown(pack, 0, 0)
        os.setegid(65534)
        os.seteuid(65534)
        try:
            with Repository.open(repo) as repository:
                repository.load()
                assert any(pack.name in fault.name for fault in repository.index.faults)
                assert len(repository.heads(repository.names())) == 1
        finally:
            os.seteuid(0)
            os.setegid(0)


def test_a_process_of_before_a_reboot_counts_as_dead_at_once_and_none_of_another_machine(
    tmp_path: Path,
) -> None:
    store = LocalStore(Path(lab.init(tmp_path / "repo")))
    with Presence(store, "write", "backup") as presence:
        mine = presence.session
        other = msgspec.structs.replace(mine.holder, boot="another boot")
        rebooted = msgspec.structs.replace(mine, holder=other)
        assert sessions.alive(store, mine)
        assert bool(mine.machine) and not sessions.alive(store, rebooted)
        assert sessions.alive(store, msgspec.structs.replace(rebooted, machine="another machine"))
        clone = msgspec.structs.replace(rebooted, hardware=("b" + 12 * "0", "n" + 12 * "0"))
        assert sessions.alive(store, clone) is bool(mine.hardware), "a clone has its id and its name, and other cards"
        assert sessions.alive(store, msgspec.structs.replace(rebooted, machine="", host="another"))


def test_the_age_of_a_file_is_counted_by_the_clock_of_the_store(tmp_path: Path) -> None:
    store = LocalStore(Path(lab.init(tmp_path / "repo")))
    store.put("sessions/a.json", b"{}")
    assert store.age("sessions/a.json") < 300
    os.utime(tmp_path / "repo/sessions/a.json", (time.time() - 900, time.time() - 900))
    assert 890 < store.age("sessions/a.json") < 1200


class Counted(LocalStore):
    """Knows what it was asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    @override
    def missing(self, names: Sequence[str]) -> set[str]:
        self.asked.append("missing")
        return super().missing(names)

    @override
    def names(self, folder: str) -> Iterator[str]:
        self.asked.append(folder)
        return super().names(folder)


def test_whether_a_place_tells_a_from_a_is_asked_once_and_whose_packs_these_are_too(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    point = names.parse(lab.backup(repo, lab.disk(tmp_path / "disk", {0: 1}, 2 * lab.MIB)))
    store = Counted(Path(repo))
    found = config.load(store)
    for _ in range(3):
        assert not spelling.folded(store)
    assert store.asked.count("missing") == 1
    opened = Repository(store, found, config.unlocked(found, Unlock()))
    opened.load()
    Path(repo, point.path()).write_bytes(b"no point")
    store.asked.clear()
    for _ in range(3):
        with pytest.raises(Damaged, match="no point"):
            opened.point(point)
    assert "packs" not in store.asked
