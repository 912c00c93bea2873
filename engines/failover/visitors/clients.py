"""The clients that the lab can send, read from clients.toml."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from engines.failover.visitors.visit import Setting, Visitor
from engines.host import child
from engines.job.errors import BadParam

CATALOGUE = Path(__file__).with_name("clients.toml")
NUMBER = re.compile(r"v?(\d+(?:\.\d+)+)")
GROUPS = {"browsers": ("browser",), "all": ("browser", "program")}


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of clients.toml; its comment explains the fields."""

    name: str
    kind: str
    programs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    driver: str = "program"
    version: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    script: str = ""
    suffix: str = ".py"
    module: str = ""
    install: str = ""
    trust: tuple[str, ...] = ()

    def program(self) -> str:
        """The first of its programs that is installed; empty where none is."""
        for name in self.programs:
            if found := shutil.which(name.replace("{python}", child.INTERPRETER)):
                return found
        return ""

    def found_version(self) -> str:
        """Its version as it says itself; empty where it is not installed."""
        program = self.program()
        if not program or self.missing():
            return ""
        if self.module:
            from importlib import metadata

            return metadata.version(self.module)
        words = {"{program}": program, "{python}": child.INTERPRETER}
        return _asked([words.get(word, word) for word in self.version])

    def missing(self) -> str:
        """Why it cannot be sent; empty where it can."""
        if not self.program() or not all(shutil.which(name) for name in self.needs):
            return f"not installed: {self.install}"
        if self.module:
            from importlib.util import find_spec

            if find_spec(self.module) is None:
                return f"not installed: {self.install}"
        if self.driver == "firefox":
            from importlib.util import find_spec

            return "" if find_spec("websocket") else "its driver is not installed: pip install websocket-client"
        return ""

    def visitor(self, setting: Setting) -> Visitor:
        """One of it, ready to be opened."""
        if self.driver == "chromium":
            from engines.failover.visitors.chromium import Chromium

            return Chromium(self.program(), setting)
        if self.driver == "firefox":
            from engines.failover.visitors.firefox import Firefox

            return Firefox(self.program(), setting)
        if self.driver == "webkit":
            from engines.failover.visitors.webkit import WebKit

            return WebKit(self.program(), setting)
        return self._program(setting)

    def _program(self, setting: Setting) -> Visitor:
        from engines.failover.visitors.program import BEGIN, Program

        script = setting.scratch / f"Fetch{self.suffix}"
        script.write_text(self.script)
        words = {
            "{program}": self.program(),
            "{script}": str(script),
            "{built}": str(setting.scratch / "built"),
            "{url}": setting.url,
        }
        argv, prepare = ([words.get(word, word) for word in line] for line in (self.argv, self.prepare))
        if setting.trust:
            told = setting.trust
            filled = {"{ca}": told.ca, "{java}": told.java, "{password}": told.password}
            argv[1:1] = [_filled(word, filled) for word in self.trust]
        return Program(argv, setting, prepare, begins=BEGIN in self.script)


def _filled(word: str, words: dict[str, str]) -> str:
    for name, text in words.items():
        word = word.replace(name, text)
    return word


def _asked(argv: Sequence[str]) -> str:
    try:
        said = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=child.ROOT,
            env=child.environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = NUMBER.search(said.stdout + said.stderr)
    return found[1] if found else "unknown"


@lru_cache
def catalogue() -> dict[str, Client]:
    """Every client by name."""
    entries = tomllib.loads(CATALOGUE.read_text())
    return {name: msgspec.convert({"name": name, **entry}, Client) for name, entry in entries.items()}


def chosen(names: Sequence[str]) -> tuple[Client, ...]:
    """The clients of these names or groups (browsers, all), each once. Raises BadParam."""
    known = catalogue()
    picked: dict[str, Client] = {}
    for name in names:
        if name in GROUPS:
            picked |= {client.name: client for client in known.values() if client.kind in GROUPS[name]}
        elif name in known:
            picked[name] = known[name]
        else:
            raise BadParam("clients", name, "names among " + ", ".join([*GROUPS, *known]))
    return tuple(picked.values())
