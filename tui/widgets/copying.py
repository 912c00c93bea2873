"""Text handed to the terminal's clipboard (OSC 52), and what can be said about it: no terminal answers."""

from __future__ import annotations

from typing import Any

from textual.app import App

MOST = 74994  # bytes; what xterm takes in one go, and the least of those that take any


def copied(app: App[Any], text: str) -> str:
    """Send it where the terminal is one that may know the sequence; gives the words to show."""
    size = len(text.encode())
    terminal = getattr(app, "terminal", None)
    if terminal is not None and not terminal.copies:
        return "This terminal cannot copy: an old one prints what is sent for it. Nothing was sent."
    if size > MOST:
        return f"Not copied: {size:,} bytes, and terminals take {MOST:,} at most."
    app.copy_to_clipboard(text)
    return f"Copied: {len(text):,} characters, to the clipboard of your terminal, where it lets programs do that."
