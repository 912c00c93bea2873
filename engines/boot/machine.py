"""One QEMU for the length of a `with` block: watched, typed at, and never left behind."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from engines.boot import screen, unprivileged
from engines.boot.accel import Accelerator, located, tried
from engines.boot.media import Hardware, arguments, escaped
from engines.boot.qmp import Gone, Qmp, QmpError
from engines.boot.scratch import Scratch
from engines.host.child import bounded
from engines.job.errors import Refused

POLL = 0.1  # seconds between two looks
ADDRESSES = 12 << 30  # bytes of address space beside the guest's memory
WRITTEN = ("screen.png", "vga")  # what QEMU itself writes, once its guest runs
SERIAL = 64 << 20  # bytes of its serial port that are kept
ENDS_WITHIN = 10.0  # seconds from closing the control line to the end of the process
Pattern = str | re.Pattern[str] | Callable[[str], bool]


class NotStarted(Refused):
    """QEMU ended before its machine ran; `why` carries QEMU's own words."""


@dataclass(frozen=True)
class Waited:
    """How a wait ended; `text` is the matched text, or else everything there was to see.

    A serial line's text is without escape sequences and control characters: it may go to a technician's terminal.
    """

    how: Literal["found", "timed out", "exited"]
    text: str
    seconds: float

    @property
    def found(self) -> bool:
        """Whether the pattern came."""
        return self.how == "found"


