"""Which machine this is: its id, and what a clone of its disk does not share with it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

DMI = Path("/sys/class/dmi/id/product_uuid")  # root's alone
NETWORK = Path("/sys/class/net")
BURNT_IN = "0"  # addr_assign_type of an address that is the card's own; what else it has may change with each boot
MOST = 4  # network cards that are remembered


def machine_id() -> str:
    """What machine-id(5) says; empty where it says nothing. A copied installation has its original's."""
    for name in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            return Path(name).read_text().strip()
    return ""


def hardware(dmi: Path = DMI, network: Path = NETWORK) -> tuple[str, ...]:
    """Marks of the board and of network cards, as far as they may be read: a kind's letter and 12 hex digits each."""
    found = [_mark("b", board)] if (board := _read(dmi).lower()) else []
    cards = set()
    with contextlib.suppress(OSError):
        for card in network.iterdir():
            address = _read(card / "address")
            if (card / "device").exists() and address.strip("0:") and _read(card / "addr_assign_type") == BURNT_IN:
                cards.add(_mark("n", address))
    return (*found, *sorted(cards)[:MOST])


def other(one: Iterable[str], two: Iterable[str]) -> bool:
    """Whether marks are of two machines: both know some of a kind, and have none of it in common."""
    first, second = set(one), set(two)
    for kind in "bn":
        ours, theirs = ({mark for mark in marks if mark.startswith(kind)} for marks in (first, second))
        if ours and theirs and not ours & theirs:
            return True
    return False


def _mark(kind: str, text: str) -> str:
    return kind + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
