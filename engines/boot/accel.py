"""Whether KVM really runs a guest here, found out by running one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from engines.host import places
from engines.host.child import bind_to_parent
from engines.host.holder import boot_id
from engines.job.errors import Refused

KVM = Path("/dev/kvm")
DEADLINE = 8.0  # seconds; KVM on a processor needs well under one, also on a busy machine
DONE = 85  # isa-debug-exit ends QEMU with (2Ah << 1) | 1
INSTALL = "install it: apt-get install qemu-system-x86"
# trial.asm, assembled: long mode, a hundred million loops, then the exit port. No nasm is needed at run time.
TRIAL = bytes.fromhex(
    "ea057c0000fafc31c08ed88ec08ed0bc007ce4920c02e692bf0010b9000c6631c0f366ab66c70600100320000066c706"
    "00200330000066c70600308300000066b8001000000f22d80f20e06683c8200f22e066b9800000c00f32660d00010000"
    "0f300f0116a07c0f20c0660d010000800f22c0ea787c0800b900e1f505ffc975fc31c00fa2b02ae6f4f4ebfd90909090"
    "000000000000000000000000009a20000f00907c"
)


@dataclass(frozen=True)
class Accelerator:
    """QEMU's accelerator here and, in one line for a technician, why it is this one."""

    name: Literal["kvm", "tcg"]
    why: str


def working(qemu: str = "qemu-system-x86_64") -> Literal["kvm", "tcg"]:
    """The name of the accelerator that works; see `tried`."""
    return tried(qemu).name


def tried(
    qemu: str = "qemu-system-x86_64",
    *,
    kvm: Path = KVM,
    deadline: float = DEADLINE,
    again: bool = False,
    check: Callable[[], None] | None = None,
) -> Accelerator:
    """Run the trial boot sector under KVM once per machine boot and QEMU binary, and remember the verdict.

    qemu: a name on PATH or a path. deadline: seconds for the trial. check: called every 0.1 s, raises to
    stop. again: a new trial whatever is remembered. Raises Refused where QEMU is not installed.
    """
    binary = located(qemu)
    try:
        os.close(os.open(kvm, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Accelerator(
            "tcg", f"{kvm} does not exist: no virtualisation in this machine, or its module is not loaded"
        )
    except OSError as error:
        return Accelerator("tcg", f"{kvm} does not open: {error.strerror}")
    remembered = None if again else _remembered(binary)
    if remembered is None:
        remembered = _trial(binary, kvm, deadline, check or _never)
        _remember(binary, remembered)
    return remembered


def located(qemu: str) -> Path:
    """The QEMU binary as a path; raises Refused where there is none."""
    found = shutil.which(qemu)
    if found is None:
        raise Refused(f"{qemu} is not installed", INSTALL)
    return Path(found).resolve()


def _trial(binary: Path, kvm: Path, deadline: float, check: Callable[[], None]) -> Accelerator:
    with tempfile.TemporaryDirectory(prefix="crashcart-trial-") as folder:
        disk, said = Path(folder, "trial.img"), Path(folder, "stderr")
        disk.write_bytes(TRIAL.ljust(510, b"\0") + b"\x55\xaa")
        started = time.monotonic()
        with said.open("wb") as stderr:
            status = _run(_command(binary, disk), stderr, deadline, check)
        seconds = time.monotonic() - started
        last = _last_line(said.read_text("utf-8", "replace"))
    if status == DONE:
        return Accelerator("kvm", f"{kvm} opens and a 64-bit guest ran under it in {seconds:.1f} s")
    if status is None:
        why = f"the 64-bit trial guest had not ended after {deadline:.0f} s (a processor needs less than one)"
    else:
        why = f"QEMU ended with status {status}: {last or 'no message'}"
    return Accelerator("tcg", f"{kvm} opens, but {why}")


def _command(binary: Path, disk: Path) -> list[str]:
    path = str(disk).replace(",", ",,")
    return [
        *(
            str(binary),
            "-accel",
            "kvm",
            "-machine",
            "pc",
            "-nodefaults",
            "-display",
            "none",
            "-m",
            "16",
            "-no-reboot",
        ),
        *("-drive", f"file={path},format=raw,if=ide,snapshot=on"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=1"),
    ]


def _run(command: list[str], stderr: BinaryIO, deadline: float, check: Callable[[], None]) -> int | None:
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=bind_to_parent(),
    )
    end = time.monotonic() + deadline
    try:
        while time.monotonic() < end:
            check()
            try:
                return child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        return None
    finally:
        child.kill()
        child.wait()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "warning:" not in line]
    return lines[-1].strip() if lines else ""


def _never() -> None:
    return None


# ── the memory ──────────────────────────────────────────────────────────────────────────────────────


def _memory() -> Path:
    return places.cache("accelerator.json")


def _key(binary: Path) -> str:
    known = binary.stat()
    return f"{boot_id()} {binary} {known.st_mtime_ns} {known.st_size}"


def _remembered(binary: Path) -> Accelerator | None:
    return _this_boot().get(_key(binary))


def _this_boot() -> dict[str, Accelerator]:
    try:
        kept = msgspec.json.decode(_memory().read_bytes(), type=dict[str, Accelerator])
    except (OSError, msgspec.MsgspecError):
        return {}
    now = boot_id()
    return {key: verdict for key, verdict in kept.items() if key.startswith(now)}


def _remember(binary: Path, verdict: Accelerator) -> None:
    """Keep this boot's verdicts; a cache that cannot be written costs another trial, nothing else."""
    try:
        path = _memory()
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".accelerator-", delete=False) as new:
            new.write(msgspec.json.encode({**_this_boot(), _key(binary): verdict}))
        Path(new.name).replace(path)
    except OSError:
        return
