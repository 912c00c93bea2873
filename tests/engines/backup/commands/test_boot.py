"""A point that is served, and one that is booted: what the runs say, and that the point stays as it was."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.boot.dead_ends import DOWN
from engines.boot.trials import AUTO
from engines.boot.watch import UP
from engines.job import journal
from engines.job.contract import Finished, Log, RunFailed, RunStopped, StepEnded, StepStarted, Warned
from engines.job.errors import BadParam, Refused
from engines.job.journal import Entry
from engines.job.perform import Stop
from engines.rehearsal.guest.build import build
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A repository with a guest that boots from an IDE disk only, and a disk with no system on it."""
    folder = tmp_path_factory.mktemp("boot")
    kept = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    build(DEFAULT, folder / "guest.img")
    repo = lab.init(folder / "repo")
    lab.backup(repo, folder / "guest.img", vm="guest")
    lab.backup(repo, lab.disk(folder / "data.img", {0: 1, 3: 2}, 8 * MIB), vm="data")
    (folder / "guest.img").unlink()
    if kept is not None:
        os.environ["XDG_STATE_HOME"] = kept
    yield repo


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder."""
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def listing(repo: str) -> dict[str, bytes]:
    """Every file of a repository but those of sessions."""
    return {
        str(path): path.read_bytes()
        for path in Path(repo).rglob("*")
        if path.is_file() and "sessions" not in path.parts
    }


@pytest.mark.boot
def test_a_backup_of_a_guest_boots_with_its_screen_in_the_report(repo: str) -> None:
    before = listing(repo)
    run, last = lab.perform_job("backup-boot", repo=repo, point="guest/disk0@latest", deadline=900)
    assert isinstance(last, Finished), last
    assert (last.result["verdict"], last.result["bus"], last.result["errors"]) == ("boots", "ide", 0)
    assert "FIXTURE-BOOTED" in last.summary
    (picture,) = (section.file for section in last.sections if section.file)
    assert (run.folder / picture).read_bytes()[:8] == PNG
    assert listing(repo) == before


@pytest.mark.boot
def test_a_proof_restores_lists_and_boots_and_leaves_nothing(repo: str, scratch: Path) -> None:
    before = listing(repo)
    words = {"repo": repo, "scratch": str(scratch), "deadline": 900}
    run, last = lab.perform_job(
        "backup-prove", point="guest/disk0@latest", more=["data/disk0@latest"], bus="ide", **words
    )
    assert isinstance(last, Finished), last
    assert len(last.result["more"]) == 1
    assert (last.result["verdict"], last.result["bus"]) == ("boots", "ide")
    assert last.result["entries"] > 3 and last.result["restored"] > MIB
    assert "etc" in next(section.text for section in last.sections if section.title == "At its root").split()
    assert listing(repo) == before and list(scratch.iterdir()) == []
    said = [entry.event for entry in journal.entries(run.journal)]
    assert [event.step for event in said if isinstance(event, StepEnded)] == ["write", "flush", "list", "boot"]


@pytest.mark.boot
def test_a_proof_of_a_disk_without_a_system_fails(repo: str, scratch: Path) -> None:
    words = {"repo": repo, "scratch": str(scratch), "deadline": 300, "firmware": "bios", "bus": "ide"}
    _, last = lab.perform_job("backup-prove", point="data/disk0@latest", **words)
    assert isinstance(last, RunFailed) and "was restored and does not boot on ide" in last.why
    assert list(scratch.iterdir()) == []


@pytest.mark.boot
def test_a_disk_without_a_system_is_tried_on_every_bus_and_told(repo: str) -> None:
    told: list[Entry] = []
    _, last = lab.perform_job(
        "backup-boot", repo=repo, point="data/disk0@latest", deadline=300, firmware="bios", listen=told.append
    )
    assert isinstance(last, Finished), last
    assert (last.result["verdict"], last.result["bus"]) == ("fails", "ahci")
    assert "No bootable device" in last.result["why"]
    logged = [entry.event.text for entry in told if isinstance(entry.event, Log)]
    assert [found.group(1) for text in logged if (found := re.match(r"booting with the disk on (\w+)", text))] == [
        *AUTO
    ]
    assert any(isinstance(entry.event, Warned) for entry in told)


def test_what_a_boot_cannot_do_is_refused(repo: str) -> None:
    with pytest.raises(BadParam, match="regular expression"):
        lab.perform_job("backup-boot", repo=repo, point="guest/disk0@latest", expect="(")
    with pytest.raises(Refused, match="no point"):
        lab.perform_job("backup-boot", repo=repo, point="nobody/disk0@latest")


@pytest.mark.parametrize(
    ("said", "boots"),
    [
        ("web1 login: ", True),
        ("Welcome to Debian GNU/Linux 12 (bookworm)!", True),
        ("[  OK  ] Reached target multi-user.target - Multi-User System.", True),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", False),
        ("ALERT!  /dev/vda1 does not exist.  Dropping to a shell!", False),
        ("(initramfs) ", False),
        ("BOOTMGR is missing", False),
        ("grub rescue>", False),
        ("Error 15: File not found", False),
    ],
)
def test_a_screen_that_says_so_decides(said: str, boots: bool) -> None:
    text = f"Loading Linux\n{said}\n"
    assert (bool(UP.search(text)), bool(DOWN.search(text))) == (boots, not boots)


# ── serve ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_served_point_is_read_until_the_run_is_stopped_and_the_run_tells_how_much(repo: str, tmp_path: Path) -> None:
    socket, stop, said = tmp_path / "s", Stop(), []

    def use() -> None:
        done = subprocess.run(
            ["nbdcopy", f"nbd+unix:///?socket={socket}", tmp_path / "copy"], capture_output=True, check=False
        )
        said.append(done)
        stop.ask()

    client = threading.Thread(target=use)

    def begin(entry: Entry) -> None:
        if isinstance(entry.event, Log):
            client.start()

    run, last = lab.perform_job(
        "backup-serve", repo=repo, point="data/disk0@latest", nbd=str(socket), stop=stop, listen=begin
    )
    client.join()
    assert isinstance(last, Finished), last
    assert said[0].returncode == 0, said[0].stderr
    assert (tmp_path / "copy").read_bytes()[:MIB] == lab.block(1)
    assert last.result["bytes"] >= 2 * MIB
    assert (last.result["errors"], last.result["turned_away"]) == (0, 0)
    assert not socket.exists()
    steps = [
        type(entry.event) for entry in journal.entries(run.journal) if isinstance(entry.event, StepStarted | StepEnded)
    ]
    assert steps == [StepStarted, StepEnded]


def test_serving_ends_by_itself_when_nobody_comes(repo: str, tmp_path: Path) -> None:
    found = lab.done("backup-serve", repo=repo, point="data/disk0@latest", nbd=str(tmp_path / "s"), idle=1)
    assert (found["bytes"], found["clients"]) == (0, 0)
    assert not (tmp_path / "s").exists()


def test_a_served_point_that_is_damaged_says_where(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    lab.backup(repo, lab.disk(tmp_path / "disk", {0: 1, 1: 2}, 2 * MIB))
    file = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[300] ^= 1
    file.write_bytes(raw)
    socket, warned = tmp_path / "s", []

    def use(entry: Entry) -> None:
        if isinstance(entry.event, Log):
            command = ["qemu-io", "-r", "-f", "raw", "-c", "read 0 2M", f"nbd+unix:///?socket={socket}"]
            subprocess.run(command, capture_output=True, check=False)
        if isinstance(entry.event, Warned):
            warned.append(entry.event.text)

    _, last = lab.perform_job("backup-serve", repo=repo, point="web1/disk0@latest", nbd=str(socket), idle=1, listen=use)
    assert isinstance(last, Finished), last
    assert last.result["errors"] == len(warned) == 1
    assert "bytes at 0 were not served" in warned[0]
    assert any("verify" in then for then in last.then)


def test_a_socket_that_cannot_be_is_refused_before_anything_is_done(repo: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "nowhere" / "s", tmp_path / ("x" * 108)):
        with pytest.raises(Refused) as refused:
            lab.perform_job("backup-serve", repo=repo, point="data/disk0@latest", nbd=str(place))
        assert refused.value.what_helps


def test_a_stop_before_the_first_client_leaves_no_socket(repo: str, tmp_path: Path) -> None:
    stop = Stop()

    def at_once(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted):
            stop.ask()

    _, last = lab.perform_job(
        "backup-serve", repo=repo, point="data/disk0@latest", nbd=str(tmp_path / "s"), stop=stop, listen=at_once
    )
    assert isinstance(last, Finished | RunStopped), last
    assert not isinstance(last, RunFailed)
    assert not (tmp_path / "s").exists()
