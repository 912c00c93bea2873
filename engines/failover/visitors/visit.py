"""What every kind of client is asked to do, and what came of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SHOWN = re.compile(r"this is copy ([A-Z])\b")

TRUSTING = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
"""Variables in which OpenSSL, Go, curl, requests and node look for an authority."""

Mark = Callable[[float], None]
"""Told the Unix time at which a load begins, before its first packet."""


@dataclass(frozen=True)
class Visit:
    """One load: Unix time it began, seconds until page, error or `cap`; the copy's letter where a page came."""

    began: float
    seconds: float
    letter: str = ""
    error: str = ""
    waiting: bool = False


@dataclass(frozen=True)
class Trust:
    """The authority that a client believes beside its own: a PEM file, a Java trust store and its password.

    pin: SHA-256 of the site's public key in base64.
    """

    ca: str
    java: str
    password: str
    pin: str


@dataclass(frozen=True)
class Setting:
    """Where a client runs: `scratch` is its own folder in memory; `root` whether it runs as user 0.

    trust: whom it believes where the site speaks https.
    """

    scratch: Path
    url: str
    mark: Mark
    trust: Trust | None = None
    root: bool = field(default_factory=lambda: os.geteuid() == 0)

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's session: no proxy, display, bus or home."""
        names = ("PATH", "PYTHONPATH", "PYTHONSAFEPATH", "CRASHCART_LAB")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        own = {"HOME": str(self.scratch / "home"), "TMPDIR": str(self.scratch / "tmp"), "LANG": "C.UTF-8"}
        return kept | own | ({name: self.trust.ca for name in TRUSTING} if self.trust else {})


class Visitor(Protocol):
    """A client at work. `lasting`: it keeps connections and caches between loads."""

    lasting: bool

    def open(self) -> None:
        """Start it. Raises RuntimeError with what it said."""
        ...

    def visit(self, cap: float) -> Visit:
        """Load the page, for at most `cap` seconds."""
        ...

    def reload(self, cap: float) -> Visit:
        """Reload it."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def shown(text: str) -> str:
    """The letter of the copy that a page came from; empty where it is none of ours."""
    found = SHOWN.search(text)
    return found[1] if found else ""
