"""The plan of a build: everything looked at, refused or decided before a byte is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engines.biosiso import board, dos, fat16, firmware, iso, layout, names, place, rom, stick, switches, texts, uefi
from engines.biosiso.layout import Entry
from engines.biosiso.making import Detail
from engines.biosiso.order import BuildParams
from engines.job.contract import BytesChange, Change, Choice, Option, Plan, Step, TextChange
from engines.job.errors import BadParam, Refused
from engines.job.params import plain

EPOCH_LEAST, EPOCH_MOST = 315532800, 4102444799  # 1980 (FAT) to 2099, Unix s


def plan(params: BuildParams, check: Callable[[], None]) -> Plan:
    """Look at everything a build depends on. Raises Refused."""
    output = _output(params)
    chosen = switches.read(params.switches)
    kit = firmware.read(Path(params.firmware), check)
    _refuse_generation(kit)
    picked = rom.pick(kit.roms, params.rom, kit.path)
    warnings = list(board.judge(picked, params.board.strip(), params.board_checked))
    _refuse_writers(kit, params.form)
    system = dos.read(Path(params.dos), check, from_cd=params.form != "stick")
    extra = layout.added(params.add, check)
    line = kit.vendor_line()
    offered = switches.offered(line.switches if line else "")
    warnings += [*switches.warnings(chosen, offered), *_warnings(kit, params.form), *system.warnings]
    entries = layout.named(layout.kept(kit, picked, extra), kit, RESERVED[params.form])
    told = texts.Told(
        rom=_disc_rom(entries, picked),
        rom_vendor=picked.name.rpartition("/")[2],
        rom_date=picked.date,
        board=params.board.strip(),
        switches=chosen,
        picked_by=switches.picked_by(chosen, offered),
        vendor_line=line.text if line else "",
        dos=system.words,
        form=params.form,
        renamed=layout.renamed(entries),
        warnings=tuple(warnings),
    )
    detail = _detail(params, output, system, entries, told, _epoch(os.environ, kit, picked))
    _refuse_place(output, params, detail)
    return Plan(
        task="biosiso",
        target=str(output),
        params=plain(params),
        steps=_steps(params),
        changes=tuple(_changes(output, detail)),
        facts=tuple(_facts(kit, picked, system, told, detail)),
        choices=_choices(chosen, offered),
        warnings=tuple(warnings),
        undo=_undo(output),
        confirm=output.name if place.identity(output) else "",
        detail=msgspec.to_builtins(detail),
        state=_state(output, kit, system, detail),
    ).sealed()


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────


def _output(params: BuildParams) -> Path:
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
    for given in (params.firmware, params.dos, *params.add):
        source = Path(given).resolve()
        if output == source or (source.is_dir() and output.is_relative_to(source)):
            raise Refused(f"output {output} is or lies in the input {given}", "name an output somewhere else")
    return output


def _refuse_generation(kit: firmware.Kit) -> None:
    if kit.flasher:
        return
    if kit.script("ami.bat") or kit.script("flash.bat"):
        raise Refused(
            f"{kit.path} has a batch file and no AFUDOSU.SMC", "fetch the zip again: the flasher is missing from it"
        )
    if kit.kind == "uefi-only":
        raise Refused(
            f"{kit.path} has flash.nsh and neither AFUDOSU.SMC nor AMI.bat: this disc is not for this board generation",
            "unzip it onto a FAT32 stick, and run flash.nsh in the board's built-in UEFI shell",
        )
    raise Refused(
        f"{kit.path} has neither AFUDOSU.SMC nor AMI.bat: this disc is not for this board generation",
        "look for a DOS package on the vendor's page, or use the update in the BMC's web page or SUM",
    )


def _refuse_writers(kit: firmware.Kit, form: layout.Form) -> None:
    """FLASH.BAT (and on a dual disc flash.nsh) that leaves itself a note on the medium and reboots."""
    if form == "stick":
        return
    for name in ("flash.bat", *(("flash.nsh",) if form == "dual" else ())):
        script = kit.script(name)
        if script and script.writes:
            first = script.writes[0]
            raise Refused(
                f"{script.file} line {first.line} {first.what} ({first.text}), which a CD does not let it",
                "build the stick form instead: --form stick",
            )


def _refuse_place(output: Path, params: BuildParams, detail: Detail) -> None:
    for given in (params.firmware, params.dos, *params.add):
        if output.exists() and Path(given).exists() and output.samefile(given):
            raise Refused(f"output {output} is the input {given}", "name an output somewhere else")
    room = os.statvfs(output.parent)
    free, needed = room.f_bavail * room.f_frsize, _needed(detail)
    if free < needed:
        raise Refused(
            f"{output.parent} has {free} bytes free, the disc needs {needed}", "make room, or name another output"
        )


def _size(detail: Detail) -> int:
    """Bytes of the finished disc, rounded up."""
    volume = 0
    if detail.volume:
        shape = fat16.layout(detail.volume) if detail.form == "stick" else uefi.shape(detail.volume)
        volume = shape.total * fat16.SECTOR
    return iso.size(detail.disc.entries) + volume


def _needed(detail: Detail) -> int:
    """Bytes that a build takes beside the output: with a FAT volume or a boot test there are two copies for a while."""
    return _size(detail) * (2 if detail.volume or detail.boot_test else 1)


# ── decisions ───────────────────────────────────────────────────────────────────────────────────────


def _disc_rom(entries: list[Entry], picked: rom.Rom) -> str:
    """The ROM's name on the disc: the first entry made of it lies at the top (`layout.kept`)."""
    return next(entry.disc for entry in entries if entry.disc == names.disc_path(picked.name.rpartition("/")[2]))


