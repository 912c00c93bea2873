"""A switch's terminal line: echo, editing keys, a slow modem's pace, and log lines that break in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Read = Callable[[], Awaitable[str]]
Write = Callable[[str], None]
Idle = Callable[[], float]
TICK = 0.1  # s between looks at how long nothing was typed


class HungUp(Exception):
    """The other side is gone."""


class Line:
    """One terminal. `read` gives a piece of what was typed (empty at the end), `write` takes text for the screen.

    idle: after how many seconds without a key it is hung up; 0 is never.
    """

    def __init__(self, read: Read, write: Write, cps: int = 0, idle: Idle = lambda: 0.0) -> None:
        self._read = read
        self._write = write
        self._cps = cps
        self._idle = idle
        self._typed: list[str] = []
        self._after_cr = False

    async def say(self, text: str) -> None:
        """Show text, newlines as CR LF."""
        shown = text.replace("\n", "\r\n")
        if not self._cps:
            self._write(shown)
            return
        step = max(1, self._cps // 50)
        for at in range(0, len(shown), step):
            piece = shown[at : at + step]
            self._write(piece)
            await asyncio.sleep(len(piece) / self._cps)

    async def key(self) -> str:
        """One key."""
        while not self._typed:
            piece = await self._piece()
            if not piece:
                raise HungUp
            self._typed = list(piece)
        key = self._typed.pop(0)
        if key == "\n" and self._after_cr:
            self._after_cr = False
            return await self.key()
        self._after_cr = key == "\r"
        return key

    async def _piece(self) -> str:
        """What is typed next; the knob is looked at anew while nothing is."""
        reading, waited = asyncio.ensure_future(self._read()), 0.0
        try:
            while not (await asyncio.wait((reading,), timeout=TICK))[0]:
                idle, waited = self._idle(), waited + TICK
                if idle and waited >= idle:
                    self._write("\r\nauto-logout\r\n")
                    raise HungUp
            return reading.result()
        finally:
            reading.cancel()

    async def line(self, prompt: str = "", *, echo: bool = True, help: Callable[[str], list[str]] | None = None) -> str:
        """A line of input, edited with backspace and ^U; `?` shows `help` of what is typed so far."""
        typed = ""
        await self.say(prompt)
        while True:
            key = await self.key()
            if key in "\r\n":
                self._write("\r\n")
                return typed
            if key in "\x7f\x08":
                if typed and echo:
                    self._write("\b \b")
                typed = typed[:-1]
            elif key in "\x15\x03":
                self._write("\b \b" * len(typed) if echo else "")
                typed = ""
                if key == "\x03":
                    await self.say("^C\n" + prompt)
            elif key == "?" and help is not None and (words := help(typed)):
                await self.say("?\nPossible completions:\n" + "".join(f"  {word}\n" for word in words))
                await self.say(prompt + typed)
            elif key.isprintable() and (key != "?" or help is None):
                typed += key
                if echo:
                    self._write(key)
