"""An appliance that is kept warm: the same files as without it, for the next command too, and an end in any case."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.backup import names
from engines.backup.files.appliance import client, registry
from engines.backup.files.appliance.client import WarmDisk
from engines.backup.files.appliance.server import QUIET
from engines.backup.files.model import BrowseError, NoSuchFile, shown
from engines.backup.files.opening import open_tree
from engines.backup.names import PointName
from engines.backup.repository import sessions
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import RepoParams, Repository
from engines.job.errors import Refused
from engines.job.params import Secret
from tests.cli.crashcart import ARGV
from tests.engines.backup import lab
from tests.engines.backup.files import guest_disk
from tests.engines.backup.files.guest_disk import ENTRIES, MIB
from tests.engines.guest.test_appliance import group

pytestmark = pytest.mark.boot
WORDS = "cold console, warm bed"
KEPT = 100.0  # s; the keeper looks around five times as often


class Kept(NamedTuple):
    folder: Path
    source: Path
    params: RepoParams
    point: PointName
    bytes: PointBytes
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def kept_warm(setting: Path, own_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(client.SETTING, str(KEPT))


@pytest.fixture(scope="module")
def kept(setting: Path) -> Iterator[Kept]:
    """A locked repository with an ext4 disk, and a keeper that a command started and left."""
    source = guest_disk.tree(setting / "tree")
    image = guest_disk.blank(setting / "disk", 64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-d", source, image], check=True)
    (setting / "words").touch(0o600)
    (setting / "words").write_text(WORDS)
    secret = Secret(WORDS)
    repo = lab.init(setting / "repo", cipher="aes-256-gcm", secrets={"passphrase": secret})
    lab.backup(repo, image, secrets={"passphrase": secret})
    params = RepoParams(repo=repo, passphrase=secret)
    repository = Repository.open(repo, Unlock(passphrase=secret))
    repository.load()
    (point,) = repository.names()
    command = ["backup", "ls", str(point), "--repo", repo, "--passphrase-file", str(setting / "words")]
    said = subprocess.run(
        [*ARGV, *command, "--driver", "libguestfs"],
        env={**os.environ, client.SETTING: str(KEPT)},
        capture_output=True,
        text=True,
        check=False,
    )
    with open_point(repository, point) as source_bytes:
        try:
            yield Kept(setting, source, params, point, source_bytes, said)
        finally:
            client.end(params, point)


def keeper() -> int:
    (note,) = registry.living().values()
    return note.holder.pid


def until(done: Callable[[], bool], within: float = 180.0) -> None:
    end = time.monotonic() + within
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def disk(kept: Kept) -> WarmDisk:
    return client.disk(kept.params, kept.point, kept.bytes)


def test_a_command_leaves_an_appliance_that_the_next_one_finds(kept: Kept) -> None:
    assert kept.said.returncode == 0, kept.said.stderr
    assert "setuid" in kept.said.stdout
    pid = keeper()
    with disk(kept) as appliance:
        assert [info.format for info in appliance.infos()] == ["ext4"]
        with open_tree(kept.bytes, "libguestfs", appliance=appliance) as tree:
            assert tree.read(b"/etc/motd", 0, 99) == b"cold console\n"
    assert keeper() == pid


def test_the_passphrase_is_in_no_argument_and_no_environment(kept: Kept) -> None:
    for name in ("cmdline", "environ"):
        assert WORDS.encode() not in Path(f"/proc/{keeper()}/{name}").read_bytes()
    files = [path for path in registry.folder().iterdir() if path.is_file()]
    assert files
    assert all(WORDS not in path.read_text() for path in files)
    assert registry.folder().stat().st_mode & 0o777 == 0o700


def test_what_it_gives_is_what_the_disk_has(kept: Kept) -> None:
    with disk(kept) as appliance:
        volume = appliance.open(appliance.infos()[0])
        assert volume.state == ""
        assert len(list(volume.list(b"/many"))) == ENTRIES
        assert {shown(node.name) for node in volume.list(b"/names")} == {
            shown(os.fsencode(name))
            for name in os.listdir(kept.source / "names")  # noqa: PTH208
        }
        assert volume.read(b"/large", 0, 1 << 30) == (kept.source / "large").read_bytes()
        assert volume.read(b"/large", 5 * MIB, 1000) == (kept.source / "large").read_bytes()[5 * MIB :]
        assert volume.read(b"/empty", 0, 10) == b""
        assert list(volume.extents(b"/sparse")) == [(at, at + 65536) for at in (0, 7 * MIB + 4096, 19 * MIB)]
        assert volume.attributes(b"/etc/motd")["user.note"] == b"\0\xff bytes"
        assert volume.stat(b"/owned").uid == 1234
        with pytest.raises(NoSuchFile, match="nothing"):
            volume.stat(b"/nothing")
        with pytest.raises(BrowseError, match="no regular file"):
            volume.read(b"/pipe", 0, 1)
        assert isinstance(volume, client.WarmVolume)
        stream = io.BytesIO()
        volume.tar_out(b"/etc", stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as tar:
            assert "./motd" in tar.getnames()


def test_several_may_ask_at_once_and_leave_in_the_middle(kept: Kept) -> None:
    wrong: list[object] = []

    def work() -> None:
        with disk(kept) as appliance:
            volume = appliance.open(appliance.infos()[0])
            next(volume.list(b"/many"))
            if volume.read(b"/etc/motd", 5, 7) != b"console":
                wrong.append("motd")
            if len(list(volume.list(b"/many"))) != ENTRIES:
                wrong.append("many")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_neither_it_nor_its_appliance_takes_cpu_while_nobody_asks(kept: Kept) -> None:
    def switches() -> int:
        """How often the kernel let any thread of keeper, worker or QEMU run."""
        members = [keeper(), *(pid for leader in workers(keeper()) for pid in group(leader))]
        assert len(members) >= 3
        files = [path for pid in members for path in Path(f"/proc/{pid}/task").glob("*/status")]
        lines = "".join(path.read_text() for path in files).splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    with disk(kept) as appliance:
        volume = appliance.open(appliance.infos()[0])
        assert volume.stat(b"/etc").is_folder
        for _ in range(60):  # the last answers' threads lie down, at some time
            before = switches()
            time.sleep(2.0)
            if switches() - before <= 4:  # one look around may fall into it
                break
        else:
            pytest.fail("its threads are woken all the time")
        assert volume.read(b"/etc/motd", 5, 7) == b"console"


def other(kept: Kept, vm: str = "web2") -> PointName:
    """Another VM's point."""
    made = lab.backup(kept.params.repo, kept.folder / "disk", vm=vm, secrets={"passphrase": Secret(WORDS)})
    return names.parse(made)


