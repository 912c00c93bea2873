"""QEMU as a witness: real boots of boot sectors assembled here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.boot import accel
from engines.boot.accel import Accelerator
from engines.boot.machine import Machine, NotStarted
from engines.boot.media import Disc, Disk, Hardware
from engines.boot.witness import last_lines, witness
from engines.job.errors import Refused

pytestmark = pytest.mark.boot

ROOT = Path(__file__).parents[3]
TCG = Accelerator("tcg", "the tests' choice")
HEAD = """
    bits 16
    org 7C00h
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 7C00h
    sti
    cld
"""
SHOW_KEYS = """
next: xor ah, ah
    int 16h
    cmp al, 13
    jne show
    mov ax, 0E0Ah
    int 10h
    mov al, 13
show: mov ah, 0Eh
    xor bx, bx
    int 10h
    jmp next
"""
SCROLLED = """
    mov ax, 3
    int 10h
    mov ax, 0B800h
    mov es, ax
    mov byte [es:0], 'T'            ; the top of the window, not shown
    mov byte [es:8000h - 2], 'Z'    ; the last cell of the window, the first that is shown
    mov dx, 3D4h
    mov ax, 3F0Ch
    out dx, ax
    mov ax, 0FF0Dh
    out dx, ax
    mov al, 0Ah                     ; the index that the guest had chosen
    out dx, al
rest: hlt
    jmp rest
"""
GRAPHICS = """
    mov ax, 13h
    int 10h
rest: hlt
    jmp rest
"""
RESET = "    jmp 0FFFFh:0\n"
RESET_ON_KEY = "    mov ax, 0E21h\n    xor bx, bx\n    int 10h\n    xor ah, ah\n    int 16h\n" + RESET
WRITES = """
    mov ax, 0301h                   ; its own first sector, over the second
    mov cx, 2
    mov dx, 80h
    mov bx, 7C00h
    int 13h
    mov al, 7
    jnc done
    mov al, 1
done: out 0F4h, al
rest: hlt
    jmp rest
"""
SERIAL = """
    mov si, text
next: lodsb
    test al, al
    jz rest
    mov dx, 3F8h
    out dx, al
    jmp next
rest: hlt
    jmp rest
