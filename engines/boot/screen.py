"""The exact text on a VGA screen, and keys typed at it.

Sources: IBM VGA registers (CRTC 0Ch/0Dh start address, graphics controller 06h bit 0 graphics mode); the 32 KiB
text window lies at B8000h, a character byte and an attribute byte per cell, in code page 437.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from engines.boot.qmp import Qmp

ROWS, COLUMNS = 25, 80
WINDOW, WINDOW_SIZE = 0xB8000, 0x8000
KEY_PACE = 0.06  # seconds; at 0.03 SeaBIOS lost keys
HOLD = 20  # milliseconds a key is down

_NAMED = {
    **{
        " ": "spc",
        "\n": "ret",
        "\t": "tab",
        "\b": "backspace",
        "\x1b": "esc",
        "-": "minus",
        "=": "equal",
        ",": "comma",
    },
    **{
        ".": "dot",
        "/": "slash",
        ";": "semicolon",
        "'": "apostrophe",
        "[": "bracket_left",
        "]": "bracket_right",
    },
    **{"\\": "backslash", "`": "grave_accent"},
}
_SHIFTED = dict(zip('!@#$%^&*()_+:"<>?{}|~', "1234567890-=;',./[]\\`", strict=True))
_PLACING = re.compile(r"\x1b\[[0-9;]*[Hf]")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """A terminal's text without escape sequences and control characters; a placed cursor starts a new line."""
    return _CONTROL.sub("", _ESCAPE.sub("", _PLACING.sub("\n", text)))


def text_screen(qmp: Qmp, folder: Path) -> list[str]:
    """25 rows of 80 characters as shown; an empty list in a graphics mode.

    The guest stands still meanwhile: VGA registers are read by index, and it may be half-way through that itself.
    """
    dump = folder / "vga"
    qmp.execute("stop")
    try:
        graphics = _register(qmp, 0x3CE, 0x06) & 1
        start = _register(qmp, 0x3D4, 0x0C) << 8 | _register(qmp, 0x3D4, 0x0D)
        qmp.execute("pmemsave", val=WINDOW, size=WINDOW_SIZE, filename=str(dump))
    finally:
        qmp.execute("cont")
    if graphics:
        return []
    return _rows(dump.read_bytes(), start)


def _rows(window: bytes, start: int) -> list[str]:
    """The visible cells: a scrolled console moves `start` (in cells) through the window, which wraps."""
    twice = (window + window)[(start * 2) % len(window) :]
    cells = twice[: ROWS * COLUMNS * 2 : 2].replace(b"\0", b" ")
    text = cells.decode("cp437")
    return [text[at : at + COLUMNS].rstrip() for at in range(0, ROWS * COLUMNS, COLUMNS)]


def _register(qmp: Qmp, port: int, index: int) -> int:
    kept = _read_port(qmp, port)
    qmp.monitor(f"o /b {port:#x} {index:#x}")
    value = _read_port(qmp, port + 1)
    qmp.monitor(f"o /b {port:#x} {kept:#x}")
    return value


def _read_port(qmp: Qmp, port: int) -> int:
    return int(qmp.monitor(f"i /b {port:#x}").rpartition("=")[2].strip(), 16)


def type_text(qmp: Qmp, text: str, check: Callable[[], None]) -> None:
    """Press a US keyboard's keys; raises ValueError, before the first key, for a character it lacks."""
    for chord in [_chord(character) for character in text]:
        check()
        keys = [{"type": "qcode", "data": code} for code in chord]
        qmp.execute("send-key", keys=keys, **{"hold-time": HOLD})
        time.sleep(KEY_PACE)


def _chord(character: str) -> list[str]:
    if character in _SHIFTED:
        return ["shift", *_chord(_SHIFTED[character])]
    if character in _NAMED:
        return [_NAMED[character]]
    if character.isascii() and character.isalnum():
        return ["shift", character.lower()] if character.isupper() else [character]
    raise ValueError(f"a US keyboard has no key for {character!r}")
