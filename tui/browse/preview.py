"""The beginning of a file, as text or as bytes; nothing in it reaches the terminal as more than characters."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from engines.backup.files.model import Node, shown
from tui.browse import words
from tui.browse.background import Background, Told
from tui.browse.reader import PREVIEW, Reader
from tui.widgets.calm import LeanScreen
from tui.widgets.keys import Keys
from tui.widgets.lines import Lines


def text_lines(raw: bytes, width: int) -> list[str]:
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


class Preview(LeanScreen[None]):
    """The first 64 KiB."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "turn", "Text or bytes"),
        Binding("escape,ctrl+o,q,enter,left", "dismiss(None)", "Back"),
    ]

    def __init__(self, reader: Reader, path: bytes, node: Node) -> None:
        super().__init__()
        self.reader = reader
        self.path = path
        self.node = node
        self.raw = b""
        self.as_bytes = False
        self.aside = Background(self)

    def compose(self) -> ComposeResult:
        yield Static(Content(f"crashcart | {words.tail(shown(self.path), 66)}"), id="title")
        yield Lines()
        yield Static(Content("Reading ..."), id="why")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(Lines).focus()
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
            self._say(f"! {event.error}")

    def _show(self) -> None:
        width = max(20, self.size.width - 3)
        self.query_one(Lines).fill(hex_lines(self.raw) if self.as_bytes else text_lines(self.raw, width))
        all_of_it = len(self.raw) >= self.node.size
        part = "" if all_of_it else f"; these are its first {words.brief(len(self.raw))}"
        told = f"{self.node.size:,} bytes, modified {words.moment(self.node)} UTC{part}"
        self._say(told if self.raw else "This file is empty.")

    def _say(self, text: str) -> None:
        self.query_one("#why", Static).update(Content(text), layout=False)

    def action_turn(self) -> None:
        """Text or bytes."""
        self.as_bytes = not self.as_bytes
        self._show()


assert PREVIEW <= 1 << 16  # text_lines and hex_lines run on the screen's own thread: 64 KiB take a few ms