class Machine:
    """A context manager over one QEMU. Media are opened as snapshots unless their spec says otherwise.

    check: called at least every 0.2 s of any wait; raises to stop. accelerator: None finds out, see accel.
    QEMU is bound to the process, and where it stays its user to the thread that enters the block: it dies with them.
    Root's QEMU becomes a user who owns nothing before its guest runs, unless the guest shares a folder or the
    temporary directory is closed to others: QEMU writes there while its guest runs.
    Entering raises Refused (no QEMU, no medium) and NotStarted.
    """

    def __init__(
        self,
        hardware: Hardware,
        *,
        check: Callable[[], None] = lambda: None,
        accelerator: Accelerator | None = None,
        qemu: str = "qemu-system-x86_64",
    ) -> None:
        self.hardware = hardware
        self._check = check
        self._accelerator = accelerator
        self._qemu = qemu
        self._last_screen: list[str] = []

    def __enter__(self) -> Self:
        binary = located(self._qemu)
        self.accelerator = self._accelerator or tried(self._qemu, check=self._check)
        self._scratch = Scratch()
        self._folder = self._scratch.path
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._reaper = ExitStack()
        self._user = None if self.hardware.opens_later else unprivileged.user(self._folder)
        try:
            self._start(binary)
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    # ── what can be seen ────────────────────────────────────────────────────────────────────────────

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._running().poll() is None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal; 2V+1 after a guest's write of V to the debug exit."""
        return self._running().poll()

    def stderr(self) -> str:
        """What QEMU itself said."""
        return (self._folder / "stderr").read_text("utf-8", "replace")

    def serial(self) -> bytes:
        """Everything the guest has sent to COM1 so far."""
        return (self._folder / "serial").read_bytes()

    def screen(self) -> list[str]:
        """25 rows, right-stripped; empty where there is no text; the last one seen once QEMU has ended."""
        try:
            self._last_screen = screen.text_screen(self._control(), self._folder)
        except QmpError:
            self._last_screen = []
        except Gone:
            self._reap()
        return self._last_screen

    def screendump(self, path: Path) -> Path:
        """Write the screen as a PNG; raises Refused where it cannot be written or QEMU has ended."""
        taken = self._folder / "screen.png"
        try:
            self._control().execute("screendump", filename=str(taken), format="png")
            shutil.copyfile(taken, path)
        except (Gone, QmpError, OSError) as error:
            raise Refused(f"no screenshot at {path}: {error}", "look at the last lines instead") from error
        return path

    # ── what can be done ────────────────────────────────────────────────────────────────────────────

    def type_text(self, text: str) -> None:
        """Type at the keyboard, `\\n` being Enter; raises ValueError for a character no key writes."""
        try:
            screen.type_text(self._control(), text, self._check)
        except Gone:
            self._reap()

    def wait_for(
        self, pattern: Pattern, *, where: Literal["screen", "serial"] = "screen", deadline: float = 60.0
    ) -> Waited:
        """Look every 0.1 s until the pattern is there, QEMU ends, or `deadline` seconds have gone."""
        started = time.monotonic()
        while True:
            alive = self.alive
            text = self._text(where)
            matched = _match(pattern, text)
            seconds = time.monotonic() - started
            if matched is not None:
                return Waited("found", matched, seconds)
            if not alive:
                return Waited("exited", text, seconds)
            if seconds > deadline:
                return Waited("timed out", text, seconds)
            self.pause(POLL)

    def pause(self, seconds: float) -> None:
        """Wait, checking for a stop."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            self._keep_short()
            time.sleep(min(POLL, left))
        self._check()

    def _keep_short(self) -> None:
        """A guest may write to its serial port without end: what it said is thrown away when it is too much."""
        serial = self._folder / "serial"
        if serial.stat().st_size > SERIAL:
            os.truncate(serial, 0)  # QEMU appends

    def _text(self, where: Literal["screen", "serial"]) -> str:
        if where == "screen":
            return "\n".join(self.screen())
        return screen.plain(self.serial().decode("utf-8", "replace"))

    # ── its life ────────────────────────────────────────────────────────────────────────────────────

    def _start(self, binary: Path) -> None:
        (self._folder / "serial").touch(mode=0o600)
        if self._user is not None:
            unprivileged.prepare(self._folder, self._user, WRITTEN)
        ours, theirs = socket.socketpair()
        with theirs, (self._folder / "stderr").open("wb") as stderr:
            self._qmp = Qmp(ours, self._check)
            self._process = subprocess.Popen(
                self._command(binary, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=bounded((self.hardware.memory << 20) + ADDRESSES),
            )
        if self._user is not None:
            self._reaper.enter_context(unprivileged.ends_with_us(self._process.pid))
        try:
            self._qmp.greet()
        except Gone as gone:
            self._end()
            said = self.stderr().strip().replace(f"{binary}: ", "") or str(gone)
            raise NotStarted(f"QEMU does not start: {said}", "look at the image that its message names") from gone
        with suppress(Gone):  # a guest that powers off at once takes QEMU along before it answers
            self._qmp.execute("cont")

    def _command(self, binary: Path, control: int) -> list[str]:
        return [
            *(
                str(binary),
                "-accel",
                self.accelerator.name,
                "-machine",
                "pc",
                "-nodefaults",
                "-no-user-config",
            ),
            *("-no-reboot", "-display", "none", "-vga", "std"),
            *self._confined(),
            "-S",  # the guest waits for the greeting to be over, or a short one could end before it
            *(
                "-chardev",
                f"socket,id=control,fd={control},server=off",
                "-mon",
                "chardev=control,mode=control",
            ),
            *("-chardev", f"file,id=com1,append=on,path={escaped(self._folder / 'serial')}", "-serial", "chardev:com1"),
            *arguments(self.hardware, self._folder),
        ]

    def _confined(self) -> list[str]:
        """Becoming another user is what QEMU's filter calls elevating; who has become one can start nothing."""
        runas = [] if self._user is None else ["-runas", f"{self._user}:{self._user}"]
        elevate = "allow" if runas else "deny"
        kept = f"on,obsolete=deny,elevateprivileges={elevate},spawn=deny,resourcecontrol=deny"
        return ["-sandbox", kept, *runas]

    def _reap(self) -> None:
        """QEMU hung up: let it end by itself, so that its status is its own, and end it where it hangs."""
        end = time.monotonic() + ENDS_WITHIN
        while self.alive and time.monotonic() < end:
            self.pause(POLL)
        self._end()

    def _end(self) -> None:
        self._reaper.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the machine is used outside its with block")
        return self._process

    def _control(self) -> Qmp:
        if self._qmp is None:
            raise RuntimeError("the machine is used outside its with block")
        return self._qmp

    def _clean(self) -> None:
        self._end()
        if self._qmp is not None:
            self._qmp.close()
        self._scratch.remove()


def _match(pattern: Pattern, text: str) -> str | None:
    if callable(pattern):
        return text if pattern(text) else None
    found = re.compile(pattern, re.MULTILINE if isinstance(pattern, str) else 0).search(text)
    return found.group() if found else None
