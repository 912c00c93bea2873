"""The beginning of a file, as text or as bytes; nothing in it reaches the terminal as more than characters."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from engines.backup.files.model import Node, shown
from tui.browse import words
from tui.browse.background import Background, Told
from tui.browse.reader import PREVIEW, Reader
from tui.widgets.reading import Reading


def text_lines(raw: bytes, width: int = PREVIEW * 4) -> list[str]:
    """Lines folded to `width` cells; what is no character stands as \\xNN."""
    found: list[str] = []
    for line in raw.expandtabs().split(b"\n"):
        whole = shown(line.removesuffix(b"\r")).replace("\\\\", "\\")
        found += [whole[at : at + width] for at in range(0, len(whole), width)] or [""]
    return found


def hex_lines(raw: bytes) -> list[str]:
    """`00000010  7f 45 4c 46 ...  .ELF....`, 16 bytes a line."""
    return [_hex(at, raw[at : at + 16]) for at in range(0, len(raw), 16)]


def _hex(at: int, part: bytes) -> str:
    plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{at:08x}  {part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}  {plain}"


def looks_like_text(raw: bytes) -> bool:
    """Whether people would read it: no NUL, and few bytes that are neither printable nor blank."""
    odd = sum(1 for byte in raw[:4096] if byte < 32 and byte not in b"\t\n\r\x0c\x1b")
    return b"\0" not in raw and odd * 20 <= len(raw[:4096])


class Preview(Reading):
    """The first 64 KiB."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "turn", "Text or bytes"),
        Binding("left", "dismiss(None)", "Back", show=False),
    ]

    def __init__(self, reader: Reader, path: bytes, node: Node) -> None:
        super().__init__(words.tail(shown(path), 56))
        self.reader = reader
        self.path = path
        self.node = node
        self.raw = b""
        self.as_bytes = False
        self.aside = Background(self)

    def on_mount(self) -> None:
        super().on_mount()
        self.aside.begin("read", lambda _: self.reader.first(self.path))

    def on_unmount(self) -> None:
        self.aside.end()

    @on(Told)
    def _told(self, event: Told) -> None:
        if not self.aside.wanted(event):
            return
        if isinstance(event.result, bytes):
            self.raw = event.result
            self.as_bytes = not looks_like_text(self.raw)
            self._show()
        if event.error:
            self.lines.fill([])
            self.say(f"! {event.error}")

    def _show(self) -> None:
        self.lines.fill(drawn(self.raw, as_bytes=self.as_bytes))
        self.say(extent(self.node, len(self.raw)))

    def action_turn(self) -> None:
        """Text or bytes."""
        self.as_bytes = not self.as_bytes
        self._show()


def drawn(raw: bytes, *, as_bytes: bool) -> list[str]:
    """The lines of either form."""
    return hex_lines(raw) if as_bytes else text_lines(raw)


def extent(node: Node, known: int) -> str:
    """How much of a file is on show: `812 bytes, modified ... UTC; these are its first 64.0K`."""
    part = "" if known >= node.size else f"; these are its first {words.brief(known)}"
    told = f"{node.size:,} bytes, modified {words.moment(node)} UTC{part}"
    return told if known else "This file is empty."


assert PREVIEW <= 1 << 16  # text_lines and hex_lines run on the screen's own thread: 64 KiB take a few ms