def _detail(
    params: BuildParams, output: Path, system: dos.Dos, vendor: list[Entry], told: texts.Told, epoch: int
) -> Detail:
    own = [
        layout.of_text("AUTORUN.BAT", texts.autorun_bat(told)),
        layout.of_text("AMI2.BAT", texts.ami2_bat(told.switches)),
        layout.of_text("README.TXT", texts.readme_txt(told)),
    ]
    volume: list[Entry] = []
    if params.form == "stick":
        volume = stick.ram_entries(system, own, vendor)
        files, listed = [*stick.disc_boot_entries(), own[2]], volume
    else:
        files = listed = [*layout.boot_entries(system), *own, *vendor]
    manifest = layout.of_text("MANIFEST.TXT", texts.manifest_txt(told, layout.listing(listed)))
    if params.form == "stick":
        volume = [*volume, manifest]
    if params.form == "dual":
        volume = uefi.entries([own[2], manifest], vendor, told.rom)
    return Detail(
        disc=iso.Disc(
            entries=(*files, manifest),
            volume=re.sub(r"[^A-Z0-9_]", "_", told.rom.upper())[:16],
            epoch=epoch,
            hybrid=params.form == "stick",
        ),
        volume=tuple(volume),
        output=str(output),
        was=place.identity(output),
        rom=told.rom,
        dos_kind=system.kind,
        boot_test=params.boot_test,
        form=params.form,
    )


RESERVED = {"cd": (), "stick": stick.RESERVED, "dual": ("STARTUP.NSH", uefi.MARK)}


def _epoch(environment: Mapping[str, str], kit: firmware.Kit, picked: rom.Rom) -> int:
    """The one time on the disc: SOURCE_DATE_EPOCH, else the ROM's own, so that the same input gives the same bytes."""
    given = environment.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdecimal() or not EPOCH_LEAST <= int(given) <= EPOCH_MOST:
            raise Refused(f"SOURCE_DATE_EPOCH is {given!r}", "give it in Unix seconds from 1980 to 2099, or unset it")
        return int(given)
    member = kit.member(picked.name)
    dated = member.dated or Path(member.source.path).stat().st_mtime
    return int(min(max(dated, EPOCH_LEAST), EPOCH_MOST))


def _steps(params: BuildParams) -> tuple[Step, ...]:
    test = (Step(id="boot", title="Boot it in an emulated machine"),) if params.boot_test else ()
    words = {"stick": "Make the RAM disk", "dual": "Make the UEFI boot image"}
    image = (Step(id="image", title=words[params.form]),) if params.form in words else ()
    return (
        *image,
        Step(id="write", title="Write the disc beside the output"),
        Step(id="verify", title="Read every file back and compare"),
        *test,
        Step(id="place", title="Put it in place", no_stop="the finished disc is being renamed into place"),
    )


def _warnings(kit: firmware.Kit, form: layout.Form) -> list[str]:
    said = []
    if form == "stick" and (script := kit.script("flash.bat")) and script.writes:
        said.append(
            f"{script.file} writes to the RAM disk and reboots, which empties it: run it again after the reboot"
        )
    line = kit.vendor_line()
    if line and not switches.offered(line.switches):
        said.append(
            f"the vendor's line ({line.text}) is not offered: it has no switches, or /X, which skips the ID check"
        )
    return said


