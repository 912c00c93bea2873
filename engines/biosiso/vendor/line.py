"""The one line that flashes: for AMI's flasher its switches, for any other the whole command."""

from __future__ import annotations

import re

import msgspec

from engines.biosiso.vendor import names, switches
from engines.biosiso.vendor.batch import FlashLine
from engines.biosiso.vendor.firmware import Kit
from engines.biosiso.vendor.rom import Rom
from engines.job.errors import BadParam, Refused

AMIS = "afudosu.exe"
LONGEST = 110  # characters; DOS takes 126 on a line
ALLOWED = "the flasher's name and its words, %1 where the ROM stands, such as: efiflash %1 /C"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The command with %1 for the ROM, its first word a file of the disc.

    chosen: the switches in it, where they are AMI's. vendor: the vendor's own, where it can be offered.
    picked: default, vendor or own.
    """

    text: str
    chosen: str = ""
    vendor: str = ""
    picked: str = "own"

    @property
    def program(self) -> str:
        """The flasher's name on the disc."""
        return self.text.partition(" ")[0].upper()


def decide(kit: Kit, rom: Rom, given_switches: str, command: str) -> Line:
    """The line for the disc. Raises Refused, BadParam."""
    if kit.is_amis and not command.strip():
        found = kit.vendor_line()
        vendor = switches.offered(found.switches if found and not found.opened else "")
        chosen = switches.read(given_switches)
        picked = switches.picked_by(chosen, vendor)
        return Line(text=f"{AMIS} %1 {chosen}", chosen=chosen, vendor=vendor, picked=picked)
    program = AMIS if kit.is_amis else names.level1(kit.flasher.rpartition("/")[2]).lower()
    vendor = _vendors(kit, rom, program)
    if command.strip():
        return Line(text=f"{program} {_read(command, kit)}", vendor=vendor)
    if not vendor:
        if len(lines := kit.vendor_lines()) > 1:
            raise Refused(
                f"{kit.path} calls {kit.flasher} by a condition: {' or '.join(map(FlashLine.words, lines))}",
                f'give the line that is meant for this board: --command "{program.partition(".")[0]} %1 ..."',
            )
        raise Refused(
            f"{kit.path} has no batch file that says how {kit.flasher} is called for a ROM",
            f'give the line from the vendor\'s readme: --command "{program.partition(".")[0]} %1 ..."',
        )
    return Line(text=vendor, vendor=vendor, picked="vendor")


def _vendors(kit: Kit, rom: Rom, program: str) -> str:
    """The vendor's own call with %1 in the ROM's place; empty where it cannot be told."""
    found = kit.vendor_line()
    base = rom.name.rpartition("/")[2].lower()
    words = ["%1" if word.lower() in (base, "%1") else word for word in found.args.split()] if found else []
    if words.count("%1") != 1 or _wrong(" ".join(words)):
        return ""
    return f"{program} {' '.join(words)}"


def _read(command: str, kit: Kit) -> str:
    """Everything behind the flasher's name. Raises BadParam."""
    name, _, args = " ".join(command.split()).partition(" ")
    known = kit.flasher.rpartition("/")[2].lower()
    if name.lower() not in (known, known.rpartition(".")[0]):
        raise BadParam("command", command, ALLOWED, f"its first word is not the flasher, {known}")
    if wrong := _wrong(args):
        raise BadParam("command", command, ALLOWED, wrong)
    return args


def _wrong(args: str) -> str:
    if len(args) > LONGEST or not re.fullmatch(r"[ -~]+", args) or re.search(r"[<>|&^\"]", args):
        return f"at most {LONGEST} plain characters, without redirection or quotes"
    if args.split().count("%1") != 1 or args.count("%") != 1:
        return "%1 must stand in it once, as a word"
    if any(word.upper().partition(":")[0] == "/X" for word in args.split()):
        return "/X flashes without comparing the ROM's ID with the board: leave it out"
    return ""
