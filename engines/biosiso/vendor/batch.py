"""What a vendor's batch or UEFI shell script does: its flash lines, and what it writes to the medium."""

from __future__ import annotations

import functools
import re

import msgspec

from engines.biosiso.vendor.flow import Flow, Reader
from engines.biosiso.vendor.variables import OWN, REMARK, Variables

LONGEST = 1024 * 1024  # bytes of a script that are read
KNOWN = (
    r"(?!afuwin|afulnx|fptw)(?:afu\w*|efiflash\w*|flashspi|iflash\w*|phlash\w*|awd(?:flash|\d)\w*|asrflash\w*|fpt\w*"
    r"|bflash\w*|flashit)"
)
"""DOS flashers of AMI, Gigabyte, Intel, Phoenix, Award and ASRock, by the words that public packages call them with."""
NAMED = re.compile(r"(?<![a-z0-9_~+-])[a-z0-9_~+-]+\.[a-z0-9_]{1,4}", re.IGNORECASE)
SWITCH = re.compile(r"/[A-Za-z][A-Za-z0-9]*(?::[A-Za-z0-9_.]*)?")
COMMANDS = {
    "ren": "renames a file",
    "rename": "renames a file",
    "copy": "copies a file",
    "xcopy": "copies files",
    "cp": "copies a file",
    "mv": "moves a file",
    "move": "moves a file",
    "del": "deletes a file",
    "erase": "deletes a file",
    "rm": "deletes a file",
    "md": "makes a folder",
    "mkdir": "makes a folder",
    "rd": "removes a folder",
    "rmdir": "removes a folder",
    "deltree": "removes a folder",
    "attrib": "changes a file's attributes",
    "edit": "edits a file",
    "reset": "reboots",
    "reboot": "reboots",
}
REBOOTS = re.compile(
    r"\b(?:reset|reboot|warmboot|coldboot|fdapm\S*\s+(?:warm|cold)boot)\b|/reboot\b|/shutdown\b", re.IGNORECASE
)
GLUED = re.compile(r"/[^/]+")
LOOKS = {"/o", "/u", "/s", "/d", "/?", "/h"}
REBOOT = {"/reboot", "/shutdown", "/q", "-reboot"}
REDIRECT = re.compile(r"(?<![0-9=])>{1,2}\s*(?P<where>[^\s>|<]+)")
QUIET = {"nul", "nul:", "con", "con:"}


class FlashLine(msgspec.Struct, frozen=True):
    """A flasher call as the script has it; `%1` stays. `switches` are its / words, one blank apart.

    tool: the program without its ending. args: everything behind it but redirections. step: its place in the flow.
    """

    file: str
    line: int
    text: str
    switches: str
    tool: str = ""
    args: str = ""
    step: int = -1

    def words(self) -> str:
        """The line and where it stands."""
        return f"{self.text} ({self.file} line {self.line})"

    @property
    def flashes(self) -> bool:
        """Whether it is more than a look at the ROM, a copy of the old one, or a reboot."""
        words = self.args.lower().split()
        if self.tool.startswith("afu") and LOOKS & set(words):
            return False
        return not all(word in REBOOT for word in words)

    @property
    def opened(self) -> str:
        """What of its switches a variable says, which the batch alone does not settle; empty where nothing does."""
        loose = [word for word in self.args.split() if "%" in word]
        switches = [word for word in loose if word.startswith(("/", "-"))]
        others = [word for word in self.args.split() if not word.startswith(("/", "-", '"'))]
        return " ".join([*switches, *(word for word in others[1:] if word in loose)])

    @property
    def asks(self) -> tuple[str, ...]:
        """Its switches of either form."""
        words = (word.lower() for word in self.args.split() if word.startswith(("/", "-")))
        return tuple(part for word in words for part in (GLUED.findall(word) or [word]))


class Write(msgspec.Struct, frozen=True):
    """A line that changes the medium or reboots, and what it does."""

    file: str
    line: int
    text: str
    what: str
    reboots: bool = False


class Script(msgspec.Struct, frozen=True):
    """One script as read. `lf_only` is true where FreeCOM could not run it; `mentions` are file names, lower case."""

    file: str
    flash_lines: tuple[FlashLine, ...]
    writes: tuple[Write, ...]
    lf_only: bool
    mentions: frozenset[str] = frozenset()
    flow: Flow = Flow()


def read(file: str, content: bytes, flasher: str = "") -> Script:
    """Read a script; anything at all can be in it. `flasher` is the base name of one that is not known here."""
    from engines.biosiso.vendor.sources import is_lf_only

    text = content[:LONGEST].decode("cp437").partition("\x1a")[0]  # where DOS reads no further
    calls = _calls(flasher.rpartition(".")[0] or flasher)
    flash_lines: list[FlashLine] = []
    writes: list[Write] = []
    lines = [raw.strip() for raw in re.split(r"\r\n|\n|\r", text)]
    variables, reader = Variables(lines), Reader()
    for number, line in enumerate(lines, 1):
        commands = reader.take(number, variables.whole(line))
        bare = variables.filled(line)
        if not bare or REMARK.match(bare):
            continue
        for step, found in [(step, calls.match(_plain(text))) for step, text in commands]:
            if not found:
                continue
            call = _closed(re.split(r"[|<>&]", found["rest"])[0].strip())
            switches = " ".join(SWITCH.findall(call))
            flash_lines.append(FlashLine(file, number, line, switches, found["tool"].lower(), call, step))
        writes += [Write(file, number, line, what, reboots) for what, reboots in _effects(bare)]
    mentions = frozenset(name.lower() for name in NAMED.findall(text))
    return Script(file, tuple(flash_lines), tuple(writes), is_lf_only(content), mentions, reader.flow())


QUOTED = re.compile(r'"([^"\s]*)"')


def _plain(call: str) -> str:
    """A command without the place of its files, and without quotes but those that a blank needs."""
    return OWN.sub(lambda found: f"%{found[1]}" if found[1] else "", QUOTED.sub(r"\1", call)).rstrip()


def _closed(call: str) -> str:
    """A call without the brackets at its end that conditions before it have opened."""
    while call.endswith(")") and call.count(")") > call.count("("):
        call = call[:-1].rstrip()
    return call


@functools.cache
def _calls(flasher: str) -> re.Pattern[str]:
    tools = "|".join([*([re.escape(flasher)] if flasher else []), KNOWN])
    return re.compile(
        rf"^@?(?:call\s+)?(?:\S*[\\/])?(?P<tool>{tools})(?:\.(?:exe|com|smc|efi))?\s+(?P<rest>\S.*)$", re.IGNORECASE
    )


def _effects(line: str) -> list[tuple[str, bool]]:
    word = re.split(r"[\s/\\.,;=>]", line, maxsplit=1)[0].lower()
    effects: list[tuple[str, bool]] = []
    says = word in ("echo", "set")
    if word in COMMANDS and not says:
        effects.append((COMMANDS[word], COMMANDS[word] == "reboots"))
    elif not says and REBOOTS.search(line):
        effects.append(("reboots", True))
    for found in REDIRECT.finditer(line):
        if found["where"].lower() not in QUIET:
            effects.append((f"writes {found['where']}", False))
    return effects
