"""Tells others what a watch sees: Prometheus text in a file or over HTTP, a command or a URL on each change."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import queue
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engines.host.files import write_whole
from engines.job.errors import BadParam, Refused

PATIENCE = 30.0  # s for a command or URL that is told of a change
WAITING = 100  # changes that wait to be told; more are dropped and counted
TYPE = "text/plain; version=0.0.4; charset=utf-8"


def prometheus(name: str, reading: dict[str, Any]) -> str:
    """A reading in Prometheus' text format, for addresses that are in DNS."""
    site = f'site="{_quoted(name)}"'
    here = [light for light in reading["addresses"] if light["state"] != "gone"]
    lines = [
        *_metric("crashcart_site_up", "gauge", "1 while any address answers", [(site, int(not reading["dark"]))]),
        *_metric("crashcart_site_dark_seconds_total", "counter", "without any address", [(site, reading["outage"])]),
        *_metric("crashcart_looks_total", "counter", "looks at all addresses", [(site, reading["looks"])]),
    ]
    for metric, kind, words, key in (
        ("crashcart_address_up", "gauge", "1 while the address answers as it should", "up"),
        ("crashcart_address_dark_seconds_total", "counter", "while it was in DNS and did not answer", "outage"),
        ("crashcart_address_changes_total", "counter", "changes of its state", "changes"),
    ):
        found = [
            (f'{site},address="{light["address"]}"', light | {"up": int(light["state"] == "ok")}) for light in here
        ]
        lines += _metric(metric, kind, words, [(labels, values[key]) for labels, values in found])
    states = [(f'{site},address="{light["address"]}",state="{light["state"]}"', 1) for light in here]
    lines += _metric("crashcart_address_state", "gauge", "1 for the state it is in", states)
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, words: str, values: list[tuple[str, Any]]) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *(f"{name}{{{labels}}} {of}" for labels, of in values)]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def put(path: str, text: str) -> None:
    """Replace the file whole, for a collector that may read at any moment. Raises OSError."""
    write_whole(Path(path), text.encode(), 0o644)  # its folder may be the collector's own, who is not root


def place(text: str) -> tuple[str, int]:
    """Address and port to listen on, from PORT or ADDRESS:PORT; without an address, loopback only. Raises BadParam."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadParam("metrics_listen", text, "PORT or ADDRESS:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


class Page:
    """The newest text, for whoever asks over HTTP."""

    def __init__(self) -> None:
        self.text = ""


@contextmanager
def served(where: str, page: Page) -> Iterator[None]:
    """GET /metrics at `where` while the block lasts; nothing where it is empty. Raises BadParam and Refused."""
    if not where:
        yield
        return

    class Answer(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            body = page.text.encode()
            self.send_response(200 if self.path.partition("?")[0] == "/metrics" else 404)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody's log."""

    host, port = place(where)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server_class = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
    try:
        server = server_class((host, port), Answer)
    except OSError as error:
        raise Refused(f"cannot listen on {where}: {error.strerror}", "name another --metrics-listen") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def web(url: str) -> str:
    """A URL that changes can be posted to, as it was given. Raises BadParam."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # http://[x/
        scheme = ""
    if url and scheme not in ("http", "https"):
        raise BadParam("on_change_url", url, "a URL that begins with http:// or https://")
    return url


class Hooks:
    """A command and a URL that are told of each change, one after another, without holding up the watch.

    The command is run by sh, with CRASHCART_NAME, CRASHCART_CHANGE (lines) and CRASHCART_VERDICT in its environment
    and the whole reading as JSON on its stdin; the URL has the same JSON posted to it.
    """

    def __init__(self, command: str, url: str) -> None:
        self._command, self._url = command, url
        self._changes: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._trouble: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if command or url:
            self._thread.start()

    def tell(self, change: dict[str, Any]) -> None:
        """Have a change told, soon."""
        if self._thread.is_alive():
            try:
                self._changes.put_nowait(change)
            except queue.Full:
                self._trouble.put(f"{WAITING} changes wait to be told: one more was dropped")

    def trouble(self) -> list[str]:
        """What went wrong since it was asked last."""
        return [self._trouble.get() for _ in range(self._trouble.qsize())]

    def close(self) -> None:
        """Tell what waits, for as long as one of them may take."""
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._changes.put(None, timeout=1)
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (change := self._changes.get()) is not None:
            wire = json.dumps(change).encode()
            for told, how in ((self._command, self._run), (self._url, self._post)):
                if told:
                    try:
                        how(change, wire)
                    except (OSError, subprocess.SubprocessError, ValueError, http.client.HTTPException) as error:
                        self._trouble.put(f"telling a change failed: {told}: {error}")

    def _run(self, change: dict[str, Any], wire: bytes) -> None:
        words = {"NAME": change["name"], "CHANGE": "\n".join(change["changes"]), "VERDICT": change["verdict"]}
        environment = os.environ | {f"CRASHCART_{name}": text for name, text in words.items()}
        done = subprocess.run(
            ["/bin/sh", "-c", self._command],
            input=wire,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise ValueError(f"exit code {done.returncode} {done.stderr[-200:].decode(errors='replace').strip()}")

    def _post(self, change: dict[str, Any], wire: bytes) -> None:
        del change
        head = {"Content-Type": "application/json", "User-Agent": "crashcart"}
        asked = urllib.request.Request(self._url, data=wire, headers=head, method="POST")  # noqa: S310  `web` checked it
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310
            answer.read(4096)
