"""Boots a finished disc in an emulated machine and has it show that DOS finds on it what was put there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engines.biosiso.media import making, uefi
from engines.biosiso.media.layout import BOOT, Entry, Form
from engines.biosiso.media.making import Detail
from engines.biosiso.vendor.sources import CHUNK, Source
from engines.job.contract import AnyEvent, Log, Section
from engines.job.errors import Failed, Refused

if TYPE_CHECKING:
    from engines.boot.machine import Machine
    from engines.boot.media import Disc as CdDisc
    from engines.boot.media import Disk

PROMPT_WITHIN = 180.0  # s; 1 on an idle machine, a loaded one without KVM takes a minute
FLASH_WITHIN = 180.0  # s
READS = 128 * 1024  # bytes a second that DOS reads and sums at the least, on a loaded machine without KVM
UEFI_WITHIN = 240.0  # s; 12 on an idle machine
SUMMED = 64 * 1024 * 1024  # bytes; larger files are compared by size only
ANSWER = re.compile(r"AFUSTUB ARGS=\[(?P<args>.*?)\]\s+SIZE=(?P<size>[0-9A-F]{8}) SUM=(?P<sum>[0-9A-F]{8})")
GROUPS = str.maketrans("", "", ".,")  # FreeCOM writes 8,388,608 as its country wants it
HELPS = "no ISO was put in place; look at the screenshot, and at the DOS that was named"
Buses = tuple[tuple[str, Callable[[Path], "CdDisc | Disk"]], ...]


@dataclass
class Trial:
    """One boot test: the planned disc, the finished file, and what must come out of DOS."""

    detail: Detail
    path: Path
    folder: Path
    check: Callable[[], None]
    sections: list[Section] = field(default_factory=list)

    @property
    def rom(self) -> str:
        """The ROM's name in DOS."""
        return self.detail.rom

    def entry(self, name: str) -> Entry:
        """A file that DOS will see."""
        return self.detail.entry(name)

    def command(self) -> str:
        """What AMI2.BAT must hand to the flasher."""
        return self.entry("AMI2.BAT").source.text.strip().replace("%1", self.rom).partition(" ")[2]


def patience(within: float, size: int) -> float:
    """Seconds to wait for something that takes `within` and reads `size` bytes besides."""
    return within + size / READS


def run(trial: Trial) -> Generator[AnyEvent, None, None]:
    """Boot it as every kind of drive it is for. Raises Failed with the reason; `trial.sections` hold the evidence."""
    if trial.detail.form == "uefi":
        yield Log(text="booting as UEFI: the stick itself, in the firmware's own shell")
        _uefi(trial, _usb_disk, "UEFI USB disk")
        return
    yield from _as_bios(trial)
    if trial.detail.form == "dual":
        yield Log(text="booting as UEFI: the disc itself, in the firmware's own shell")
        _uefi(trial, _ide, "UEFI CD")


def require(form: Form, dos_kind: str) -> None:
    """Raises Refused where what a boot test needs is not installed."""
    from engines.boot.accel import located
    from engines.boot.media import OVMF

    located("qemu-system-x86_64")
    if form != "uefi" and dos_kind != "probe" and not shutil.which("nasm"):
        raise Refused("a boot test needs nasm, which is not installed", "install it: apt-get install nasm")
    if form in ("dual", "uefi") and not OVMF.is_dir():
        raise Refused(f"a boot test of form {form} needs UEFI firmware in {OVMF}", "install it: apt-get install ovmf")


def _as_bios(trial: Trial) -> Generator[AnyEvent, None, None]:
    buses = _buses(trial.detail.form)
    if trial.detail.dos_kind == "probe":
        for bus, medium in buses:
            yield Log(text=f"booting as {bus}: the disc itself, with the boot probe")
            _probe(trial, trial.path, medium, bus)
        return
    for bus, medium in buses:
        yield Log(text=f"booting as {bus}: the disc itself")
        _dos(trial, medium, bus)
    bus, medium = buses[0]
    with _copy(trial, {trial.detail.flasher: _stand_in()}, "flasher") as copy:
        yield Log(text=f"booting as {bus}: a throwaway copy whose flasher only sums the ROM")
        _flash(trial, copy, medium, bus)
    if trial.detail.form == "stick":
        return
    bus, medium = buses[-1]
    with _copy(trial, {BOOT[4]: _probe_floppy()}, "probe") as copy:
        yield Log(text=f"booting as {bus}: a throwaway copy with the boot probe in place of DOS")
        _probe(trial, copy, medium, f"{bus}, probe")


