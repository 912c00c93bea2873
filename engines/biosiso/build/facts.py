"""What the review page shows of a planned disc, in the technician's words."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.biosiso.media import layout, texts
from engines.biosiso.media.layout import Entry
from engines.biosiso.media.making import Detail
from engines.biosiso.vendor import batch, board, dos, firmware, rom, switches
from engines.job.contract import BytesChange, Change, TextChange

MOST_RENAMED = 20  # names shown; the disc's README.TXT has them all
SHOWN = ("AMI2.BAT", "AUTORUN.BAT", "ISOLINUX/ISOLINUX.CFG", "CONFIG.SYS", "STARTUP.NSH", "startup.nsh")


def facts(
    kit: firmware.Kit, picked: rom.Rom, system: dos.Dos, told: texts.Told, detail: Detail
) -> tuple[tuple[str, str], ...]:
    """(name, value) pairs; board and ROM come first, side by side."""
    return (
        ("Board", told.board or "not named"),
        ("ROM", f"{told.rom_vendor} ({picked.size} bytes, for {_for_boards(picked)})"),
        ("ROM date", picked.date or picked.date_note),
        ("ROM sha256", picked.sha256),
        *_lines(kit, told),
        ("To type in DOS", texts.typed(told)),
        ("Package", firmware.KINDS[kit.kind]),
        ("Flasher", f"{kit.flasher} sha256 {kit.member(kit.flasher).sha256}"),
        ("DOS", f"{system.words}, {system.size} bytes, sha256 {system.sha256}"),
        ("Disc", f"{_words(detail)}, volume {detail.disc.volume}"),
        *_asides(kit, picked, told, detail),
    )


def uefi_facts(
    kit: firmware.Kit, picked: rom.Rom, named: str, steps: list[str], detail: Detail
) -> tuple[tuple[str, str], ...]:
    """The same of a stick for a UEFI shell."""
    return (
        ("Board", named or "not named"),
        ("ROM", f"{picked.name} ({picked.size} bytes, for {_for_boards(picked)})"),
        ("ROM date", picked.date or picked.date_note),
        ("ROM sha256", picked.sha256),
        ("To type in UEFI", "; ".join(steps) or "nothing: choose the file in Setup's flash page or the BMC's web page"),
        ("Package", firmware.KINDS[kit.kind]),
        ("Stick", _words(detail)),
    )


def _lines(kit: firmware.Kit, told: texts.Told) -> list[tuple[str, str]]:
    default = [("Default line", f"afudosu.exe %1 {switches.DEFAULT}")] if kit.is_amis else []
    return [
        *default,
        ("Vendor's line", " or, by a condition, ".join(map(batch.FlashLine.words, kit.vendor_lines())) or "none found"),
        ("Line on the disc", f"{told.line} ({told.picked_by})"),
    ]


def _asides(kit: firmware.Kit, picked: rom.Rom, told: texts.Told, detail: Detail) -> list[tuple[str, str]]:
    said = []
    if here := board.here():
        said.append(("This machine's board", f"{here} (only to compare; the disc may be for another)"))
    off = {other.name for other in layout.left_off(kit, picked)}
    if others := [other.name for other in kit.roms if other.name in off]:
        said.append(("Left off", ", ".join(others)))
    if told.renamed:
        more = f" and {len(told.renamed) - MOST_RENAMED} more" if len(told.renamed) > MOST_RENAMED else ""
        pairs = "; ".join(f"{was} -> {now}" for was, now in told.renamed[:MOST_RENAMED])
        said.append(("Renamed for DOS", pairs + more))
    if detail.form != "stick" and kit.script("ami.bat"):
        said.append(("AMI.bat", "carried unchanged; its REN cannot work on a disc, so AMI2 is the command to type"))
    said += [
        ("Vendor script", f"{each.file} line {each.line} {each.what}: {each.text}") for each in kit.writers(".bat")
    ]
    return said


def _words(detail: Detail) -> str:
    kinds = {"cd": "", "stick": " in a RAM disk", "dual": " and a UEFI boot image", "uefi": " on FAT32"}
    return f"{len(detail.seen())} files{kinds[detail.form]}, about {detail.size() / 1e6:.0f} MB"


def _for_boards(picked: rom.Rom) -> str:
    return ", ".join(board.boards_of(picked)) or f"{picked.stem.upper()}?"


def changes(output: Path, detail: Detail) -> tuple[Change, ...]:
    """The ISO as a whole, the texts of ours that decide what happens, and every vendor batch that is converted."""
    old = output.stat().st_size if output.exists() else None
    what = "a stick for a UEFI shell" if detail.form == "uefi" else "a bootable disc"
    whole = BytesChange(
        target=str(output), summary=f"{what}: {_words(detail)}", before_size=old, after_size=detail.size()
    )
    entries = {entry.disc: entry for entry in (*detail.disc.entries, *detail.volume)}
    ours = [_new(entry) for name, entry in entries.items() if name in SHOWN and entry.source.kind == "text"]
    return (whole, *ours, *(_converted(entry) for entry in entries.values() if entry.source.crlf))


def _new(entry: Entry) -> TextChange:
    return TextChange(target=f"disc/{entry.disc}", before=None, after=entry.source.text.replace("\r\n", "\n"))


def _converted(entry: Entry) -> TextChange:
    """A batch file with LF line ends, before and after, with each CR shown."""
    with msgspec.structs.replace(entry.source, crlf=False).open() as before, entry.source.open() as after:
        return TextChange(target=f"disc/{entry.disc}", before=_ends(before.read()), after=_ends(after.read()))


def _ends(content: bytes) -> str:
    return content.decode("cp437").replace("\r", "^M")
