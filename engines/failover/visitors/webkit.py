"""A visitor that is a real WebKitGTK, its MiniBrowser driven by WebKitWebDriver on the cell's own loopback."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from engines.failover.visitors.visit import Setting, Visit, shown
from engines.host.child import bind_to_parent

START = 60.0  # s for one attempt, on a machine with other work
ATTEMPTS = 2  # the driver does not answer every POST /session
LOOK = 0.05  # s between looks at the page; the page itself says when it was loaded
PORT = 4444  # nobody else is in this network namespace
QUIET = {  # nothing here changes how connections are made
    "GIO_USE_PROXY_RESOLVER": "dummy",  # no proxy
    "GIO_USE_VFS": "local",
    "GSETTINGS_BACKEND": "memory",
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "NO_AT_BRIDGE": "1",
    "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
}
BUS = """<busconfig>
  <type>session</type>
  <listen>unix:dir={folder}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>
"""
# A document that was not read before, once it is loaded: its text, and the Unix time in ms at which its load ended.
LOADED = """
const text = document.documentElement ? document.documentElement.innerText.trim() : "";
const ended = performance.timing.loadEventEnd;
if (!text || !ended || window.crashcartRead) return null;
window.crashcartRead = true;
return [text, ended];
"""
# The driver would hold back a reload until the load before it is over, which in a silent session is never.
WANTED = {"pageLoadStrategy": "none", "timeouts": {"script": 10_000}}


class Declined(RuntimeError):
    """The driver's answer to a command that it did not do; `kind` is WebDriver's error code."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message or kind)
        self.kind = kind


class WebKit:
    """One browser with one tab, and a screen and a bus of its own that end with the cell. To be used within a cell."""

    lasting = True

    def __init__(self, binary: str, setting: Setting) -> None:
        self._binary = binary
        self._setting = setting
        self._log = setting.scratch / "webkit.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._session = ""

    def open(self) -> None:
        """Start screen, bus, driver and browser; once more where they do not come up."""
        for left in reversed(range(ATTEMPTS)):
            try:
                self._start(time.monotonic() + START)
            except (RuntimeError, OSError):
                self.close()
                if not left:
                    raise
            else:
                return

    def visit(self, cap: float) -> Visit:
        """Load the page."""
        return self._load(cap, "url", url=self._setting.url)

    def reload(self, cap: float) -> Visit:
        """Press reload."""
        return self._load(cap, "refresh")

    def close(self) -> None:
        """End everything that was started, the browser's own processes with it."""
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self._processes.clear()

    # ── the start ───────────────────────────────────────────────────────────────────────────────────

    def _start(self, deadline: float) -> None:
        scratch = self._setting.scratch
        own = {"XDG_RUNTIME_DIR": str(scratch / "tmp"), "DISPLAY": self._screen(deadline)}
        bus = scratch / "bus.conf"
        bus.write_text(BUS.format(folder=scratch / "tmp"))
        session = ["dbus-run-session", "--config-file", str(bus), "--"]
        address = ["--host=127.0.0.1", f"--port={PORT}"]  # its default wants IPv6 too, which a cell has not
        driver = self._child([*session, self._binary, *address], self._setting.environment() | QUIET | own)
        while not _listening():
            if driver.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"WebKitWebDriver does not listen: {self._said()}")
            time.sleep(0.05)
        left = max(1.0, deadline - time.monotonic())
        taken = self._ask("/session", left, capabilities={"alwaysMatch": WANTED | self._trust()})
        self._session = f"/session/{taken['sessionId']}"

    def _trust(self) -> dict[str, bool]:
        return {"acceptInsecureCerts": True} if self._setting.trust else {}

    def _screen(self, deadline: float) -> str:
        """A screen in memory, on no network and with no file; its name."""
        # Xvfb compiles its keymap into a file that is named by the screen's number and that other cells share.
        number = Path("/proc/self/ns/net").stat().st_ino % 50000
        sockets = ["-nolock", "-nolisten", "tcp", "-nolisten", "unix", "-listen", "local"]
        ready, tell = os.pipe()
        try:
            words = ["Xvfb", f":{number}", "-displayfd", str(tell), *sockets, "-screen", "0", "1280x800x24"]
            self._child(words, self._setting.environment(), tell)
        finally:
            os.close(tell)
        with os.fdopen(ready, "rb") as stream:
            heard, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not heard or not stream.readline():
                raise RuntimeError(f"Xvfb does not start: {self._said()}")
        return f":{number}"

    def _child(self, argv: list[str], environment: dict[str, str], *ends: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=ends,
                env=environment,
                start_new_session=True,  # a group of its own: a failed start ends with all that it started
                preexec_fn=bind_to_parent(),
            )
        self._processes.append(process)
        return process

    def _said(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n") if self._log.exists() else []
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it says nothing")

    # ── the load ────────────────────────────────────────────────────────────────────────────────────

    def _load(self, cap: float, command: str, **body: Any) -> Visit:
        began = time.time()
        self._setting.mark(began)
        self._ask(f"{self._session}/{command}", START, **body)
        found = self._loaded(began + cap)
        if found is None:
            return Visit(began, cap, waiting=True)
        text, ended = found
        letter = shown(text)
        return Visit(began, max(0.0, round(ended - began, 3)), letter, "" if letter else " ".join(text.split())[:200])

    def _loaded(self, deadline: float) -> tuple[str, float] | None:
        """The new document's text and the Unix time at which it was loaded; None where the deadline passes first."""
        while True:
            declined = None
            try:
                if found := self._ask(f"{self._session}/execute/sync", START, script=LOADED, args=[]):
                    return str(found[0]), min(float(found[1]) / 1000, time.time())
            except Declined as error:  # the document was replaced under the question
                declined = error
            if time.time() > deadline:
                if declined:
                    raise declined
                return None
            time.sleep(LOOK)

    # ── the protocol (W3C WebDriver) ────────────────────────────────────────────────────────────────

    def _ask(self, path: str, within: float, **body: Any) -> Any:
        """POST one command, at most `within` seconds; its value. Raises Declined and RuntimeError."""
        connection = HTTPConnection("127.0.0.1", PORT, timeout=within)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        except TimeoutError:
            raise RuntimeError(f"WebKitWebDriver did not answer {path} within {within:.0f} s") from None
        except (OSError, HTTPException, ValueError) as error:
            raise RuntimeError(f"WebKitWebDriver went away: {error}; {self._said()}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise Declined(str(value.get("error", "")), str(value.get("message", "")))
        return value


def _listening() -> bool:
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=1.0).close()
    except OSError:
        return False
    return True
