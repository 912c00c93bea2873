"""What a vendor's batch or UEFI shell script does: its flash lines, and what it writes to the medium."""

from __future__ import annotations

import re

import msgspec

LONGEST = 1024 * 1024  # bytes of a script that are read
FLASHER = re.compile(
    r"^@?(?:call\s+)?(?:\S*[\\/])?(?P<tool>afu\w*)(?:\.(?:exe|smc|efi))?\s+(?P<rest>\S.*)$", re.IGNORECASE
)
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
REDIRECT = re.compile(r"(?<![0-9=])>{1,2}\s*(?P<where>[^\s>|<]+)")
QUIET = {"nul", "nul:", "con", "con:"}


class FlashLine(msgspec.Struct, frozen=True):
    """A flasher call as the script has it; `%1` stays. `switches` are its / words, one blank apart."""

    file: str
    line: int
    text: str
    switches: str


class Write(msgspec.Struct, frozen=True):
    """A line that changes the medium or reboots, and what it does."""

    file: str
    line: int
    text: str
    what: str
    reboots: bool = False


class Script(msgspec.Struct, frozen=True):
    """One script as read. `lf_only` is true where FreeCOM could not run it."""

    file: str
    flash_lines: tuple[FlashLine, ...]
    writes: tuple[Write, ...]
    lf_only: bool


def read(file: str, content: bytes) -> Script:
    """Read a script; anything at all can be in it."""
    from engines.biosiso.vendor.sources import is_lf_only

    text = content[:LONGEST].decode("cp437").replace("\x1a", "")  # DOS editors end a text with Ctrl-Z
    flash_lines: list[FlashLine] = []
    writes: list[Write] = []
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = raw.strip()
        bare = _command(line)
        if not bare or bare.startswith((":", "#")) or re.match(r"rem\b", bare, re.IGNORECASE):
            continue
        if found := FLASHER.match(bare):
            call = re.split(r"[|<>]", found["rest"])[0]
            flash_lines.append(FlashLine(file, number, line, " ".join(SWITCH.findall(call))))
        writes += [Write(file, number, line, what, reboots) for what, reboots in _effects(bare)]
    return Script(file, tuple(flash_lines), tuple(writes), is_lf_only(content))


def _command(line: str) -> str:
    """The command of a line, behind @ and any number of IF conditions."""
    line = line.lstrip("@ \t")
    while found := re.match(
        r"if\s+(?:/i\s+)?(?:not\s+)?(?:exist\s+\S+|errorlevel\s*=*\s*\d+|\S+\s*==\s*\S+)\s+(?P<then>\S.*)$",
        line,
        re.IGNORECASE,
    ):
        line = found["then"].lstrip("@ \t(")
    return line


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