def _choices(chosen: str, offered: str) -> tuple[Choice, ...]:
    options = [Option(value=switches.DEFAULT, label=f"default: afudosu.exe %1 {switches.DEFAULT}")]
    if offered and offered != switches.DEFAULT:
        options.append(
            Option(value=offered, label=f"vendor: afudosu.exe %1 {offered}", why="from the package's own batch file")
        )
    if chosen not in (option.value for option in options):
        options.append(Option(value=chosen, label=f"own: afudosu.exe %1 {chosen}"))
    return (Choice(param="switches", question="Which line flashes?", options=tuple(options), chosen=chosen),)


# ── words ───────────────────────────────────────────────────────────────────────────────────────────


def _undo(output: Path) -> str:
    if place.identity(output):
        return f"the present {output.name} is kept beside it and put back bit for bit"
    return f"{output.name} is removed again"


def _facts(
    kit: firmware.Kit, picked: rom.Rom, system: dos.Dos, told: texts.Told, detail: Detail
) -> list[tuple[str, str]]:
    line = kit.vendor_line()
    here = board.here()
    facts = [
        ("Board", told.board or "not named"),
        ("ROM", f"{told.rom_vendor} ({picked.size} bytes, for {_for_boards(picked)})"),
        ("ROM date", picked.date or picked.date_note),
        ("ROM sha256", picked.sha256),
        ("Flasher", f"{kit.flasher} sha256 {kit.member(kit.flasher).sha256}"),
        ("Package", firmware.KINDS[kit.kind]),
        ("Default line", f"afudosu.exe %1 {switches.DEFAULT}"),
        ("Vendor's line", f"{line.text} ({line.file} line {line.line})" if line else "none found"),
        ("Line on the disc", f"afudosu.exe %1 {told.switches} ({told.picked_by})"),
        ("To type in DOS", texts.command(told)),
        ("DOS", f"{system.words}, {system.size} bytes, sha256 {system.sha256}"),
        ("Disc", f"{_words(detail)}, volume {detail.disc.volume}"),
    ]
    facts += [("This machine's board", f"{here} (only to compare; the disc may be for another)")] if here else []
    facts += (
        [("Left off", ", ".join(other.name for other in kit.roms if other.name != picked.name))]
        if len(kit.roms) > 1
        else []
    )
    facts += (
        [("Renamed for DOS", "; ".join(f"{was} -> {now}" for was, now in told.renamed[:20]))] if told.renamed else []
    )
    facts += [
        ("Vendor script", f"{each.file} line {each.line} {each.what}: {each.text}") for each in kit.writers(".bat")
    ]
    return facts


def _words(detail: Detail) -> str:
    kinds = {"cd": "", "stick": " in a RAM disk", "dual": " and a UEFI boot image"}
    return f"{len(detail.seen())} files{kinds[detail.form]}, about {_size(detail)} bytes"


def _for_boards(picked: rom.Rom) -> str:
    return ", ".join(board.boards_of(picked)) or f"{picked.stem.upper()}?"


def _changes(output: Path, detail: Detail) -> list[Change]:
    size = _size(detail)
    old = output.stat().st_size if output.exists() else None
    summary = f"a bootable disc: {_words(detail)}"
    changes: list[Change] = [BytesChange(target=str(output), summary=summary, before_size=old, after_size=size)]
    for entry in {entry.disc: entry for entry in (*detail.disc.entries, *detail.volume)}.values():
        if entry.disc in ("AMI2.BAT", "AUTORUN.BAT", "ISOLINUX/ISOLINUX.CFG"):
            changes.append(
                TextChange(target=f"disc/{entry.disc}", before=None, after=_shown(entry.source.text.encode()))
            )
        elif entry.source.crlf:
            changes.append(_converted(entry))
    return changes


def _converted(entry: Entry) -> TextChange:
    """A batch file with LF line ends, before and after, with each CR shown."""
    with msgspec.structs.replace(entry.source, crlf=False).open() as before, entry.source.open() as after:
        return TextChange(target=f"disc/{entry.disc}", before=_ends(before.read()), after=_ends(after.read()))


def _ends(content: bytes) -> str:
    return content.decode("cp437").replace("\r", "^M")


def _shown(content: bytes) -> str:
    return content.decode("cp437").replace("\r\n", "\n")


def _state(output: Path, kit: firmware.Kit, system: dos.Dos, detail: Detail) -> dict[str, Any]:
    return {
        "firmware": {"sha256": kit.sha256, "files": {member.name: member.sha256 for member in kit.members}},
        "dos": system.sha256,
        "disc": {entry.disc: entry.sha256 for entry in detail.disc.entries},
        "volume": {entry.disc: entry.sha256 for entry in detail.volume},
        "epoch": detail.disc.epoch,
        **place.state(output),
    }
