"""The keys that work now, on one line."""

from __future__ import annotations

from textual.app import App
from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.widgets import Static

NAMES = {
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "question_mark": "?",
    "pagedown": "PgDn",
    "slash": "/",
}


class Keys(Static):
    """Follows the screen's bindings; a key that does nothing here is not shown."""

    DEFAULT_CSS = """
    Keys { height: 1; padding: 0 1; text-wrap: nowrap; }
    """

    pairs: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    drawn_for = 0  # columns

    @property
    def room(self) -> int:
        """Columns there are for keys."""
        return self.content_size.width or 78

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self._follow(self.screen)

    def _follow(self, screen: Screen[object]) -> None:
        if not screen.is_attached:
            return
        shown: dict[str, tuple[str, str]] = {}
        keys: dict[str, str] = {}
        active_now = screen.active_bindings.values()
        for active in sorted(active_now, key=lambda active: isinstance(active.node, App)):  # the page's own first
            binding = active.binding
            if binding.show and active.enabled and binding.description:
                shown.setdefault(binding.action, (spelled(binding.key), binding.description))
                keys.setdefault(binding.action, binding.key)
        pairs, self.keys = tuple(shown.values()), tuple(keys.values())
        self._tell(pairs)

    def on_resize(self) -> None:
        """Another width has room for other keys."""
        self._tell(self.pairs)

    def _tell(self, pairs: tuple[tuple[str, str], ...]) -> None:
        width = self.room
        if (pairs, width) != (self.pairs, self.drawn_for):  # a repaint costs bytes on a serial line
            self.pairs, self.drawn_for = pairs, width
            self.update(_drawn(pairs, width), layout=False)

    def on_click(self, event: Click) -> None:
        """A click on a key is that key."""
        at = 1  # the padding
        by_name = {name: key for key, (name, _) in zip(self.keys, self.pairs, strict=True)}
        shown, gap = fitting(self.pairs, self.room)
        for name, words in shown:
            if at <= event.x < at + len(name) + 1 + len(words):
                self.app.simulate_key(by_name[name])
            at += len(name) + len(words) + 1 + gap


def fitting(pairs: tuple[tuple[str, str], ...], width: int) -> tuple[tuple[tuple[str, str], ...], int]:
    """The pairs there is room for, and the blanks between them; where it is short, the last one (help) stays."""
    for gap in (2, 1):
        if sum(len(key) + 1 + len(words) + gap for key, words in pairs) - gap <= width:
            return pairs, gap
    return (fitting(pairs[:-2] + pairs[-1:], width)) if len(pairs) > 1 else (pairs, 1)


def _drawn(pairs: tuple[tuple[str, str], ...], width: int) -> Content:
    shown, gap = fitting(pairs, width)
    parts = [Content.assemble((key, "bold $primary"), f" {words}") for key, words in shown]
    return Content(" " * gap).join(parts)


def spelled(key: str) -> str:
    """A key as it is written on the line: ^n for ctrl+n."""
    return f"^{key[5:]}" if key.startswith("ctrl+") else NAMES.get(key, key)
