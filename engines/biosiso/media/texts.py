"""The texts a disc gets of its own: ASCII, CRLF, and none of them flashes by itself."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

WIDTH = 79  # columns of a DOS text screen, less one


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the texts tell. `rom` is the ROM's name on the disc; `renamed` (vendor's name, name on the disc).

    line: what AMI2.BAT runs, %1 for the ROM. first: the vendor's own way, as typed, where it goes before AMI2.
    """

    rom: str
    rom_vendor: str
    rom_date: str
    board: str
    line: str
    picked_by: str
    vendor_line: str
    dos: str
    form: str
    renamed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    first: str = ""

    @property
    def runs(self) -> str:
        """The line with the ROM in its place."""
        return self.line.replace("%1", self.rom)


def dos_text(lines: Iterable[str]) -> str:
    """Lines as a DOS text: ASCII with CRLF."""
    text = "".join(f"{line}\r\n" for line in lines)
    assert text.isascii() and text.count("\n") == text.count("\r\n")
    return text


def ascii_only(text: str) -> str:
    """A text that any code page shows: what is not ASCII becomes ?."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def echoed(text: str) -> str:
    """A text that ECHO prints as it is: no redirection, pipe or variable."""
    return "".join("_" if char in "<>|%&^" else char for char in ascii_only(text))


def ami2_bat(line: str) -> str:
    """The batch file that flashes, one line."""
    return dos_text([line])


def command(told: Told) -> str:
    """What the technician types by hand."""
    return f"AMI2 {told.rom}"


def typed(told: Told) -> str:
    """What the technician types, the vendor's way first, on one line."""
    return f"{told.first} (the vendor's way); by hand: {command(told)}" if told.first else command(told)


def _ways(told: Told) -> list[str]:
    if not told.first:
        return [f"    {command(told)}", ""]
    return [
        f"    {told.first}    (the vendor's way)",
        "",
        f"or by hand: {command(told)}",
        "",
    ]


def autorun_bat(told: Told) -> str:
    """What DOS runs when it finds the disc: says what to type."""
    said = [
        "",
        f" crashcart BIOS update disc   board: {told.board or 'not named'}   ROM: {told.rom} {told.rom_date}",
        "",
        " Nothing is flashed yet. To flash, type:",
        "",
        *(f" {line}" if line else "" for line in _ways(told)),
        f" AMI2 runs: {told.runs}" if told.first else f" which runs: {told.runs}",
        "",
        " The wrong file can destroy the board. Keep the power on until it is done.",
        " Afterwards: AC off for a minute, then load defaults in Setup. See README.TXT",
        "",
    ]
    return dos_text(["@ECHO OFF", *(f"ECHO {echoed(line)[: WIDTH - 1]}" if line else "ECHO." for line in said)])


def isolinux_cfg(image: str = "btdsk.img", append: str = "") -> str:
    """Boots the DOS image at once: without an own file the stock one would fall through to the hard disk."""
    return dos_text(
        [
            "default dos",
            "prompt 0",
            "timeout 1",
            "label dos",
            "  linux memdisk",
            f"  initrd {image}",
            *([f"  append {append}"] if append else []),
        ]
    )


def syslinux_cfg() -> str:
    """Hands over from syslinux on the RAM disk to the DOS kernel beside it."""
    return dos_text(
        ["default dos", "prompt 0", "timeout 1", "label dos", "  com32 chain.c32", "  append freedos=KERNEL.SYS"]
    )


def config_sys(himem: str) -> str:
    """DOS on a RAM disk: no CD driver, extended memory where the DOS image brings a driver for it."""
    driver = [f"DEVICE=\\{himem}".replace("/", "\\")] if himem else []
    return dos_text(["LASTDRIVE=Z", "FILES=20", "BUFFERS=20", *driver, "SHELL=\\COMMAND.COM /E:512 /P"])


def autoexec_bat() -> str:
    """Shows what to type, and flashes nothing."""
    return dos_text(["@ECHO OFF", "PROMPT $P$G", "AUTORUN.BAT"])


def readme_txt(told: Told) -> str:
    """How to use the disc, for someone who finds only the disc."""
    lines = [
        "BIOS UPDATE DISC",
        "",
        f"Board:  {told.board or 'not named'}",
        f"ROM:    {told.rom}   (vendor's name: {told.rom_vendor})   {told.rom_date}",
        f"DOS:    {told.dos}",
        "",
        "To flash, boot this disc and type:",
        "",
        *_ways(told),
        f"{'AMI2' if told.first else 'which'} runs: {told.runs}   ({told.picked_by} line)",
        f"The vendor's own line: {told.vendor_line or 'none found'}",
        "",
        "1. The wrong file can destroy the board: compare the board's name with the ROM's.",
        "2. Keep the power steady until the flasher says it is done.",
        "3. Then take AC off for a minute (pull the cord; a reset is not enough).",
        "4. Power on, enter Setup, load defaults, save.",
        "",
    ]
    if told.form != "stick":
        lines += ["AMI.BAT is the vendor's: the REN in it fails on a read-only disc. Use AMI2.", ""]
    if told.renamed:
        lines += ["Names on this disc:", *(f"    {disc:<14} was {name}" for name, disc in told.renamed), ""]
    if told.warnings:
        lines += ["Warnings:", *(line for text in told.warnings for line in _wrapped(text)), ""]
    return dos_text(ascii_only(line) for line in lines)


def uefi_readme(board: str, rom: str, steps: list[str], warnings: Iterable[str]) -> str:
    """How to use the stick, for someone who finds only the stick."""
    typed = steps or ["(nothing: choose the file in the flash page of Setup, or in the BMC's web page)"]
    lines = [
        "BIOS UPDATE STICK",
        "",
        f"Board:  {board or 'not named'}",
        f"ROM:    {rom}",
        "",
        "Boot the board's built-in UEFI shell with this stick in it, and type:",
        "",
        *(f"    {line}" for line in typed),
        "",
        "1. The wrong file can destroy the board: compare the board's name with the ROM's.",
        "2. Keep the power steady until the flasher says it is done.",
        "3. Then take AC off for a minute (pull the cord; a reset is not enough).",
        "4. Power on, enter Setup, load defaults, save.",
        "",
        *(line for text in warnings for line in _wrapped(text)),
    ]
    return dos_text(ascii_only(line) for line in lines)


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH - 4, initial_indent="  * ", subsequent_indent="    ")


def manifest_txt(told: Told, files: Iterable[tuple[str, int, str]]) -> str:
    """Every file as (name, size in bytes, SHA-256 hex), and what was decided by whom."""
    lines = [
        f"board: {told.board or 'not named'}",
        f"rom: {told.rom} (vendor's name {told.rom_vendor}) {told.rom_date}",
        f"dos: {told.dos}",
        f"form: {told.form}",
        *([f"vendor's way: {told.first}"] if told.first else []),
        f"command: {told.line}",
        f"picked: {told.picked_by}",
        f"vendor line: {told.vendor_line or 'none found'}",
        *(f"warning: {text}" for text in told.warnings),
        "",
    ]
    return dos_text(ascii_only(line) for line in lines) + listed(files)


def listed(files: Iterable[tuple[str, int, str]]) -> str:
    """The table of a manifest."""
    rows = [f"{sha256} {size:>10} {name}" for name, size, sha256 in sorted(files)]
    return dos_text(ascii_only(line) for line in [f"{'sha256':<64} {'bytes':>10} name", *rows])
