"""What a build refuses before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from engines.biosiso.build import place
from engines.biosiso.build.params import BuildParams
from engines.biosiso.media import layout
from engines.biosiso.media.making import Detail
from engines.biosiso.vendor import firmware
from engines.job.errors import BadParam, Refused

HELPS = {
    "flash.bat": "build the stick form instead: --form stick",
    "flash.nsh": "flash from DOS with --form stick, or make a FAT32 stick for the UEFI shell: --form uefi",
}


def output(params: BuildParams) -> Path:
    """The output, resolved. Raises Refused where nothing can be written there."""
    output = Path(params.output).resolve()
    folder = output.parent
    if not folder.is_dir():
        raise Refused(f"folder {folder} of the output does not exist", "make it, or name another output")
    if output.is_dir():
        raise Refused(f"output {output} is a folder", "name a file in it, such as bios.iso")
    if output.exists() and not output.is_file():
        raise Refused(f"output {output} is no plain file", "write an ISO file first, then dd it onto the device")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"folder {folder} of the output cannot be written", "name an output in a folder of your own")
    if len(os.fsencode(output.name)) > place.LONGEST_NAME:
        raise BadParam("output", output.name, f"a name of at most {place.LONGEST_NAME} bytes")
    for given in filter(None, (params.firmware, params.dos, *params.add)):
        source = Path(given).resolve()
        if output == source or (source.is_dir() and output.is_relative_to(source)):
            raise Refused(f"output {output} is or lies in the input {given}", "name an output somewhere else")
    return output


def generation(kit: firmware.Kit) -> None:
    """Raises Refused for a package that no DOS disc can flash."""
    if kit.flasher:
        return
    held = f"; it holds {kit.seen()}"
    if kit.script("ami.bat") or kit.script("flash.bat"):
        raise Refused(
            f"{kit.path} has a batch file and no AFUDOSU.SMC{held}",
            "fetch the zip again: the flasher is missing from it; or name another flasher in it: --flasher NAME",
        )
    if kit.kind in ("uefi-only", "capsule"):
        what = "files for a UEFI shell" if kit.kind == "uefi-only" else "a capsule"
        raise Refused(
            f"{kit.path} has {what} and no DOS flasher: this disc is not for this board generation{held}",
            "make a FAT32 stick of it for the board's UEFI shell and Setup: --form uefi",
        )
    packed = [member.name for member in kit.members if member.base.lower().endswith((".zip", ".7z", ".rar"))]
    if packed:
        raise Refused(
            f"{kit.path} has no DOS flasher known here, but a package in it{held}",
            f"unpack {packed[0]}, and name the folder it was unpacked into",
        )
    raise Refused(
        f"{kit.path} has no DOS flasher known here: this disc is not for this board generation{held}",
        "if one of these flashes from DOS: --flasher NAME --command LINE; if it unpacks itself, unpack it and name the "
        "folder; else look for a DOS package on the vendor's "
        "page, or use the update in the BMC's web page or SUM",
    )


def writers(kit: firmware.Kit, form: layout.Form) -> None:
    """FLASH.BAT (and on a dual disc flash.nsh) that leaves itself a note on the medium and reboots."""
    if form in ("stick", "uefi"):
        return
    for name in ("flash.bat", *(("flash.nsh",) if form == "dual" else ())):
        script = kit.script(name)
        if script and script.writes:
            first = script.writes[0]
            raise Refused(
                f"{script.file} line {first.line} {first.what} ({first.text}), which a CD does not let it",
                HELPS[name],
            )


def room(output: Path, params: BuildParams, detail: Detail) -> None:
    """Raises Refused for an output that is an input by another name, and for a disk without room."""
    for given in filter(None, (params.firmware, params.dos, *params.add)):
        if output.exists() and Path(given).exists() and output.samefile(given):
            raise Refused(f"output {output} is the input {given}", "name an output somewhere else")
    room = os.statvfs(output.parent)
    free, needed = room.f_bavail * room.f_frsize, detail.needed()
    if free < needed:
        raise Refused(
            f"{output.parent} has {free} bytes free, the disc needs {needed}", "make room, or name another output"
        )
