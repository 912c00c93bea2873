"""The plan of a build: everything looked at, refused or decided before a byte is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engines.biosiso.build import boottest, facts, place, refusals
from engines.biosiso.build.params import BuildParams
from engines.biosiso.media import iso, layout, stick, texts, uefi, usb
from engines.biosiso.media.layout import Entry
from engines.biosiso.media.making import Detail
from engines.biosiso.vendor import batch, board, dos, firmware, inside, line, names, rom, switches
from engines.job.contract import Choice, Option, Plan, Step
from engines.job.errors import Refused
from engines.job.params import plain

EPOCH_LEAST, EPOCH_MOST = 315532800, 4102444799  # 1980 (FAT) to 2099, Unix s


def plan(params: BuildParams, check: Callable[[], None]) -> Plan:
    """Look at everything a build depends on. Raises Refused."""
    output = refusals.output(params)
    kit = firmware.read(Path(params.firmware), check, params.flasher)
    extra = layout.added(params.add, check)
    if params.form == "uefi":
        return uefi_plan(params, output, kit, extra, check)
    refusals.generation(kit)
    picked = rom.pick(kit.roms, params.rom, kit.path, kit.members, kit.called())
    flash = line.decide(kit, picked, params.switches, params.command)
    found = inside.read(kit.member(picked.name).source, check)
    warnings = list(board.judge(picked, params.board.strip(), params.board_checked, found))
    refusals.writers(kit, params.form)
    if not params.dos:
        raise Refused(f"form {params.form} boots a DOS, and none is named", f"--dos: {dos.GET}")
    system = dos.read(Path(params.dos), check, from_cd=params.form != "stick")
    if params.boot_test:
        boottest.require(params.form, system.kind)
    warnings += [*_line_warnings(flash), *filter(None, [rom.odd(picked)]), *_warnings(kit, flash, params.form)]
    warnings += system.warnings
    entries = layout.named(layout.kept(kit, picked, extra), kit, RESERVED[params.form])
    told = _told(params, kit, picked, system, entries, flash, tuple(warnings))
    detail = _detail(params, output, system, entries, told, _epoch(os.environ, kit, picked))
    detail = msgspec.structs.replace(detail, flasher=flash.program, command=told.first or texts.command(told))
    refusals.room(output, params, detail)
    return Plan(
        task="biosiso",
        target=str(output),
        params=plain(params),
        steps=_steps(params),
        changes=facts.changes(output, detail),
        facts=(*facts.facts(kit, picked, system, told, detail), ("In the ROM", found.words())),
        choices=_choices(flash),
        warnings=tuple(warnings),
        undo=_undo(output),
        confirm=output.name if place.identity(output) else "",
        detail=msgspec.to_builtins(detail),
        state=_state(output, kit, system.sha256, detail),
    ).sealed()


def uefi_plan(
    params: BuildParams, output: Path, kit: firmware.Kit, extra: list[layout.Kept], check: Callable[[], None]
) -> Plan:
    """The plan of a FAT32 stick for the board's UEFI shell; nothing of it is DOS. Raises Refused."""
    picked = rom.pick(kit.roms, params.rom, kit.path, kit.members)
    found = inside.read(kit.member(picked.name).source, check)
    warnings = list(board.judge(picked, params.board.strip(), params.board_checked, found))
    if not found.capsule:
        warnings += filter(None, [rom.odd(picked)])
    if params.boot_test:
        boottest.require(params.form, "")
    steps = usb.way(kit, picked, params.command)
    readme = layout.of_text(usb.README, texts.uefi_readme(params.board.strip(), picked.name, steps, warnings))
    volume = usb.entries(kit, picked, [readme], extra, params.command)
    volume.append(layout.of_text("MANIFEST.TXT", texts.listed(layout.listing(volume))))
    epoch = _epoch(os.environ, kit, picked)
    detail = Detail(
        disc=iso.DiscContent(entries=(), volume="CRASHCART", epoch=epoch),
        volume=tuple(volume),
        output=str(output),
        was=place.identity(output),
        rom=picked.name,
        dos_kind="",
        boot_test=params.boot_test,
        form=params.form,
        command="; ".join(steps),
    )
    refusals.room(output, params, detail)
    return Plan(
        task="biosiso",
        target=str(output),
        params=plain(params),
        steps=_steps(params),
        changes=facts.changes(output, detail),
        facts=(*facts.uefi_facts(kit, picked, params.board.strip(), steps, detail), ("In the ROM", found.words())),
        warnings=tuple(warnings),
        undo=_undo(output),
        confirm=output.name if place.identity(output) else "",
        detail=msgspec.to_builtins(detail),
        state=_state(output, kit, "", detail),
    ).sealed()


