"""Whether a ROM belongs on a board, by an explicit list and never by the beginning of a name."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path

import msgspec

from engines.biosiso.vendor.inside import Inside
from engines.biosiso.vendor.rom import Rom
from engines.job.errors import BadParam, Refused

DMI = Path("/sys/class/dmi/id/board_name")
LATER = re.compile(r"BIOS_(?P<board>[A-Za-z0-9+-]+)-[0-9A-F]{4}_\d{8}_", re.IGNORECASE)
DESTROYS = "the wrong file can destroy the board: compare the board's printed name with the ROM's before flashing"


class RomBoards(msgspec.Struct, frozen=True):
    """The boards that one ROM stem is for, and who says so."""

    stem: str
    boards: tuple[str, ...]
    source: str
    complete: bool = False


class Known(msgspec.Struct, frozen=True):
    """Something known of ROMs with one of the stems, dated before `before` where that is given."""

    stems: tuple[str, ...]
    text: str
    before: str = ""


class BoardList(msgspec.Struct, frozen=True):
    """The list in boards.toml."""

    rom: tuple[RomBoards, ...]
    known: tuple[Known, ...]


@lru_cache
def listed() -> BoardList:
    """The list that comes with the program."""
    data = tomllib.loads((Path(__file__).parent / "boards.toml").read_text("utf-8"))
    return msgspec.convert(data, BoardList)


def judge(rom: Rom, board: str, checked: bool, inside: Inside | None = None) -> tuple[str, ...]:
    """Warnings for this ROM on this board, by name and by content. Raises Refused where they do not match.

    inside: what the ROM's own bytes say. Where neither list nor content vouches, `checked` does.
    """
    entry = next((entry for entry in listed().rom if entry.stem == stem(rom)), None)
    warnings = [DESTROYS]
    named = inside.boards if inside else ()
    if inside and not inside.known:
        warnings.append(
            f"ROM {rom.name}: nothing in it shows that it is firmware (no flash descriptor, volume or maker)"
        )
    right = {*(known.lower() for known in entry.boards)} if entry else set()
    if not board:
        warnings.append(_unnamed(rom, entry, named))
    elif not checked and named and not _of_content(board, right, named):
        raise Refused(
            f"ROM {rom.name} names board {', '.join(named)} in its own bytes, and not {board}",
            "take the ROM from the vendor's page of this very board; if you know that it is for it: --board-checked",
        )
    elif board.lower() not in right:
        warnings += _not_listed(rom, entry, board, checked, named)
    return (*warnings, *_known(rom))


def stem(rom: Rom) -> str:
    """The board's part of a ROM's name, lower case; from X11 on the name begins with BIOS_ and has an id behind it."""
    later = LATER.match(rom.stem)
    return (later["board"] if later else rom.stem).lower()


def _of_content(board: str, listed: set[str], named: tuple[str, ...]) -> bool:
    """Whether a ROM that names these boards can be for this one: it is named, or shares its file with one that is."""
    low = {name.lower() for name in named}
    return board.lower() in low or (board.lower() in listed and bool(low & listed))


def _unnamed(rom: Rom, entry: RomBoards | None, named: tuple[str, ...]) -> str:
    boards = f"it is for {', '.join(entry.boards)}" if entry else "it is not in the list of boards"
    boards += f", and its own bytes name {', '.join(named)}" if named else ""
    return f"no board is named, so nothing compared it with ROM {rom.name}: {boards}"


def _not_listed(rom: Rom, entry: RomBoards | None, board: str, checked: bool, named: tuple[str, ...]) -> list[str]:
    others = [known for known in listed().rom if board.lower() in (name.lower() for name in known.boards)]
    if others or (entry and entry.complete):
        right = f"ROM {rom.name} is for {', '.join(entry.boards)}" if entry else ""
        wanted = f"board {board} takes ROMs named {others[0].stem}..." if others else ""
        raise Refused(
            f"ROM {rom.name} does not match board {board}: " + "; ".join(text for text in (right, wanted) if text),
            "take the ROM from the vendor's page of this very board; the wrong one can destroy it",
        )
    if board.lower() in (name.lower() for name in named):
        return [f"board {board} is not in the list: that ROM {rom.name} is for it is what its own bytes say"]
    if not checked:
        raise BadParam(
            "board",
            board,
            "a board in the list (" + ", ".join(name for known in listed().rom for name in known.boards) + ")",
            f"whether ROM {rom.name} is for it is unknown here, and its own bytes do not say: compare them on the "
            "vendor's page yourself, then tick it: --board-checked",
        )
    return [f"board {board} is not in the list: that ROM {rom.name} is for it was checked by hand"]


def _known(rom: Rom) -> list[str]:
    return [
        known.text
        for known in listed().known
        if rom.stem.lower() in known.stems and (not known.before or (rom.date and rom.date < known.before))
    ]


def boards_of(rom: Rom) -> tuple[str, ...]:
    """The boards that the list has for a ROM; empty where it has none."""
    return next((entry.boards for entry in listed().rom if entry.stem == stem(rom)), ())


def here(path: Path = DMI) -> str:
    """The board of this very machine as its firmware names it; empty where it does not say."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
