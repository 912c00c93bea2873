"""A FAT32 stick for the board's UEFI shell: the vendor's files under their own names; its start only tells."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from engines.biosiso.media import layout
from engines.biosiso.media.layout import Entry
from engines.biosiso.media.texts import dos_text
from engines.biosiso.media.uefi import DRIVES, MARK, SAYS
from engines.biosiso.vendor.firmware import Kit
from engines.biosiso.vendor.names import DEEPEST
from engines.biosiso.vendor.rom import Rom
from engines.biosiso.vendor.sources import CHUNK
from engines.job.errors import Failed, Refused

MIB = 1024 * 1024
START = MIB  # bytes before the partition
README = "READ-ME-FIRST.TXT"
LEAST = 64 * MIB  # FAT32 has at least 65,525 clusters
SERIAL = 0x43524153
TOOL_WITHIN = 600.0  # s for one file; a stick's image lies on a disk of this machine
AGAIN = "apt-get install --reinstall dosfstools mtools"


def require_tools() -> None:
    """Raises Refused with the packages where what makes the stick is missing."""
    for tool, package in (("mkfs.fat", "dosfstools"), ("mcopy", "mtools"), ("mmd", "mtools")):
        if not shutil.which(tool, path=_path()):
            raise Refused(f"{tool} is not installed", f"install it: apt-get install {package}")


def entries(kit: Kit, rom: Rom, own: list[Entry], added: list[layout.Kept], command: str) -> list[Entry]:
    """The stick's files; none that is the vendor's is renamed. Raises Refused on names alike."""
    require_tools()
    others = {other.name for other in layout.left_off(kit, rom)}
    files = [
        Entry(disc=_own(member.name), name=member.name, source=member.source, size=member.size, sha256=member.sha256)
        for member in kit.members
        if member.name not in others
    ]
    files += [
        Entry(disc=file.path, name=file.path, source=file.source, size=file.size, sha256=file.sha256) for file in added
    ]
    start = layout.of_text("startup.nsh", startup_nsh(kit, rom, command))
    ours = [start, layout.of_text(MARK, "crashcart BIOS update stick\r\n"), *own]
    names = [entry.disc.lower() for entry in (*ours, *files)]
    for entry in files:
        if names.count(entry.disc.lower()) > 1:
            raise Refused(f"{entry.disc} would be twice on the stick", "leave one of them out, or rename it")
        if entry.disc.count("/") > DEEPEST or not entry.disc.isascii():
            raise Refused(f"{entry.disc} does not fit on the stick", "put it higher up, under an ASCII name")
    return [*ours, *files]


def _own(name: str) -> str:
    """A vendor's file under its own name, but for one that a shell would start by itself."""
    return "vendor-startup.nsh" if name.lower() == "startup.nsh" else name


def way(kit: Kit, rom: Rom, command: str) -> list[str]:
    """What is typed in the UEFI shell, line by line; empty where the package has nothing for it."""
    base = rom.name.rpartition("/")[2]
    script = next((each.file for each in kit.scripts if each.file.lower().endswith("flash.nsh")), "")
    script = script or next((each.file for each in kit.scripts if each.file.lower().endswith(".nsh")), "")
    if command.strip():
        folder = next((file.folder for file in kit.members if file.base.lower().endswith(".efi")), "")
        return [*_into(folder), command.strip().replace("%1", base)]
    if script:
        folder, _, name = _own(script).rpartition("/")
        return [*_into(folder), f"{name} {base}"]
    return []


def _into(folder: str) -> list[str]:
    return ["cd " + folder.replace("/", "\\")] if folder else []


def startup_nsh(kit: Kit, rom: Rom, command: str) -> str:
    """Goes to its drive and says what to type: a shell starts it by itself, so it never flashes."""
    typed = way(kit, rom, command) or [
        "nothing here runs in a shell: choose the file in the flash page of Setup, or in the BMC's web page:",
        rom.name.replace("/", "\\"),
    ]
    drives = " ".join(f"FS{number}" for number in range(DRIVES))
    lines = [
        "@echo -off",
        f"for %d in {drives}",
        f"  if exist %d:\\{MARK} then",
        "    %d:",
        "    goto found",
        "  endif",
    ]
    lines += ["endfor", 'echo "CRASHCART-UEFI: its own drive was not found, type: map -r"', "goto done", ":found", "ls"]
    lines += [f'echo "{SAYS}. To flash, type:"', *(f'echo "  {_echoed(line)}"' for line in typed)]
    return dos_text([*lines, f'echo "The wrong file can destroy the board. See {README}"', ":done"])


