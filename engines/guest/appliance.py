"""One libguestfs appliance over one disk: started where KVM does not work too, stopped at once, never left behind."""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.guest import attempts, leftover_sockets
from engines.host.child import bounded
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError, Refused, Stopped

PYTHON = "/usr/bin/python3"  # Debian's python3-guestfs is built for Debian's Python only
WORKER = Path(__file__).with_name("worker.py")
# Programs of CentOS 5 and 6 call the vsyscall page, which Debian's kernels leave out: they would die by SIGSEGV.
KERNEL_ARGUMENTS = "vsyscall=emulate"
PATIENCE = 600.0  # s; for one call, under emulation on a busy machine
TICK = 0.1  # s between two looks for a stop
ROOM = 4 << 20  # bytes; with less, QEMU keeps the appliance waiting for room without a word
MEMORY = 768  # MiB; enough for a guest's dracut, and what a small rescue system can spare
ADDRESSES = 12 << 30  # bytes of address space for the worker and for its QEMU
KEPT = 400  # messages
LONGEST = 4096  # characters of one, and of a line that has not ended yet
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class GuestError(CrashcartError):
    """A libguestfs call failed; the text is libguestfs's own, with what the appliance said last.

    errno: the guest's, where the call was a bytewise one; 0 where there is none.
    """

    def __init__(self, said: str, errno: int = 0) -> None:
        super().__init__(said)
        self.errno = errno


class NoRoom(Refused):
    """The file system that takes the overlay's writes is full."""


