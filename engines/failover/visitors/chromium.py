"""A visitor that is a real Chromium, driven by the DevTools protocol over a pipe (no port, no driver)."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import subprocess
import threading
import time
from typing import Any

from engines.failover.visitors.visit import Setting, Visit, shown
from engines.host.child import bind_to_parent

START = 90.0  # s, on a machine with other work
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--password-store=basic",
    "--no-proxy-server",
)
TEXT = "document.documentElement ? document.documentElement.innerText : ''"


class Chromium:
    """One browser with one tab."""

    lasting = True

    def __init__(self, binary: str, setting: Setting) -> None:
        self._binary = binary
        self._setting = setting
        self._count = 0
        self._session = ""
        self._inbox: queue.Queue[dict[str, Any]] = queue.Queue()

    def open(self) -> None:
        """Start it and open the tab."""
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]  # clear of 3 and 4
        bind = bind_to_parent()

        def place() -> None:
            bind()
            os.dup2(theirs[0], 3)  # the numbers that --remote-debugging-pipe reads and writes
            os.dup2(theirs[1], 4)

        profile = f"--user-data-dir={self._setting.scratch / 'chromium'}"
        sandbox = ["--no-sandbox"] if self._setting.root else []  # Chromium refuses its sandbox to user 0
        self._process = subprocess.Popen(
            [self._binary, *FLAGS, *sandbox, *self._trust(), profile, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            env=self._setting.environment(),
            preexec_fn=place,
        )
        for end in (to_read, to_write, *theirs):
            os.close(end)
        threading.Thread(target=self._listen, daemon=True).start()
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._ask(f"{domain}.enable")

    def _trust(self) -> list[str]:
        """A tool for its own store of authorities is seldom installed: it is told the site's key instead."""
        trust = self._setting.trust
        return [f"--ignore-certificate-errors-spki-list={trust.pin}"] if trust else []

    def visit(self, cap: float) -> Visit:
        """Load the page."""
        return self._load(cap, "Page.navigate", url=self._setting.url)

    def reload(self, cap: float) -> Visit:
        """Press reload."""
        return self._load(cap, "Page.reload")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)
        os.close(self._to)

    def _load(self, cap: float, method: str, **params: Any) -> Visit:
        while not self._inbox.empty():
            self._inbox.get_nowait()
        began = time.time()
        self._setting.mark(began)
        self._send(method, **params)
        error = ""
        failed = False
        while (left := began + cap - time.time()) > 0:
            try:
                said = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if "gone" in said:
                raise RuntimeError(f"chromium ended with {self._process.wait(10)} while it loaded")
            happened, told = said.get("method"), said.get("params", {})
            if happened == "Network.loadingFailed" and told.get("type") == "Document":
                error = told["errorText"] if told["errorText"] != "net::ERR_ABORTED" else error
            if happened == "Page.frameNavigated" and "parentId" not in told["frame"]:
                failed = "unreachableUrl" in told["frame"]
            if happened == "Page.loadEventFired":
                return self._loaded(began, error if failed else "")
        return Visit(began, cap, waiting=True)

    def _loaded(self, began: float, error: str) -> Visit:
        seconds = round(time.time() - began, 3)
        if error:
            return Visit(began, seconds, error=error)
        letter = shown(str(self._ask("Runtime.evaluate", expression=TEXT)["result"].get("value", "")))
        return Visit(began, seconds, letter, "" if letter else "a page that is none of the site's")

    # ── the protocol ────────────────────────────────────────────────────────────────────────────────

    def _send(self, method: str, **params: Any) -> int:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._count

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = self._send(method, **params)
        deadline = time.monotonic() + START
        while (left := deadline - time.monotonic()) > 0:
            try:
                said = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error'].get('message')}")
                result: dict[str, Any] = said["result"]
                return result
            if "gone" in said:
                raise RuntimeError(f"chromium ended with {self._process.wait(10)}")
        raise RuntimeError(f"chromium did not answer {method} within {START:.0f} s")

    def _listen(self) -> None:
        waiting = b""
        while chunk := os.read(self._from, 65536):
            *messages, waiting = (waiting + chunk).split(b"\0")
            for message in messages:
                self._inbox.put(json.loads(message))
        self._inbox.put({"gone": True})
