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
        if pairs != self.pairs:  # a repaint costs bytes on a serial line
            self.pairs = pairs
            self.update(_drawn(pairs, self.size.width or 78), layout=False)

    def on_click(self, event: Click) -> None:
        """A click on a key is that key."""
        at = 1  # the padding
        for key, (name, words) in zip(self.keys, self.pairs, strict=True):
            if at <= event.x < at + len(name) + 1 + len(words):
                self.app.simulate_key(key)
            at += len(name) + len(words) + 3


def _drawn(pairs: tuple[tuple[str, str], ...], width: int) -> Content:
    parts: list[Content] = []
    room = width
    for key, words in pairs:
        room -= len(key) + len(words) + 3
        if room < -2:
            break
        parts.append(Content.assemble((key, "bold $primary"), f" {words}"))
    return Content("  ").join(parts)


def spelled(key: str) -> str:
    """A key as it is written on the line: ^n for ctrl+n."""
    return f"^{key[5:]}" if key.startswith("ctrl+") else NAMES.get(key, key)