class Appliance:
    """A running appliance; `messages` keeps what it said. Use as a context manager, or `close` it.

    disk: a qcow2 overlay; more: those of further disks. folder: private, for libguestfs's temporary files.
    """

    def __init__(self, disk: Path, folder: Path, cancel: Cancel | None = None, more: Sequence[Path] = ()) -> None:
        self.messages: list[str] = []
        self.cancel = Cancel() if cancel is None else cancel  # one that is not set is false
        self.seconds = 0.0
        self._disks, self._folder = (disk, *more), folder
        self._child: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._buffer = b""
        self._partial = ""
        self._sockets = ""

    def __enter__(self) -> Appliance:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Launch; under emulation where KVM is known, or now found, not to work. Raises Refused, GuestError."""
        leftover_sockets.sweep()
        started = time.monotonic()
        known = attempts.known(self.cancel)
        for attempt in known:
            try:
                self._launch(attempt)
                break
            except GuestError as error:
                self.kill()
                if attempt is known[-1]:
                    raise
                self.messages.append(f"{attempt.name}: {error}; again, more plainly")
                if not attempt.tcg:
                    attempts.distrust_kvm()
        self.seconds = time.monotonic() - started

    def call(self, name: str, *args: Any, within: float = PATIENCE, **named: Any) -> Any:
        """One libguestfs call. Raises GuestError; Stopped and NoRoom, which end the appliance first."""
        sent = {"args": [_sendable(each) for each in args], "named": {key: _sendable(named[key]) for key in named}}
        return _received(self._ask(name, {"call": name, **sent}, within))

    def bytewise(self, name: str, *args: Any, within: float = PATIENCE) -> Any:
        """A call of bytewise.py: bytes in arguments and answers travel as Latin-1 text, never through UTF-8."""
        return self._ask(name, {"bytewise": name, "args": args}, within)

    def _ask(self, name: str, request: dict[str, Any], within: float) -> Any:
        self._number += 1
        child = self._running()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps({"id": self._number, **request}).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            raise GuestError(f"the appliance is gone before {name}: {self.last_words()}") from None
        return self._answer(name, within)

    def last_words(self) -> str:
        """What it said last, in one line."""
        return " / ".join(self.messages[-3:]) or "it said nothing"

    def close(self) -> None:
        """Shut down in order, so that everything written is on the overlay."""
        self.call("shutdown")
        self.kill()

    def kill(self) -> None:
        """End the worker and all its children, whatever they do."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.messages.append("the worker had ended by itself")
        child.wait()
        _wait_for_group(child.pid)
        if self._sockets:
            leftover_sockets.forget(self._sockets)
            self._sockets = ""
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The worker's process id, which is its process group's too."""
        return self._running().pid

    # ── the worker ──────────────────────────────────────────────────────────────────────────────────

    def _launch(self, attempt: attempts.Attempt) -> None:
        self._buffer = b""
        self._number = 0
        try:
            self._child = subprocess.Popen(
                [PYTHON, "-I", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=bounded(ADDRESSES),
                cwd="/",
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except FileNotFoundError:
            raise Refused(f"{PYTHON} is missing", "apt-get install python3 python3-guestfs") from None
        try:
            self._answer("start", 60.0)
        except GuestError as error:
            self.kill()
            raise Refused(f"libguestfs does not load: {error}", "apt-get install python3-guestfs") from None
        self.call("set_tmpdir", str(self._folder))
        self.call("set_backend", "direct")
        if attempt.tcg:
            self.call("set_backend_setting", "force_tcg", "1")
        if attempt.path is not None:
            self.call("set_path", str(attempt.path))
        self.call("set_append", f"{KERNEL_ARGUMENTS} {os.environ.get('LIBGUESTFS_APPEND', '')}".strip())
        self.call("set_network", False)
        self.call("set_smp", 1)
        self.call("set_memsize", MEMORY)
        for disk in self._disks:
            self.call("add_drive", str(disk), format="qcow2", cachemode="writeback")
        self.call("launch", within=attempt.within)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise GuestError(f"the appliance does not run: {self.last_words()}")
        return self._child

    def _answer(self, name: str, within: float) -> Any:
        child = self._running()
        assert child.stdout is not None and child.stderr is not None
        end = time.monotonic() + within
        with selectors.DefaultSelector() as watched:
            watched.register(child.stdout, selectors.EVENT_READ)
            watched.register(child.stderr, selectors.EVENT_READ)
            while True:
                message = self._message()
                if message is not None:
                    return self._value(name, message)
                self._check_stop(name, end, within)
                if name == "launch" and not self._sockets:
                    self._sockets = leftover_sockets.note(child.pid)
                for key, _ in watched.select(TICK):
                    self._receive(key.fileobj, watched)

    def _check_stop(self, name: str, end: float, within: float) -> None:
        if self.cancel:
            self.kill()
            raise Stopped()
        self._running()  # another thread may have ended it
        self._check_room(name)
        if time.monotonic() > end:
            self.kill()
            raise GuestError(f"{name} did not end within {within:.0f} s: {self.last_words()}")

    def _check_room(self, name: str) -> None:
        """What the appliance writes goes into the folder's file system: full, it would stand still until the end."""
        found = os.statvfs(self._folder)
        if (free := found.f_bavail * found.f_frsize) < ROOM:
            self.kill()
            raise NoRoom(
                f"{self._folder.parent} is full: {free >> 10} KiB are free while the appliance is at {name}",
                "nothing was written to the image; make room there, or set TMPDIR to a folder that has it",
            )

    def _receive(self, stream: Any, watched: selectors.BaseSelector) -> None:
        data = os.read(stream.fileno(), 1 << 16)
        child = self._running()
        if child.stderr is not None and stream is child.stderr:
            if not data:
                watched.unregister(stream)
            self._note(data.decode("utf-8", "replace"))
        elif data:
            self._buffer += data
        else:
            self.kill()
            raise GuestError(f"the worker ended: {self.last_words()}")

    def _message(self) -> dict[str, Any] | None:
        """The next answer; what was said in between is kept."""
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            message: dict[str, Any] = json.loads(line)
            if "said" not in message:
                return message
            self._note(message["said"], streamed=message["source"] == "appliance")
        return None

    def _note(self, text: str, *, streamed: bool = False) -> None:
        """Keep what was said; the appliance's console comes in pieces of lines."""
        whole = ESCAPE.sub("", self._partial + text).replace("\r", "\n").split("\n")
        self._partial = whole.pop()[-LONGEST:] if streamed else ""
        self.messages += [line.strip()[:LONGEST] for line in whole if line.strip()]
        del self.messages[:-KEPT]

    def _value(self, name: str, message: dict[str, Any]) -> Any:
        if "error" in message:
            said = f" ({self.last_words()})" if name == "launch" else ""
            raise GuestError(f"{message['error']}{said}", message.get("errno", 0))
        return message["ok"]


def _wait_for_group(group: int, within: float = 10.0) -> None:
    """Until the worker's QEMU is gone too: it holds its lock bytes on the image to its last moment."""
    end = time.monotonic() + within
    while time.monotonic() < end and any(_in_group(process, group) for process in Path("/proc").iterdir()):
        time.sleep(0.02)


def _in_group(process: Path, group: int) -> bool:
    if not process.name.isdigit():
        return False
    try:
        state, _, number = (process / "stat").read_text().rpartition(")")[2].split()[:3]
        # A leader may be a zombie while its other threads still hold the files open.
        threads = sum(1 for _ in (process / "task").iterdir())
    except (OSError, ValueError):
        return False
    return number == str(group) and (state not in "ZX" or threads > 1)


def _sendable(value: Any) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _received(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"b64"}:
            return base64.b64decode(value["b64"])
        return {name: _received(each) for name, each in value.items()}
    return [_received(each) for each in value] if isinstance(value, list) else value
