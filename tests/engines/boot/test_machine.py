"""QEMU as a witness: real boots of boot sectors assembled here."""

from __future__ import annotations

import os
import re
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.boot import unprivileged
from engines.boot.machine import WRITTEN, Machine, NotStarted
from engines.boot.media import Disc, Disk, Hardware
from engines.boot.watch import last_lines
from engines.boot.witness import witness
from engines.job.errors import Refused
from tests.absent import absent
from tests.engines.boot.sectors import (
    GRAPHICS,
    RESET,
    RESET_ON_KEY,
    ROOT,
    SCROLLED,
    SERIAL,
    SHOW_KEYS,
    TCG,
    WRITES,
    hardware,
)

pytestmark = pytest.mark.boot


def gone(pid: int, within: float = 120.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


# ── seeing and typing ───────────────────────────────────────────────────────────────────────────────


def test_every_key_typed_arrives_once_and_in_order(boot_sector: Callable[[str], Path]) -> None:
    typed = string.ascii_lowercase + string.digits + string.punctuation  # 68 characters: fits a row
    with Machine(hardware(boot_sector(SHOW_KEYS)), accelerator=TCG) as machine:
        assert machine.wait_for("Booting from Hard Disk").found
        machine.type_text(typed + "\n" + string.ascii_uppercase + " |")
        assert machine.wait_for(r"\|$", deadline=60).found
        assert machine.wait_for(lambda text: string.ascii_uppercase + " |" in text).found
        shown = machine.screen()
    assert typed in shown
    assert string.ascii_uppercase + " |" in shown


def test_a_character_without_a_key_is_refused_before_the_first_key(boot_sector: Callable[[str], Path]) -> None:
    with Machine(hardware(boot_sector(SHOW_KEYS)), accelerator=TCG) as machine:
        assert machine.wait_for("Booting from Hard Disk").found
        with pytest.raises(ValueError, match="'ü'"):
            machine.type_text("tür")
        machine.type_text("s")
        assert machine.wait_for(r"^s$", deadline=60).found


def test_a_scrolled_console_is_read_where_it_is_shown(boot_sector: Callable[[str], Path]) -> None:
    with Machine(hardware(boot_sector(SCROLLED)), accelerator=TCG) as machine:
        assert machine.wait_for(r"\AZT").found
        rows = machine.screen()
        chosen = machine._control().monitor("i /b 0x3d4")
    assert chosen.strip().endswith("= 0x0a"), "the guest's own choice of register is put back"
    assert len(rows) == 25
    assert all(len(row) <= 80 for row in rows)


def test_a_graphics_mode_has_no_text_and_still_a_picture(boot_sector: Callable[[str], Path], tmp_path: Path) -> None:
    with Machine(hardware(boot_sector(GRAPHICS)), accelerator=TCG) as machine:
        assert machine.wait_for(lambda text: text == "").found
        assert machine.screen() == []
        picture = machine.screendump(tmp_path / "screen.png")
        with pytest.raises(Refused, match=r"no screenshot at /proc/nowhere/x\.png"):
            machine.screendump(Path("/proc/nowhere/x.png"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_serial_bytes_are_kept_raw_and_their_text_is_harmless(boot_sector: Callable[[str], Path]) -> None:
    with Machine(hardware(boot_sector(SERIAL)), accelerator=TCG) as machine:
        seen = machine.wait_for(lambda text: "placed\n" in text, where="serial")
        assert seen.found
        raw = machine.serial()
    assert b"\x1b[1;31mred" in raw
    assert last_lines(seen.text) == ("red alert", "placed")


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────


def test_a_guest_that_resets_ends_the_wait_and_leaves_its_last_screen(boot_sector: Callable[[str], Path]) -> None:
    with Machine(hardware(boot_sector(RESET_ON_KEY)), accelerator=TCG) as machine:
        assert machine.wait_for("^!").found
        machine.type_text(" ")
        seen = machine.wait_for("never there", deadline=60)
        assert seen.how == "exited"
        assert (machine.alive, machine.exit_status) == (False, 0)
        assert any(row.startswith("!") for row in machine.screen())
        machine.type_text("nobody listens")
        with pytest.raises(Refused, match="no screenshot"):
            machine.screendump(Path("/tmp/never-written.png"))


def test_what_a_guest_writes_stays_out_of_the_image(boot_sector: Callable[[str], Path]) -> None:
    image = boot_sector(WRITES)
    before = image.read_bytes()
    with Machine(hardware(image), accelerator=TCG) as machine:
        machine.wait_for("never there", deadline=60)
        assert machine.exit_status == 2 * 7 + 1
    assert image.read_bytes() == before


def test_without_snapshot_the_guest_writes_to_the_image(boot_sector: Callable[[str], Path]) -> None:
    image = boot_sector(WRITES)
    with Machine(Hardware((Disk(image, snapshot=False),), debug_exit=True), accelerator=TCG) as machine:
        machine.wait_for("never there", deadline=60)
        assert machine.exit_status == 2 * 7 + 1
    sectors = image.read_bytes()
    assert sectors[512:1024] == sectors[:512]


def test_a_wait_over_its_deadline_tells_what_there_was(boot_sector: Callable[[str], Path]) -> None:
    with Machine(hardware(boot_sector(SHOW_KEYS)), accelerator=TCG) as machine:
        machine.wait_for("Booting from Hard Disk")
        seen = machine.wait_for("never there", deadline=0.3)
    assert seen.how == "timed out"
    assert "Booting from Hard Disk" in seen.text


def test_a_stop_ends_the_wait_and_the_machine(boot_sector: Callable[[str], Path]) -> None:
    class Stop(Exception):
        pass

    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 25:
            raise Stop

    machine = Machine(hardware(boot_sector(SHOW_KEYS)), accelerator=TCG, check=check)
    with pytest.raises(Stop), machine:
        machine.wait_for("never there", deadline=120)
    assert machine.exit_status == -signal.SIGKILL
    assert not machine._folder.exists()


def test_a_hung_qemu_holds_up_no_stop(boot_sector: Callable[[str], Path]) -> None:
    hung = False

    def check() -> None:
        if hung:
            raise InterruptedError

    machine = Machine(hardware(boot_sector(SHOW_KEYS)), accelerator=TCG, check=check)
    with pytest.raises(InterruptedError), machine:
        assert machine.wait_for("Booting from Hard Disk").found
        os.kill(machine.pid, signal.SIGSTOP)
        hung = True
        machine.screen()
    assert machine.exit_status == -signal.SIGKILL


PARENT = """
import sys, time
from pathlib import Path
from engines.boot.accel import Accelerator
from engines.boot.machine import Machine
from engines.boot.media import Disk, Hardware
with Machine(Hardware((Disk(Path(sys.argv[1])),)), accelerator=Accelerator("tcg", "")) as machine:
    print(machine.pid, machine._folder, flush=True)
    time.sleep(120)
"""


@pytest.fixture
def parent(
    boot_sector: Callable[[str], Path],
) -> Iterator[Callable[[], tuple[subprocess.Popen[str], int, Path]]]:
    started: list[subprocess.Popen[str]] = []
    temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    Path(temporary.name).chmod(0o755)  # one below pytest's own lets no other user in

    def start() -> tuple[subprocess.Popen[str], int, Path]:
        child = subprocess.Popen(
            [sys.executable, "-c", PARENT, boot_sector(SHOW_KEYS)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": temporary.name},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout
        pid, folder = child.stdout.readline().split(" ", 1)
        return child, int(pid), Path(folder.strip())

    yield start
    for child in started:
        child.kill()
        child.communicate()
    temporary.cleanup()


Start = Callable[[], tuple[subprocess.Popen[str], int, Path]]


def test_a_killed_process_takes_its_qemu_along_and_the_next_one_sweeps(parent: Start) -> None:
    killed, qemu, left = parent()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert gone(qemu)
    assert left.exists()
    os.utime(left, (0, 0))
    _, _, living = parent()
    assert not left.exists()
    os.utime(living, (0, 0))
    parent()
    assert living.exists()


def test_roots_qemu_runs_its_guest_as_nobody_and_writes_only_its_own(boot_sector: Callable[[str], Path]) -> None:
    image = boot_sector(SHOW_KEYS)
    image.chmod(0o600)
    with Machine(hardware(image), accelerator=TCG) as machine:
        assert machine.wait_for(lambda _: True).found
        status = Path(f"/proc/{machine.pid}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        folder = machine._folder
        if unprivileged.user(folder) is None:
            absent("this process may become no other user")
        number = str(unprivileged.user(folder))
        assert set(said["Uid"].split()) == set(said["Gid"].split()) == set(said["Groups"].split()) == {number}
        assert int(said["CapEff"], 16) == 0 and said["Seccomp"] == "2"
        assert folder.stat().st_uid == 0 and folder.stat().st_mode & 0o777 == 0o710
        others = [path.name for path in folder.iterdir() if path.stat().st_uid != 0]
        assert sorted(others) == sorted(WRITTEN)


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_disc_that_is_no_disc_gives_a_verdict_with_a_picture(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.iso"
    nothing.write_bytes(b"\0" * 40960)
    verdict = witness(Hardware((Disc(nothing),)), r"A:\\>", screenshot=tmp_path / "x.png", accelerator=TCG)
    assert not verdict.ok
    assert verdict.why.startswith("'No bootable device' on the screen after ")
    assert any("Could not read from CDROM" in line for line in verdict.lines)
    assert verdict.screenshot
    assert verdict.screenshot.read_bytes().startswith(b"\x89PNG")


def test_what_boots_gives_a_good_verdict(boot_sector: Callable[[str], Path]) -> None:
    verdict = witness(hardware(boot_sector(SERIAL)), "red alert", accelerator=TCG)
    assert verdict.ok
    assert verdict.why.startswith("'red alert' on the serial line after ")


def test_a_guest_that_resets_is_a_verdict_that_says_so(boot_sector: Callable[[str], Path]) -> None:
    verdict = witness(hardware(boot_sector(RESET)), "never there", accelerator=TCG)
    assert not verdict.ok
    assert re.fullmatch(r"it powered off or reset after \d+ s", verdict.why)


def test_an_image_that_qemu_cannot_open_is_a_verdict_in_its_own_words(tmp_path: Path) -> None:
    torn = tmp_path / "torn.qcow2"
    torn.write_bytes(b"no qcow2 at all" * 99)
    verdict = witness(Hardware((Disk(torn, "qcow2"),)), "x", accelerator=TCG)
    assert not verdict.ok
    assert "Image is not in qcow2 format" in verdict.why
    with pytest.raises(NotStarted), Machine(Hardware((Disk(torn, "qcow2"),)), accelerator=TCG):
        raise AssertionError("the machine started")


def test_an_image_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none\.iso does not exist"):
        witness(Hardware((Disc(tmp_path / "none.iso"),)), "x", accelerator=TCG)


def test_a_fifth_medium_on_ide_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\0" * 512)
    with pytest.raises(Refused, match="5 media on IDE, which takes 4"):
        witness(Hardware((Disk(image),) * 5), "x", accelerator=TCG)


def test_ovmf_reaches_its_shell_and_leaves_the_system_variables_alone(tmp_path: Path) -> None:
    variables = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
    before = variables.stat().st_mtime_ns
    disk = tmp_path / "empty.img"
    disk.write_bytes(b"\0" * (1 << 20))
    uefi = Hardware((Disk(disk, bus="virtio"),), memory=256, firmware="ovmf")
    verdict = witness(uefi, "UEFI Interactive Shell", accelerator=TCG)
    assert verdict.ok, verdict
    assert not any("\x1b" in line for line in verdict.lines)
    assert variables.stat().st_mtime_ns == before
