"""Whether a ROM belongs on a board, by an explicit list and never by the beginning of a name."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path

import msgspec

from engines.biosiso.vendor.rom import Rom
from engines.job.errors import BadParam, Refused

DMI = Path("/sys/class/dmi/id/board_name")
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


def judge(rom: Rom, board: str, checked: bool) -> tuple[str, ...]:
    """Warnings for this ROM on this board. Raises Refused where they do not match or nobody vouches."""
    entry = next((entry for entry in listed().rom if entry.stem == rom.stem.lower()), None)
    warnings = [DESTROYS]
    if not board:
        warnings.append(_unnamed(rom, entry))
    elif entry and board.lower() in (known.lower() for known in entry.boards):
        warnings = [DESTROYS]
    else:
        warnings.append(_not_listed(rom, entry, board, checked))
    return (*warnings, *_known(rom))


def _unnamed(rom: Rom, entry: RomBoards | None) -> str:
    boards = f"it is for {', '.join(entry.boards)}" if entry else "it is not in the list of boards"
    return f"no board is named, so nothing compared it with ROM {rom.name}: {boards}"


def _not_listed(rom: Rom, entry: RomBoards | None, board: str, checked: bool) -> str:
    others = [known for known in listed().rom if board.lower() in (name.lower() for name in known.boards)]
    if others or (entry and entry.complete):
        right = f"ROM {rom.name} is for {', '.join(entry.boards)}" if entry else ""
        wanted = f"board {board} takes ROMs named {others[0].stem}..." if others else ""
        raise Refused(
            f"ROM {rom.name} does not match board {board}: " + "; ".join(text for text in (right, wanted) if text),
            "take the ROM from the vendor's page of this very board; the wrong one can destroy it",
        )
    if not checked:
        raise BadParam(
            "board",
            board,
            "a board in the list (" + ", ".join(name for known in listed().rom for name in known.boards) + ")",
            f"compare it with ROM {rom.name} on the vendor's page yourself, then tick it: --board-checked",
        )
    return f"board {board} is not in the list: that ROM {rom.name} is for it was checked by hand"


def _known(rom: Rom) -> list[str]:
    return [
        known.text
        for known in listed().known
        if rom.stem.lower() in known.stems and (not known.before or (rom.date and rom.date < known.before))
    ]


def boards_of(rom: Rom) -> tuple[str, ...]:
    """The boards that the list has for a ROM; empty where it has none."""
    return next((entry.boards for entry in listed().rom if entry.stem == rom.stem.lower()), ())


def here(path: Path = DMI) -> str:
    """The board of this very machine as its firmware names it; empty where it does not say."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