def _told(
    params: BuildParams,
    kit: firmware.Kit,
    picked: rom.Rom,
    system: dos.Dos,
    entries: list[Entry],
    flash: line.Line,
    warnings: tuple[str, ...],
) -> texts.Told:
    return texts.Told(
        rom=_disc_rom(entries, picked),
        rom_vendor=picked.name.rpartition("/")[2],
        rom_date=picked.date,
        board=params.board.strip(),
        line=flash.text,
        picked_by=flash.picked,
        vendor_line=" or, by a condition, ".join(each.text for each in kit.vendor_lines()),
        dos=system.words,
        form=params.form,
        renamed=layout.renamed(entries),
        warnings=warnings,
        first=_vendors_way(kit, entries, _disc_rom(entries, picked)),
    )


def _vendors_way(kit: firmware.Kit, entries: list[Entry], name: str) -> str:
    """FLASH.BAT as it is typed, where the package has one: it looks at the flash descriptor before it flashes."""
    if kit.kind != "flash-bat":
        return ""
    found = next((entry.disc for entry in entries if entry.disc.rpartition("/")[2] == "FLASH.BAT"), "")
    script = kit.script("flash.bat")
    itself = script and script.flash_lines and not any("%1" in flash.args for flash in script.flash_lines)
    typed = found.removesuffix(".BAT") if itself else f"{found.removesuffix('.BAT')} {name}"
    return typed.replace("/", "\\") if found else ""


def _line_warnings(flash: line.Line) -> tuple[str, ...]:
    return switches.warnings(flash.chosen, flash.vendor) if flash.chosen else ()


def _disc_rom(entries: list[Entry], picked: rom.Rom) -> str:
    """The ROM's name on the disc: the first entry made of it lies at the top (`layout.kept`)."""
    return next(entry.disc for entry in entries if entry.disc == names.disc_path(picked.name.rpartition("/")[2]))


def _detail(
    params: BuildParams, output: Path, system: dos.Dos, vendor: list[Entry], told: texts.Told, epoch: int
) -> Detail:
    own = [
        layout.of_text("AUTORUN.BAT", texts.autorun_bat(told)),
        layout.of_text("AMI2.BAT", texts.ami2_bat(told.line)),
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
        disc=iso.DiscContent(
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


NOT_OFFERED = "it has no switches, or /X, which skips the ID check"
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
    what = "stick" if params.form == "uefi" else "disc"
    return (
        *image,
        Step(id="write", title=f"Write the {what} beside the output"),
        Step(id="verify", title="Read every file back and compare"),
        *test,
        Step(id="place", title="Put it in place", no_stop="the finished disc is being renamed into place"),
    )


def _warnings(kit: firmware.Kit, flash: line.Line, form: layout.Form) -> list[str]:
    said = []
    if form == "stick" and (script := kit.script("flash.bat")) and script.writes:
        said.append(
            f"{script.file} writes to the RAM disk and reboots, which empties it: run it again after the reboot"
        )
    vendors = kit.vendor_line()
    if vendors and not flash.vendor:
        why = f"its {vendors.opened} is known only when the batch runs" if vendors.opened else NOT_OFFERED
        said.append(f"the vendor's line ({vendors.text}) is not offered: {why}")
    if flash.chosen and len(lines := kit.vendor_lines()) > 1:
        said.append(
            f"the vendor's batch flashes by a condition: {' or '.join(map(batch.FlashLine.words, lines))}; none of "
            "them is offered: see which is meant for this board"
        )
    return said


def _choices(flash: line.Line) -> tuple[Choice, ...]:
    if not flash.chosen:
        return ()
    chosen, offered = flash.chosen, flash.vendor
    options = [Option(value=switches.DEFAULT, label=f"default: afudosu.exe %1 {switches.DEFAULT}")]
    if offered and offered != switches.DEFAULT:
        options.append(
            Option(value=offered, label=f"vendor: afudosu.exe %1 {offered}", why="from the package's own batch file")
        )
    if chosen not in (option.value for option in options):
        options.append(Option(value=chosen, label=f"own: afudosu.exe %1 {chosen}"))
    return (Choice(param="switches", question="Which line flashes?", options=tuple(options), chosen=chosen),)


def _undo(output: Path) -> str:
    if place.identity(output):
        return f"the present {output.name} is kept beside it and put back bit for bit"
    return f"{output.name} is removed again"


def _state(output: Path, kit: firmware.Kit, dos_sha256: str, detail: Detail) -> dict[str, Any]:
    return {
        "firmware": {"sha256": kit.sha256, "files": {member.name: member.sha256 for member in kit.members}},
        "dos": dos_sha256,
        "disc": {entry.disc: entry.sha256 for entry in detail.disc.entries},
        "volume": {entry.disc: entry.sha256 for entry in detail.volume},
        "epoch": detail.disc.epoch,
        **place.state(output),
    }
