"""A visitor that is a real Firefox, driven by its own WebDriver BiDi (no geckodriver)."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from typing import Any

from engines.failover.visitors.visit import Setting, Visit, shown
from engines.host.child import bind_to_parent

START = 120.0  # s, on a machine with other work
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
QUIET = {  # nothing here changes how connections are made; it only keeps Firefox from calling home
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.security.https_first": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "network.trr.mode": 5,
    "remote.active-protocols": 1,
    "toolkit.telemetry.enabled": False,
}
TEXT = "document.documentElement ? document.documentElement.innerText : ''"


class Firefox:
    """One browser with one tab."""

    lasting = True

    def __init__(self, binary: str, setting: Setting) -> None:
        self._binary = binary
        self._setting = setting
        self._count = 0
        self._late: list[int] = []

    def open(self) -> None:
        """Start it and take its first tab."""
        import websocket

        profile = self._setting.scratch / "firefox"
        profile.mkdir()
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in QUIET.items()]
        (profile / "user.js").write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [self._binary, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._setting.environment() | {"MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"},
            preexec_fn=bind_to_parent(),
        )
        address = self._address()
        try:
            self._socket = websocket.create_connection(f"{address}/session", timeout=START, suppress_origin=True)
        except websocket.WebSocketException as error:
            raise RuntimeError(f"firefox took no BiDi session: {error}") from None
        wanted = {"alwaysMatch": {"acceptInsecureCerts": True}} if self._setting.trust else {}
        self._ask("session.new", capabilities=wanted)
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def visit(self, cap: float) -> Visit:
        """Load the page."""
        return self._load(cap, "browsingContext.navigate", url=self._setting.url)

    def reload(self, cap: float) -> Visit:
        """Press reload."""
        return self._load(cap, "browsingContext.reload")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)

    def _address(self) -> str:
        """Where it listens, as it says on stderr; what it says later is read and dropped so that it never blocks."""
        assert self._process.stderr is not None
        late = threading.Timer(START, self._process.kill)
        late.start()
        last = ""
        for line in self._process.stderr:
            last = line.strip() or last
            if found := LISTENING.search(line):
                late.cancel()
                threading.Thread(target=self._drain, daemon=True).start()
                return found[1]
        late.cancel()
        raise RuntimeError(f"firefox ended before it listened: {last}")

    def _drain(self) -> None:
        assert self._process.stderr is not None
        for _ in self._process.stderr:
            continue

    def _load(self, cap: float, method: str, **params: Any) -> Visit:
        began = time.time()
        self._setting.mark(began)
        number = self._send(method, context=self._tab, wait="complete", **params)
        said = self._answer(number, began + cap)
        seconds = round(time.time() - began, 3)
        if said is None:
            return Visit(began, cap, waiting=True)
        if said.get("type") == "error":
            return Visit(began, seconds, error=str(said.get("message", said.get("error")))[:200])
        where = {"context": self._tab}
        told = self._ask("script.evaluate", expression=TEXT, target=where, awaitPromise=False)
        letter = shown(str(told.get("result", {}).get("value", "")))
        return Visit(began, seconds, letter, "" if letter else "a page that is none of the site's")

    # ── the protocol ────────────────────────────────────────────────────────────────────────────────

    def _send(self, method: str, **params: Any) -> int:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        return self._count

    def _answer(self, number: int, deadline: float) -> dict[str, Any] | None:
        """The answer to one command; None where the deadline (Unix time) passes first."""
        import websocket

        while (left := deadline - time.time()) > 0:
            self._socket.settimeout(left)
            try:
                said: dict[str, Any] = json.loads(self._socket.recv())
            except websocket.WebSocketTimeoutException:
                return None
            except websocket.WebSocketException as error:
                raise RuntimeError(f"firefox went away: {error}") from None
            if said.get("id") == number:
                return said
        return None

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        said = self._answer(self._send(method, **params), time.time() + START)
        if said is None:
            raise RuntimeError(f"firefox did not answer {method} within {START:.0f} s")
        if said.get("type") == "error":
            raise RuntimeError(f"{method}: {said.get('message')}")
        result: dict[str, Any] = said["result"]
        return result