def _buses(form: Form) -> Buses:
    """An IDE CD drive, and a USB one as a BMC's virtual media; for a stick a USB disk."""
    from engines.boot.media import Disc, Disk

    if form == "stick":
        return (("USB disk", lambda path: Disk(path, bus="usb")), ("IDE CD", lambda path: Disc(path, "ide")))
    return (("IDE CD", lambda path: Disc(path, "ide")), ("USB CD", lambda path: Disc(path, "usb")))


# ── the boots ───────────────────────────────────────────────────────────────────────────────────────


def _dos(trial: Trial, medium: Callable[[Path], CdDisc | Disk], bus: str) -> None:
    from engines.boot.dos import command

    with _booted(trial, trial.path, medium, bus) as machine:
        _prompt(trial, machine, bus)
        for name in ("AMI2.BAT", trial.detail.flasher, trial.rom):
            answer = command(machine, f"dir {name}")
            numbers = {number.translate(GROUPS) for number in re.findall(r"[\d.,]+", " ".join(answer.lines))}
            if str(trial.entry(name).size) not in numbers:
                raise _failed(trial, machine, bus, f"DOS does not list {name} with its {trial.entry(name).size} bytes")
        command(machine, "dir /w")
        _evidence(trial, machine, bus)


def _flash(trial: Trial, copy: Path, medium: Callable[[Path], CdDisc | Disk], bus: str) -> None:
    with _booted(trial, copy, medium, bus) as machine:
        _prompt(trial, machine, bus)
        _type_ami2(trial, machine, f"{bus}, stand-in flasher")


def _probe(trial: Trial, path: Path, medium: Callable[[Path], CdDisc | Disk], bus: str) -> None:
    from engines.biosiso.media import bootprobe

    with _booted(trial, path, medium, bus) as machine:
        summed = sum(entry.size for entry in trial.detail.disc.entries if "/" not in entry.disc)
        seen = machine.wait_for(bootprobe.ENDED, where="serial", deadline=patience(PROMPT_WITHIN, summed))
        report = bootprobe.parse(machine.serial())
        if not seen.found or not report.complete:
            raise _failed(trial, machine, bus, "the boot probe does not report to its end")
        for wrong in differences(trial, report):
            raise _failed(trial, machine, bus, wrong)
        if trial.detail.dos_kind == "probe":
            _prompt(trial, machine, bus)
            _type_ami2(trial, machine, bus)
        else:
            _evidence(trial, machine, bus)


def _type_ami2(trial: Trial, machine: Machine, bus: str) -> None:
    machine.type_text(f"AMI2 {trial.rom}\n")
    within = patience(FLASH_WITHIN, trial.entry(trial.rom).size)
    seen = machine.wait_for(ANSWER.pattern, where="serial", deadline=within)
    found = ANSWER.search(seen.text)
    if not found:
        raise _failed(trial, machine, bus, f"AMI2 {trial.rom} does not reach the flasher")
    size, total = sums(trial.entry(trial.rom))
    said = (found["args"].strip(), int(found["size"], 16), int(found["sum"], 16))
    if said != (trial.command(), size, total):
        raise _failed(
            trial, machine, bus, f"the flasher got {found[0]!r}, not [{trial.command()}] {size:08X} {total:08X}"
        )
    _evidence(trial, machine, bus, f"{found[0]}\nthe ROM's size and sum, computed here: {size:08X} {total:08X}")


def _uefi(trial: Trial, medium: Callable[[Path], CdDisc | Disk], bus: str) -> None:
    with _booted(trial, trial.path, medium, bus, firmware="ovmf", memory=256) as machine:
        seen = machine.wait_for(re.escape(uefi.SAYS), where="serial", deadline=UEFI_WITHIN)
        if not seen.found:
            raise _failed(trial, machine, bus, f"the UEFI shell does not start startup.nsh ({seen.how})")
        machine.pause(1.0)  # for the lines behind it
        told = re.sub(r"\x1b\[[0-9;=]*[A-Za-z]", "", machine.serial().decode("latin-1"))
        said = "\n".join(line.rstrip() for line in told.splitlines() if line.strip())
        _evidence(trial, machine, bus, said[-2000:])


def _ide(path: Path) -> CdDisc:
    from engines.boot.media import Disc

    return Disc(path, "ide")


def _usb_disk(path: Path) -> Disk:
    from engines.boot.media import Disk

    return Disk(path, bus="usb")


# ── what must be seen ───────────────────────────────────────────────────────────────────────────────


