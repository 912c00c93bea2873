"""What this terminal can show, settled before Textual is imported because Textual reads it from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from engines.host.files import write_whole
from engines.job import runs

# Terminals whose font or line cannot be trusted with more than ASCII: the Linux console's VGA font has
# no heavy or rounded boxes, and vt* is what a serial line calls itself.
ASCII_ONLY = ("linux", "vt", "dumb", "unknown", "ansi", "cons", "sun", "wyse")
MANY_COLOURS = ("256color", "direct", "kitty", "alacritty", "ghostty", "truecolor")
LIGHT = ("7", "15")  # backgrounds in $COLORFGBG, which some terminals set
SERIAL = ("ttyS", "ttyUSB", "ttyAMA", "hvc", "ttyACM")


@dataclass(frozen=True)
class Terminal:
    """One terminal's profile.

    colour: full (256 or more), 16 or mono. slow: a serial line, redrawn less often.
    size_guessed: the line does not say its size, so 80x24 is assumed.
    tty: its name, such as /dev/ttyS0; empty where there is none. light: its background is.
    """

    colour: Literal["full", "16", "mono"] = "16"
    unicode: bool = False
    slow: bool = False
    size_guessed: bool = False
    tty: str = ""
    term: str = ""
    light: bool = False

    @property
    def copies(self) -> bool:
        """Whether it may know how to copy (OSC 52); an old one, or a console, prints the sequence instead."""
        return not self.slow and not _plain(self.term)

    @property
    def mouse(self) -> bool:
        """Whether it is asked for its mouse: where bytes count, every move of it would be some."""
        return self.unicode and not self.slow

    @classmethod
    def guess(cls, env: Mapping[str, str], tty: str = "", client: Callable[[], str] = lambda: "") -> Terminal:
        """The profile that `env` tells; `client` says "TERM UTF8" of the terminal that tmux draws on."""
        term, utf8 = env.get("TERM", ""), _speaks_utf8(env)
        if env.get("TMUX") and (said := client().split()):
            term, utf8 = said[0], utf8 and said[1:] == ["1"]
        many = env.get("COLORTERM") in ("truecolor", "24bit") or any(word in term for word in MANY_COLOURS)
        plain = _plain(term)
        colour: Literal["full", "16", "mono"] = "full" if many and not plain else "16"
        return cls(
            colour="mono" if "NO_COLOR" in env else colour,
            unicode=utf8 and not plain,
            slow=term.startswith("vt") or Path(tty).name.startswith(SERIAL),
            tty=tty,
            term=env.get("TERM", ""),
            light=env.get("COLORFGBG", "").rpartition(";")[2] in LIGHT,
        )

    def plain(self) -> Terminal:
        """This terminal with nothing asked of it but ASCII and 16 colours."""
        return replace(self, colour="mono" if self.colour == "mono" else "16", unicode=False)

    def rich(self) -> Terminal:
        """This terminal trusted with everything."""
        return replace(self, colour="mono" if self.colour == "mono" else "full", unicode=True)

    def words(self) -> str:
        """The profile in a few words for the home screen."""
        colours = {"full": "colour", "16": "16 colours", "mono": "no colour"}[self.colour]
        return f"{self.term or 'no TERM'}, {colours}, {'UTF-8' if self.unicode else 'ASCII'}"


def _plain(term: str) -> bool:
    return not term or term.startswith(ASCII_ONLY)


def _speaks_utf8(env: Mapping[str, str]) -> bool:
    ctype = env.get("LC_CTYPE", "")
    if ctype == "C.UTF-8" and env.get("LANG", "C") in ("", "C", "POSIX"):
        ctype = ""  # Python sets this itself where the locale is C, and says nothing of the terminal by it
    locale = env.get("LC_ALL") or ctype or env.get("LANG") or ""
    return locale.lower().replace("-", "").endswith("utf8")


def here(env: Mapping[str, str]) -> Terminal:
    """The profile of this process's own terminal, with what was remembered for it."""
    try:
        tty = os.ttyname(1)
    except OSError:
        tty = ""
    found = replace(Terminal.guess(env, tty, tmux_client), size_guessed=_size_guessed(env))
    told, light = remembered(found), remembered(found, "light")
    found = replace(found, light=found.light if light is None else light)
    return found if told is None else found.plain() if told else found.rich()


def _size_guessed(env: Mapping[str, str]) -> bool:
    if env.get("COLUMNS") and env.get("LINES"):
        return False
    try:
        return os.get_terminal_size(1).columns == 0
    except OSError:
        return True


def tmux_client() -> str:
    """ "TERM UTF8" of the terminal that tmux draws on; inside tmux, TERM only names tmux itself."""
    import pexpect

    try:
        argv = ["display", "-p", "#{client_termname} #{client_utf8}"]
        asked = pexpect.spawn("tmux", argv, timeout=1, encoding="utf-8", echo=False)
        said = str(asked.read()).strip()
        asked.close()
    except (pexpect.ExceptionPexpect, OSError):
        return ""
    return said if len(said.split()) == 2 and said[-1] in "01" else ""


def prepare(terminal: Terminal, env: MutableMapping[str, str]) -> None:
    """Tell Textual about the terminal; only what is set before it is imported counts."""
    env.setdefault("ESCDELAY", "500")  # ms; a slow line splits an arrow key, and 100 ms makes Escape of it
    env["TEXTUAL_DISABLE_KITTY_KEY"] = "1"
    env["TEXTUAL_ANIMATIONS"] = "none"
    env["TEXTUAL_SMOOTH_SCROLL"] = "0"
    env["TEXTUAL_FPS"] = "10" if terminal.slow else "30"
    if terminal.colour != "full":
        env["TEXTUAL_THEME"] = "ansi-light" if terminal.light else "ansi-dark"
        env["TEXTUAL_COLOR_SYSTEM"] = "standard"


# ── what was chosen on a terminal before ────────────────────────────────────────────────────────────


def _memory() -> Path:
    return runs.home().parent / "terminals.json"


def _known() -> dict[str, bool]:
    try:
        return msgspec.json.decode(_memory().read_bytes(), type=dict[str, bool])
    except (OSError, msgspec.DecodeError):
        return {}


def remembered(terminal: Terminal, what: str = "") -> bool | None:
    """Whether plain (or `light`) was chosen on this tty before; None where nothing was."""
    return _known().get(_named(terminal, what)) if terminal.tty else None


def _named(terminal: Terminal, what: str) -> str:
    return f"{terminal.tty} {terminal.term} {what}".rstrip()


def remember(terminal: Terminal, plain: bool, what: str = "") -> None:
    """Keep the choice for this tty; a state folder that cannot be written only costs the memory."""
    if not terminal.tty:
        return
    kept = {**_known(), _named(terminal, what): plain}
    try:
        _memory().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(_memory(), msgspec.json.encode(kept))
    except OSError:
        return