def _echoed(text: str) -> str:
    return "".join("_" if char in '"%^<>|' or not " " <= char <= "~" else char for char in text)


def size(files: Sequence[Entry]) -> int:
    """Bytes of the whole image."""
    held = sum(-(-entry.size // 4096) * 4096 + 4096 for entry in files)
    return max(LEAST, -(-(held + held // 100 + 8 * MIB) // MIB) * MIB)


def make(files: Sequence[Entry], out: Path, epoch: int) -> Generator[tuple[int, int], None, None]:
    """Write the image to `out`; yields (bytes done, total). Raises Failed."""
    total, done = sum(entry.size for entry in files), 0
    with out.open("xb") as stream:
        stream.truncate(size(files))
        stream.write(_mbr(size(files)))
    sectors = str(START // 512)
    _run(
        ["mkfs.fat", "-F", "32", "--invariant", "-i", f"{SERIAL:08X}", "-n", "CRASHCART", "--offset", sectors, str(out)]
    )
    folders = {
        "/".join(entry.disc.split("/")[:depth]) for entry in files for depth in range(1, entry.disc.count("/") + 1)
    }
    for folder in sorted(folders):
        _run(["mmd", "-i", f"{out}@@{START}", f"::{folder}"], epoch)
    for entry in files:
        for written in _copied(entry, out, epoch):
            done += written
            yield done, total


def _copied(entry: Entry, out: Path, epoch: int) -> Generator[int, None, None]:
    child = subprocess.Popen(
        ["mcopy", "-i", f"{out}@@{START}", "-", f"::{entry.disc}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(epoch),
    )
    assert child.stdin is not None and child.stderr is not None
    try:
        with entry.source.open() as source:
            while part := source.read(CHUNK):
                child.stdin.write(part)
                yield len(part)
        child.stdin.close()
        said = child.stderr.read().decode("utf-8", "replace").strip()
        if child.wait(TOOL_WITHIN):
            raise Failed(f"mcopy cannot write {entry.disc}: {said[-200:] or 'no word'}", AGAIN)
    except BrokenPipeError:
        said = child.stderr.read().decode("utf-8", "replace").strip()
        raise Failed(f"mcopy cannot write {entry.disc}: {said[-200:] or 'no word'}", AGAIN) from None
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def _run(argv: list[str], epoch: int = 0) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(epoch), timeout=TOOL_WITHIN, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-200:] or "no word"
        raise Failed(f"{argv[0]} cannot make the stick: {said}", AGAIN)


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _environment(epoch: int) -> dict[str, str]:
    return {**os.environ, "PATH": _path(), "SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}


def _mbr(total: int) -> bytes:
    first, count = START // 512, (total - START) // 512
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x0C, b"\xfe\xff\xff", first, count)
    return bytes(440) + b"CRSH\0\0" + entry + bytes(48) + b"\x55\xaa"


def check(files: Sequence[Entry], image: Path) -> Generator[tuple[int, int], None, None]:
    """Read every file back by a reader that did not write it (The Sleuth Kit); yields (bytes read, total).

    Raises Failed at the first difference. Once it has ended, the image is on the disk.
    """
    import pytsk3

    done, total = 0, sum(entry.size for entry in files)
    with image.open("rb") as stream:
        os.fsync(stream.fileno())
    try:
        system = pytsk3.FS_Info(pytsk3.Img_Info(str(image)), offset=START)
    except OSError as error:
        raise Failed(f"the stick's file system cannot be read back: {error}", AGAIN) from None
    for entry in files:
        found = hashlib.sha256()
        held = _opened(system, entry)
        for at in range(0, held.info.meta.size, CHUNK):
            part = held.read_random(at, min(CHUNK, held.info.meta.size - at))
            found.update(part)
            done += len(part)
            yield done, total
        if found.hexdigest() != entry.sha256:
            raise Failed(f"{entry.disc} reads back differently from {entry.source.name}", "start again, and review")
    yield total, total


def _opened(system: Any, entry: Entry) -> Any:
    try:
        return system.open(f"/{entry.disc}")
    except OSError:
        raise Failed(f"{entry.disc} is not on the stick", "start again, and review") from None
