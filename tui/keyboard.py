"""Keys one at a time: each has done all that it does before the next is looked at.

Textual hands a burst of keys to whatever has the focus when they arrive; on a line that stutters, a path,
Enter and the next path then all land in the first field.
"""

from __future__ import annotations

import asyncio
import time

from textual import events

from tui.thrift import Thrifty

PATIENCE = 0.2  # s for one widget to come to rest; a stuck one must not hold the keyboard
NEWLINE = "ctrl+j"  # what the kernel makes of an Enter that was typed before the suite had the terminal


class KeyQueue(Thrifty):
    """An app that can be typed ahead of."""

    typing = False

    def __init__(self) -> None:
        super().__init__()
        self.typed: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()
        self.pressed: dict[str, float] = {}
        self.presses = 0

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            if isinstance(event, events.Key):
                event = events.Key("enter", "\r") if event.key == NEWLINE else event
                self.pressed[event.key] = time.monotonic()
                self.presses += 1
            self.typed.put_nowait(event)
            if not self.typing:
                self.typing = True
                self.run_worker(self._type(), group="keyboard")
        else:
            await super().on_event(event)

    def rested(self, key: str) -> float:
        """Seconds since `key` last came in; one that is held comes in many times a second."""
        return time.monotonic() - self.pressed.get(key, 0.0)

    async def _type(self) -> None:
        try:
            while not self.typed.empty():
                await super().on_event(self.typed.get_nowait())
                await self._rest()
        finally:
            self.typing = False

    async def _rest(self) -> None:
        """Wait until what the key set off has gone from the focused widget up to the app, and its answers back."""
        for _ in range(2):
            start = self.focused or self.screen
            for node in start.ancestors_with_self:
                rested = asyncio.Event()
                if node.call_later(rested.set):
                    try:
                        await asyncio.wait_for(rested.wait(), PATIENCE)
                    except TimeoutError:
                        return