def differences(trial: Trial, report: object) -> Iterator[str]:
    """What the probe saw otherwise than planned: names, sizes, sums, and lines of AMI2.BAT."""
    from engines.biosiso.media.bootprobe import ProbeReport

    assert isinstance(report, ProbeReport)
    if report.cd is None:
        yield "DOS could not read the disc that it was booted from"
    if not report.root_whole:
        yield "the disc's root cannot be read whole"
    planned = {entry.disc: entry for entry in trial.detail.disc.entries if "/" not in entry.disc}
    seen = {file.name: file for file in report.files}
    if sorted(planned) != sorted(file.name for file in report.files):
        yield f"names seen from DOS differ: {', '.join(sorted(set(planned) ^ set(seen))[:4]) or 'a name twice'}"
    for name, file in seen.items():
        entry = planned[name]
        summed = entry.size <= SUMMED
        if file.flags or (file.size, file.sum if summed else None) != (entry.size, sums(entry)[1] if summed else None):
            yield f"{name} is not what was written: {file.size} bytes, sum {file.sum}, flags {file.flags}"
    ami2 = tuple(trial.entry("AMI2.BAT").source.text.split("\r\n")[:-1])
    if report.batches.get("AMI2.BAT") != ami2:
        yield f"AMI2.BAT reads {report.batches.get('AMI2.BAT')}, not {ami2}"
    if report.bare_lf:
        yield f"lines that end in LF alone: {', '.join(sorted(report.bare_lf))}"


def sums(entry: Entry) -> tuple[int, int]:
    """(bytes, 32-bit sum of bytes) of an entry's source."""
    size = total = 0
    with entry.source.open() as stream:
        while part := stream.read(CHUNK):
            size += len(part)
            total += sum(part)
    return size, total & 0xFFFFFFFF


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _booted(
    trial: Trial,
    path: Path,
    medium: Callable[[Path], CdDisc | Disk],
    bus: str,
    *,
    firmware: Literal["bios", "ovmf"] = "bios",
    memory: int = 0,
) -> Iterator[Machine]:
    from engines.boot.machine import Machine
    from engines.boot.media import Hardware

    try:
        machine = Machine(
            Hardware(media=(medium(path),), memory=memory or _memory(trial.detail), firmware=firmware),
            check=trial.check,
        )
        with machine:
            yield machine
    except Refused as refused:
        raise Failed(f"the boot test as {bus} cannot run: {refused.why}", refused.what_helps) from None


def _memory(detail: Detail) -> int:
    """MiB: a RAM disk is held beside DOS, and while it is loaded."""
    return 128 + sum(entry.size for entry in detail.volume) // (1024 * 1024) * 2


def _prompt(trial: Trial, machine: Machine, bus: str) -> None:
    from engines.boot.dos import wait_for_prompt

    loaded = sum(entry.size for entry in trial.detail.volume)
    answer = wait_for_prompt(machine, PROMPT_WITHIN + loaded / READS)
    if not answer.found:
        raise _failed(trial, machine, bus, f"no DOS prompt ({answer.how} after {answer.seconds:.0f} s)")


def _failed(trial: Trial, machine: Machine, bus: str, why: str) -> Failed:
    lines = [line for line in machine.screen() if line][-3:]
    _evidence(trial, machine, bus)
    shown = f"; the screen ends with: {' / '.join(lines)}" if lines else "; the screen is empty"
    return Failed(f"boot test as {bus}: {why}{shown}", HELPS)


def _evidence(trial: Trial, machine: Machine, bus: str, said: str = "") -> None:
    """Screen lines and a picture for the report; a state disk without room costs the picture only."""
    lines = "\n".join(line for line in machine.screen() if line)
    trial.sections.append(Section(title=f"Booted as {bus}", text=f"{lines}\n{said}".strip()))
    name = "boot-" + re.sub(r"[^a-z]+", "-", bus.lower()) + ".png"
    try:
        machine.screendump(trial.folder / name)
    except Refused:
        (trial.folder / name).unlink(missing_ok=True)
        return
    trial.sections.append(Section(title=f"Screen as {bus}", file=name))


# ── throwaway copies ────────────────────────────────────────────────────────────────────────────────


def _copy(trial: Trial, other: dict[str, Source], word: str) -> AbstractContextManager[Path]:
    return making.variant(trial.detail, other, trial.path.with_name(f"{trial.path.name}-{word}"), trial.check)


def _stand_in() -> Source:
    from engines.biosiso.media.bootprobe import assemble

    return Source(kind="file", path=str(assemble().flasher))


def _probe_floppy() -> Source:
    from engines.biosiso.media.bootprobe import assemble

    return Source(kind="file", path=str(assemble().floppy))
