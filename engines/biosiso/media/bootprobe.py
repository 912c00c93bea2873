"""Rehearsal media for a firmware disc: a boot floppy that tells what it sees, and a flasher that only sums."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from engines.host.child import bind_to_parent
from engines.job import folders
from engines.job.errors import Failed, Refused

SOURCES = Path(__file__).parent / "probe"
ASSEMBLED = {"BTDSK.IMG": "probe.asm", "AFUDOSU.EXE": "afustub.asm"}
NASM_WITHIN = 60.0  # seconds; 0.1 on an idle machine

_FILE = re.compile(
    r"file (?P<name>.+) size=(?P<size>[0-9A-F]{8}) sum=(?P<sum>[0-9A-F]{8}|unread) flags=(?P<flags>[0-9A-F]{2})"
)
_DRIVE = re.compile(r"cd=([0-9A-F]{2}|none)")
ENDED = r"^end\n"  # a report's last line, which counts once it is whole: its bytes come one by one


@dataclass(frozen=True)
class ProbeMedia:
    """The boot floppy (1.44 MB, as BTDSK.IMG under memdisk) and the stand-in for AFUDOSU.EXE."""

    floppy: Path
    flasher: Path


@dataclass(frozen=True)
class ProbeFile:
    """A file in the disc's root. size: bytes. sum: 32-bit sum of its bytes, None where it could not be read.

    flags: the ISO 9660 file flags; 80h says that the record goes on in the next one, which DOS drivers do not follow.
    """

    name: str
    size: int
    sum: int | None
    flags: int = 0


@dataclass(frozen=True)
class ProbeReport:
    """What a probe told before its line fell silent.

    started: the probe ran at all. cd: BIOS drive number of the disc, None where it cannot be read from DOS.
    complete: the report came to its end. batches: name -> lines. bare_lf: batches with a line that lacks its CR.
    """

    started: bool = False
    cd: int | None = None
    volume: str = ""
    files: tuple[ProbeFile, ...] = ()
    folders: tuple[str, ...] = ()
    batches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bare_lf: frozenset[str] = frozenset()
    root_whole: bool = True
    complete: bool = False

    def file(self, name: str) -> ProbeFile | None:
        """The file that a DOS program opening `name` gets: the first of that name, in any case."""
        return next((found for found in self.files if found.name.upper() == name.upper()), None)


def assemble(out_dir: Path | None = None) -> ProbeMedia:
    """Assemble both media into `out_dir` (the user's cache by default). Raises Refused without nasm."""
    folder = out_dir or _cache()
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in ASSEMBLED.items():
        _assemble(SOURCES / source, folder / name)
    return ProbeMedia(floppy=folder / "BTDSK.IMG", flasher=folder / "AFUDOSU.EXE")


def parse(serial: bytes) -> ProbeReport:
    """The last report in what came over COM1; cut off or garbled input gives what could be understood."""
    text = serial.decode("ascii", "replace").replace("\r", "")
    _, hello, rest = text.rpartition("CRASHCART-PROBE 1\n")
    if not hello:
        return ProbeReport()
    told, end, _ = ("\n" + rest).partition("\nend\n")
    lines = told.split("\n")[1:]
    whole = lines if end else lines[:-1]  # a line that may have been cut is no evidence
    batches, bare_lf = _batches(whole)
    return ProbeReport(
        started=True,
        cd=_drive(whole),
        volume=next((line[7:] for line in whole if line.startswith("volume=")), ""),
        files=tuple(found for found in map(_file, whole) if found),
        folders=tuple(line[4:] for line in whole if line.startswith("dir ")),
        batches=batches,
        bare_lf=bare_lf,
        root_whole="root=incomplete" not in whole and "root=unreadable" not in whole,
        complete=bool(end),
    )


def _drive(lines: list[str]) -> int | None:
    found = next((match for match in map(_DRIVE.fullmatch, lines) if match), None)
    return int(found[1], 16) if found and found[1] != "none" else None


def _file(line: str) -> ProbeFile | None:
    found = _FILE.fullmatch(line)
    if not found:
        return None
    total = None if found["sum"] == "unread" else int(found["sum"], 16)
    return ProbeFile(found["name"], int(found["size"], 16), total, int(found["flags"], 16))


def _batches(lines: list[str]) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    batches: dict[str, tuple[str, ...]] = {}
    bare_lf: set[str] = set()
    name = ""
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "bat":
            name = rest
            batches[name] = ()
        elif kind in ("bat>", "bat_lf>") and name:
            batches[name] += (rest,)
            bare_lf |= {name} if kind == "bat_lf>" else set()
    return batches, frozenset(bare_lf)


def _cache() -> Path:
    return folders.cache("probe")


def _assemble(source: Path, target: Path) -> None:
    """Into place by rename: another run may be reading the old one."""
    nasm = shutil.which("nasm")
    if nasm is None:
        raise Refused(
            "nasm is not installed, and the boot probe is assembled with it", "install it: apt-get install nasm"
        )
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    os.close(handle)
    try:
        done = subprocess.run(
            [nasm, "-f", "bin", "-I", f"{source.parent}/", "-o", draft, str(source)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=NASM_WITHIN,
            preexec_fn=bind_to_parent(),
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise Failed(f"nasm cannot assemble {source}: {said}", "install crashcart afresh")
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)
