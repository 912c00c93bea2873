"""A suite on a terminal of its own: the real process, the real bytes, read by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pyte

ROWS, COLUMNS = 24, 80


class Serial:
    """`python -m MODULE` on a pty; `raw` keeps every byte that it sent."""

    def __init__(self, env: dict[str, str], *words: str, module: str = "copysuite") -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._escaped = False  # whether the last key was Escape
        self.pid, self.line = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            kept = {name: value for name, value in os.environ.items() if name not in UNSAID}
            os.execve(sys.executable, [sys.executable, "-m", module, *words], kept | env)

    def __enter__(self) -> Serial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.hang_up()

    def read(self, seconds: float) -> None:
        """Take in what comes within `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.line], [], [], left)
            if not ready:
                return
            try:
                part = os.read(self.line, 65536)
            except OSError:
                return
            if not part:
                return
            self.raw += part
            self.stream.feed(part.replace(b"\x1b[>", b"\x1b["))  # pyte prints what follows CSI > instead of skipping it

    def until(self, words: str, within: float = 300.0) -> str:
        """The screen once it shows `words`."""
        return self.when(lambda text: words in text, words, within)

    def when(self, holds: Callable[[str], bool], what: str, within: float = 300.0) -> str:
        """The screen once `holds` is true of it."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if holds(self.text()):
                return self.text()
            self.read(0.1)
        raise AssertionError(f"{what!r} not within {within} s; the screen says:\n{self.text()}")

    def changed(self, keys: str, words: str = "") -> str:
        """The screen once it has come to rest after `keys`, which change it or have it show `words`."""
        before = self.text()
        self.press(keys)
        self.when(lambda text: words in text if words else text != before, words or "a change")
        self.at_rest()
        return self.text()

    def at_rest(self, within: float = 300.0) -> None:
        """Take in all that it has to send: nothing comes, and no thread of it waits for a processor either."""
        deadline, calm = time.monotonic() + within, 0
        while calm < CALM and time.monotonic() < deadline:
            sent = len(self.raw)
            self.read(0.05)
            calm = calm + 1 if len(self.raw) == sent and self._asleep() else 0
        assert calm >= CALM, f"it sent bytes or worked for {within} s without a rest"

    def _asleep(self) -> bool:
        states = [_state(task) for task in Path(f"/proc/{self.pid}/task").iterdir()]
        return all(state in "SZ" for state in states)

    def text(self) -> str:
        """The screen's lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: str) -> None:
        """Send keys as the bytes that a terminal sends; behind an Escape once that was read alone.

        Read at once, as on a busy machine, an Escape and the key behind it are another key.
        """
        deadline, calm = time.monotonic() + 30.0, 0  # a page that counts seconds has no rest
        while self._escaped and calm < ALONE and time.monotonic() < deadline:
            sent = len(self.raw)
            self.read(0.05)
            calm = calm + 1 if len(self.raw) == sent and self._asleep() else 0
        os.write(self.line, keys.encode())
        self._escaped = keys.endswith(ESCAPE)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size; what stood on it is gone."""
        self.screen.resize(rows, columns)
        self.screen.erase_in_display(2)
        fcntl.ioctl(self.line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def unseen(self) -> list[str]:
        """Cells whose character has its background's colour; black and the terminal's own background are one."""
        found = []
        for row, cells in self.screen.buffer.items():
            for column, cell in cells.items():
                front = {"default": "white"}.get(cell.fg, cell.fg)
                back = {"default": "black"}.get(cell.bg, cell.bg)
                if cell.data.strip() and front == back:
                    found.append(f"{cell.data!r} at {row},{column} is {front} on {back}")
        return found

    def kill(self) -> None:
        """End the screen as a power cut ends it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def hang_up(self) -> None:
        """Drop the line: the kernel sends SIGHUP."""
        if self.line >= 0:
            os.close(self.line)
            self.line = -1

    def gone(self, within: float = 300.0) -> bool:
        """Whether the screen's process ends by itself."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                return True
            if self.line >= 0:
                self.read(0.05)
            else:
                time.sleep(0.05)
        return False


ALONE = 14  # looks of 0.05 s: longer than the suite waits for what may follow an Escape
CALM = 8  # looks in a row, each of 0.05 s: longer than any pause that a page makes before it draws more


def _state(task: Path) -> str:
    """A thread's state as in proc(5); one that has ended meanwhile sleeps."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "S"


UNSAID = ("TMUX", "STY", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLUMNS", "LINES")
ENTER, ESCAPE, NEXT = "\r", "\x1b", "\x0e"
