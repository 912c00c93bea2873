"""A mounted point is the guest's tree, for its owner alone, read-only, and nothing of it stays behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import tasks
from engines.backup.commands.looks import _ls
from engines.backup.files.reach import PathParams
from engines.job.contract import Cancel, Context
from engines.job.errors import Failed, Refused
from engines.job.params import convert
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.files.mounting.served import CRASHCART, PATIENCE, Guest, Mounted, gone, mounted
from tests.engines.backup.lab import MIB


def test_a_mounted_tree_is_what_the_kernel_finds_on_the_disk(guest: Guest, tmp_path: Path) -> None:
    with guest_tree.mounted(guest.image) as root:
        wanted = guest_tree.told(root, holes=False)
    with mounted(guest, tmp_path / "m") as found:
        assert guest_tree.told(found.folder, holes=False) == wanted
        inodes = {path: path.lstat().st_ino for path in found.folder.rglob("*")}
        code, said = found.stop()
    assert (code, gone(found.folder)) == (0, True)
    assert "is unmounted" in said
    assert found.records() == []
    with mounted(guest, tmp_path / "again", "--driver", "quick") as again:
        others = {path: path.lstat().st_ino for path in again.folder.rglob("*")}
    assert sorted(inodes.values()) == sorted(others.values())
    assert all(inodes.values())


def sums(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def test_eight_processes_read_at_once_and_all_get_the_same(guest: Guest, shown: Mounted) -> None:
    with guest_tree.mounted(guest.image) as root:
        wanted = sums(root)
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            os._exit(0 if sums(shown.folder) == wanted else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8


def test_the_disk_itself_is_one_file(guest: Guest, tmp_path: Path) -> None:
    with mounted(guest, tmp_path / "m", "--image") as found:
        (file,) = found.folder.iterdir()
        assert file.name == "web1-disk0.img"
        assert file.stat().st_size == guest.image.stat().st_size
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(guest.image.read_bytes()).digest()
        assert subprocess.run(["e2fsck", "-fn", str(file)], check=False, capture_output=True).returncode == 0
        found.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert file.exists()  # a lost line ends nothing


def test_only_the_owner_looks_and_nobody_writes(shown: Mounted) -> None:
    line = next(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(shown.folder) in line)
    assert {"ro", "nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert "allow_other" not in line
    there = os.open(shown.folder.parent, os.O_PATH)  # nobody may not pass the folders above
    asked = subprocess.run(
        ["ls", "m/"], user=65534, group=65534, capture_output=True, check=False, cwd=f"/proc/self/fd/{there}"
    )
    os.close(there)
    assert b"Permission denied" in asked.stderr
    with pytest.raises(OSError) as refused:
        (shown.folder / "new").write_text("x")
    assert refused.value.errno == errno.EROFS


def cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_mount_that_nobody_reads_costs_no_cpu(shown: Mounted) -> None:
    sums(shown.folder)
    for _ in range(60):  # the counts of those reads are told once more, at some time
        before = cpu(shown.process.pid) + cpu(shown.server)
        time.sleep(2.0)
        if cpu(shown.process.pid) + cpu(shown.server) - before <= 0.02:
            return
    pytest.fail("it is awake all the time")


def test_a_damaged_block_is_an_error_and_is_told(guest: Guest, tmp_path: Path) -> None:
    image = guest_tree.ext4(tmp_path / "image", lambda root: (root / "file").write_bytes(os.urandom(8 * MIB)))
    repo = lab.init(tmp_path / "repo")
    sick = Guest.__new__(Guest)
    sick.image, sick.repo, sick.point = image, repo, lab.backup(repo, image)
    pack = max(Path(repo, "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[len(raw) * 3 // 4] ^= 1
    pack.write_bytes(raw)
    with mounted(sick, tmp_path / "m", "--json") as found:
        with pytest.raises(OSError) as broken:
            (found.folder / "file").read_bytes()
        assert broken.value.errno == errno.EIO
        assert failed_reads(found)[-1]["result"]["errors"] >= 1


def failed_reads(found: Mounted) -> list[dict[str, Any]]:
    """What the run tells until a read has failed, and its last word once it is stopped."""
    assert found.process.stdout is not None
    said, deadline = b"", time.monotonic() + PATIENCE
    while not any(each["event"] == "Warned" and "a read failed" in each["text"] for each in events(said)):
        ready, _, _ = select.select([found.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no read failed within {PATIENCE:.0f} s: {said!r}"
        piece = os.read(found.process.stdout.fileno(), 65536)
        assert piece, said
        said += piece
    found.process.send_signal(signal.SIGTERM)
    out, _ = found.process.communicate(timeout=PATIENCE)
    return events(said + out)


def events(said: bytes) -> list[dict[str, Any]]:
    """Those whose lines are whole."""
    return [json.loads(line) for line in said[: said.rfind(b"\n") + 1].splitlines()]


def test_a_name_in_a_folder_that_is_damaged_is_never_said_not_to_be_there(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "many").mkdir()
        for number in range(200):
            (root / f"many/file{number:0100}").touch()

    sick = Guest.__new__(Guest)
    sick.image = guest_tree.ext4(tmp_path / "image", fill, options=("-O", "^dir_index,^metadata_csum,^has_journal"))
    raw = bytearray(sick.image.read_bytes())
    at = raw.index(b"file%0100d" % 150) // 4096 * 4096
    raw[at : at + 8] = b"\xff" * 8
    sick.image.write_bytes(raw)
    sick.repo = lab.init(tmp_path / "repo")
    sick.point = lab.backup(sick.repo, sick.image)
    with mounted(sick, tmp_path / "m", "--json") as found:
        assert (found.folder / f"many/file{0:0100}").exists()
        for _ in range(2):  # asked again, the kernel must not have kept a no
            with pytest.raises(OSError) as broken:
                (found.folder / f"many/file{150:0100}").stat()
            assert broken.value.errno == errno.EIO
        assert not (found.folder / "other").exists()
        with pytest.raises(OSError) as broken:
            list((found.folder / "many").iterdir())
        assert broken.value.errno == errno.EIO
        assert any("is damaged" in each["text"] for each in failed_reads(found) if each["event"] == "Warned")
    listing = _ls(PathParams(repo=sick.repo, point=f"{sick.point}:/many/file*"))
    assert 100 < len(listing.entries) < 200
    assert any("cannot be listed to its end" in note for note in listing.notes)
    taken = lab.done("backup-get", repo=sick.repo, paths=[f"{sick.point}:/many/*"], dest=str(tmp_path / "out"))
    assert taken["files"] == len(listing.entries)
    assert any("cannot be listed to its end" in note for note in taken["notes"])


def test_a_folder_that_cannot_be_used_is_refused(guest: Guest, tmp_path: Path) -> None:
    engine = tasks.engine("backup-mount")
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    inside = Path(guest.repo) / "inside"
    inside.mkdir(exist_ok=True)
    for folder in (tmp_path / "none", full, full / "file", inside):
        with pytest.raises(Refused) as refused:
            engine.plan(
                convert(engine.params, {"repo": guest.repo, "point": guest.point, "folder": str(folder)}), Cancel()
            )
        assert refused.value.what_helps
    inside.rmdir()


def test_a_mount_of_its_own_session_is_there_when_the_command_returns(guest: Guest, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    words = [*CRASHCART, "backup", "mount", "--repo", guest.repo, guest.point, str(folder), "--detach"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    try:
        assert (folder / "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    finally:
        subprocess.run([*CRASHCART, "stop", done.stdout.strip()], check=False, capture_output=True)
    deadline = time.monotonic() + PATIENCE
    while os.path.ismount(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_swapped_after_the_plan_is_not_mounted_on(guest: Guest, tmp_path: Path) -> None:
    """Whoever owns a folder above can put a link, or another folder, in its place."""
    theirs, host = tmp_path / "theirs", tmp_path / "host"
    (theirs / "m").mkdir(parents=True)
    (host / "m").mkdir(parents=True)
    engine = tasks.engine("backup-mount")
    wanted = convert(engine.params, {"repo": guest.repo, "point": guest.point, "folder": str(theirs / "m")})
    plan = engine.plan(wanted, Cancel())
    theirs.rename(tmp_path / "away")
    for swap in (lambda: theirs.symlink_to(host), lambda: shutil.copytree(host, theirs)):
        swap()
        run = tmp_path / f"run-{theirs.is_symlink()}"
        run.mkdir()
        with pytest.raises(Failed, match="another folder by now"):
            list(engine.execute(msgspec.structs.replace(plan, params=wanted), Context(Cancel(), run)))
        assert not os.path.ismount(host / "m")
        if theirs.is_symlink():
            theirs.unlink()
    assert gone(theirs) and gone(host)