def test_a_killed_keeper_takes_its_appliance_along_and_its_traces_are_swept(kept: Kept) -> None:
    point = other(kept)
    name = registry.key(kept.params.repo, str(point))
    client.begin(kept.params, point)
    until(lambda: name in registry.living())
    pid = registry.living()[name].holder.pid
    until(lambda: bool(workers(pid)))
    below = workers(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(group(each) for each in below))
    until(lambda: name not in registry.living())
    assert not registry.socket_of(name).exists()
    assert len(registry.living()) == 1


def workers(pid: int) -> list[int]:
    """Children of a process that lead a group: the appliance's worker, and no passing qemu-img."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for task in tasks for child in task.read_text().split()]
    return [child for child in found if group(child)]


def test_a_keeper_ends_in_order_when_it_is_asked_to_while_it_starts(kept: Kept) -> None:
    point = PointName("web2", "disk0", "latest")
    point = Repository.glance(kept.params.repo).resolve(str(point))
    name = registry.key(kept.params.repo, str(point))
    client.begin(kept.params, point)
    until(lambda: name in registry.living() and registry.socket_of(name).exists())
    below = workers(registry.living()[name].holder.pid)
    client.end(kept.params, point)
    until(lambda: not any(group(each) for each in below))
    assert not registry.note_of(name).exists()
    repository = Repository.open(kept.params.repo, Unlock(passphrase=Secret(WORDS)))
    assert [session.does for session in sessions.living(repository.store) if "web2" in session.does] == []


def test_a_point_that_is_not_there_is_told_and_not_kept(kept: Kept) -> None:
    gone = PointName("web9", "disk0", "20200101T000000Z")
    with client.disk(kept.params, gone, kept.bytes) as appliance, pytest.raises(Refused, match="not there"):
        appliance.infos()
    until(lambda: len(registry.living()) == 1)


def test_no_more_than_two_are_kept_and_the_one_used_last_stays(kept: Kept) -> None:
    second, third = other(kept), other(kept, "web3")
    client.begin(kept.params, second)
    until(lambda: len(registry.living()) == 2)
    time.sleep(QUIET + 0.5)
    with disk(kept) as appliance:
        appliance.infos()
    client.begin(kept.params, third)
    wanted = {str(kept.point), str(third)}
    until(lambda: {note.point for note in registry.living().values()} == wanted)
    client.end(kept.params, third)


def test_a_keeper_ends_when_its_point_is_taken_out(kept: Kept) -> None:
    """The last one: the keeper is gone after it."""
    pid = keeper()
    number = workers(pid)
    for path in Path(kept.params.repo, "points", kept.point.vm).rglob("*.point"):
        path.unlink()
    until(lambda: not Path(f"/proc/{pid}").exists(), within=KEPT)
    assert registry.living() == {}
    until(lambda: not any(group(each) for each in number))