text: db 27, '[2J', 27, '[1;31mred', 27, '[0m alert', 7, 27, '[5;1Hplaced', 13, 10, 0
"""


@pytest.fixture
def boot_sector(tmp_path: Path) -> Callable[[str], Path]:
    def assembled(code: str) -> Path:
        source, image = tmp_path / "sector.asm", tmp_path / "a, b:c.img"
        source.write_text(f"{HEAD}{code}\n    times 510 - ($ - $$) db 0\n    dw 0AA55h\n    times 2 << 20 db 0\n")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True, stdin=subprocess.DEVNULL)
        return image

    return assembled


def hardware(image: Path, **more: object) -> Hardware:
    return Hardware((Disk(image),), debug_exit=True, **more)  # type: ignore[arg-type]  # fields passed by name


def gone(pid: int, within: float = 30.0) -> bool:
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
    boot_sector: Callable[[str], Path], tmp_path: Path
) -> Iterator[Callable[[], tuple[subprocess.Popen[str], int, Path]]]:
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "tmp").mkdir()

    def start() -> tuple[subprocess.Popen[str], int, Path]:
        child = subprocess.Popen(
            [sys.executable, "-c", PARENT, boot_sector(SHOW_KEYS)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
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


# ── verdicts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_disc_that_is_no_disc_gives_a_verdict_with_a_picture(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.iso"
    nothing.write_bytes(b"\0" * 40960)
    verdict = witness(Hardware((Disc(nothing),)), r"A:\\>", screenshot=tmp_path / "x.png", accelerator=TCG)
    assert not verdict.ok
    assert verdict.why == "the firmware gave up: No bootable device"
    assert any("Could not read from CDROM" in line for line in verdict.last_lines)
    assert verdict.screenshot
    assert verdict.screenshot.read_bytes().startswith(b"\x89PNG")


def test_what_boots_gives_a_good_verdict(boot_sector: Callable[[str], Path]) -> None:
    verdict = witness(hardware(boot_sector(SERIAL)), "red alert", where="serial", accelerator=TCG)
    assert verdict.ok
    assert verdict.why.startswith("'red alert' after ")


def test_a_guest_that_resets_is_a_verdict_that_says_so(boot_sector: Callable[[str], Path]) -> None:
    verdict = witness(hardware(boot_sector(RESET)), "never there", accelerator=TCG)
    assert not verdict.ok
    assert re.fullmatch(r"the guest reset or powered off after \d+\.\d s", verdict.why)


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
    verdict = witness(uefi, "UEFI Interactive Shell", where="serial", accelerator=TCG)
    assert verdict.ok, verdict
    assert not any("\x1b" in line for line in verdict.last_lines)
    assert variables.stat().st_mtime_ns == before


# ── the accelerator ─────────────────────────────────────────────────────────────────────────────────


def test_the_trial_is_its_source_assembled(tmp_path: Path) -> None:
    made = tmp_path / "trial.bin"
    subprocess.run(["nasm", "-f", "bin", "-o", made, ROOT / "engines/boot/trial.asm"], check=True)
    assert made.read_bytes() == accel.TRIAL.ljust(510, b"\0") + b"\x55\xaa"


def test_the_trial_ends_with_its_own_status_where_the_processor_works(tmp_path: Path) -> None:
    disk = tmp_path / "trial.img"
    disk.write_bytes(accel.TRIAL.ljust(510, b"\0") + b"\x55\xaa")
    command = accel._command(accel.located("qemu-system-x86_64"), disk)
    command[command.index("kvm")] = "tcg"
    assert subprocess.run(command, timeout=120, check=False, stdin=subprocess.DEVNULL).returncode == accel.DONE


def test_without_dev_kvm_the_accelerator_is_tcg_and_says_why(tmp_path: Path) -> None:
    verdict = accel.tried(kvm=tmp_path / "kvm")
    assert verdict.name == "tcg"
    assert f"{tmp_path / 'kvm'} does not exist" in verdict.why


def test_a_qemu_that_aborts_under_kvm_means_tcg_with_its_message_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    aborting = tmp_path / "qemu"
    aborting.write_text(
        "#!/bin/sh\necho ran >> \"$0.runs\"\necho 'error: failed to set MSR 0x48f' >&2\nkill -ABRT $$\n"
    )
    aborting.chmod(0o755)
    opens = Path("/dev/null")
    verdict = accel.tried(str(aborting), kvm=opens)
    assert verdict == Accelerator(
        "tcg", "/dev/null opens, but QEMU ended with status -6: error: failed to set MSR 0x48f"
    )
    assert accel.tried(str(aborting), kvm=opens) == verdict
    assert Path(f"{aborting}.runs").read_text() == "ran\n"
    accel.tried(str(aborting), kvm=opens, again=True)
    aborting.write_text(aborting.read_text().replace("0x48f", "0x4ff"))
    assert "0x4ff" in accel.tried(str(aborting), kvm=opens).why
    assert Path(f"{aborting}.runs").read_text() == "ran\nran\nran\n"


def test_a_verdict_of_another_boot_or_a_torn_memory_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    silent = Path(shutil.which("false") or "").resolve()
    kept = tmp_path / "crashcart" / "accelerator.json"
    kept.parent.mkdir()
    known = silent.stat()
    old = {f"another-boot {silent} {known.st_mtime_ns} {known.st_size}": {"name": "kvm", "why": "then"}}
    for content in (json.dumps(old), "{torn", ""):
        kept.write_text(content)
        verdict = accel.tried("false", kvm=Path("/dev/null"))
        assert verdict.name == "tcg"
        assert "status 1: no message" in verdict.why
        assert len(json.loads(kept.read_text())) == 1


def test_the_accelerator_found_here_really_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot_sector: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    verdict = accel.tried()
    assert accel.working() == verdict.name
    assert witness(hardware(boot_sector(SERIAL)), "red alert", where="serial").ok


def test_a_missing_qemu_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(Refused, match="apt-get install qemu-system-x86"):
        accel.tried("qemu-system-nowhere")
