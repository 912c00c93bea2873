"""Tables with a device in a known column: fstab, crypttab, GRUB's device.map; and files of NAME=VALUE."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import BY_UUID, Disks, comment, device_of, joined, split
from engines.virtio.lines.disks import NAMED as DISK

NAMED = re.compile(r"\s*(?:(?:export|readonly|declare|typeset)\s+(?:-\w+\s+)?)?[A-Za-z_]\w*[ \t]{0,8}\+?=")
QUOTES = ("'", '"')
KEYED = 2  # crypttab's column of keys
COMMENT = re.compile(r"\s#")
KEY = re.compile(r".*:/dev/.*|/dev/[^:]+(?::/.*)?")  # on a disk, or the disk itself
ARGUMENTS = re.compile(r"[^=]*(?:cmdline|commandline|append|parameters|_opts|_root)\w*\s*\+?=", re.IGNORECASE)
WHAT = re.compile(r"[ \t]*What[ \t]*=")
NEEDS = re.compile(r"[ \t]*(?:After|Before|Requires|Requisite|BindsTo|Wants|PartOf|StopPropagatedFrom)[ \t]*=")
LASTING = re.compile(r"^UUID=")
XEN_LOGIN = re.compile(r":respawn:.*\b(?:xvc|hvc)\d")


def _fields(line: str) -> tuple[list[str], list[int]]:
    """A line's words and blanks in order, and where the words are, as far as a remark behind them."""
    words = re.split(r"([ \t\r\n]+)", line)
    fields = [at for at, word in enumerate(words) if word and not re.fullmatch(r"[ \t\r\n]+", word)]
    return words, fields[: next((number for number, at in enumerate(fields) if words[at].startswith("#")), None)]


def _column(line: str, number: int, disks: Disks, *options: int) -> str:
    """With the device in that column renamed; every naming in the columns of options, too."""
    words, fields = _fields(line)
    if len(fields) > number:
        words[fields[number]] = disks.spec(words[fields[number]])
    for each in options:
        if len(fields) > each:
            words[fields[each]] = disks.units(disks.paths(words[fields[each]]))
    return "".join(words)


def fstab(text: str, disks: Disks) -> str:
    """The first column, and options such as logdev=/dev/sda5."""
    return "".join(line if comment(line) else _column(line, 0, disks, 3) for line in split(text))


def without(text: str, foreign: tuple[str, ...]) -> str:
    """fstab without the rows of disks that are not there: a boot would wait for them."""
    return "".join(f"# {line}" if not comment(line) and _of(line.split()[0], foreign) else line for line in split(text))


def _of(spec: str, foreign: tuple[str, ...]) -> bool:
    spec = device_of(spec)
    named = DISK.fullmatch(spec)
    return spec in foreign or (named is not None and f"/dev/{named.group(1)}" in foreign)


def inittab(text: str, disks: Disks) -> str:
    """Without login prompts on consoles that only Xen has, where the guest comes from there."""
    if not disks.old.startswith("xvd"):
        return text
    return "".join(f"# {line}" if not comment(line) and XEN_LOGIN.search(line) else line for line in split(text))


def crypttab(text: str, disks: Disks) -> str:
    """The second column, the device that a key is on, and options such as header=/dev/sda5.

    A key on a device is /key:/dev/sda6, or /dev/sda6:/key for Debian's passdev, or the disk or partition itself.
    """
    return "".join(line if comment(line) else _key(_column(line, 1, disks, 3), disks) for line in split(text))


def _key(line: str, disks: Disks) -> str:
    words, fields = _fields(line)
    if len(fields) > KEYED and KEY.fullmatch(key := words[fields[KEYED]]):
        # a key's path is opened: none is a UUID=, but for the device behind the colon
        words[fields[KEYED]] = LASTING.sub(BY_UUID, disks.renamed(key))
    return "".join(words)


def device_map(text: str, disks: Disks) -> str:
    """The device behind (hdN)."""
    return "".join(_column(line, 1, disks) if line.lstrip().startswith("(") else line for line in split(text))


def unit(text: str, disks: Disks) -> str:
    """Settings of one of systemd's units, where a quote in a line's words opens nothing: What=/dev/sda5."""
    return "".join(
        line if comment(line) or line.lstrip().startswith(";") else _setting(line, disks) for line in joined(text)
    )


def needing(text: str, disks: Disks) -> str:
    """A unit that stands on another: Requires=dev-sda5.device. What it does with disks stays as it is."""
    return "".join(disks.units(line) if NEEDS.match(line) else line for line in joined(text))


def _setting(line: str, disks: Disks) -> str:
    """systemd of old knows no UUID= in any of them."""
    if not WHAT.match(line):
        return disks.units(disks.paths(line))
    made = disks.renamed(line)
    return disks.units(made if made == line else made.replace("UUID=", BY_UUID, 1))


def settings(text: str, disks: Disks) -> str:
    """Values of NAME=VALUE lines, over several where they go on: GRUB_CMDLINE_LINUX="resume=/dev/hda2 quiet"."""
    made, within = [], ""
    for line in split(text):
        value = bool(within) or (not comment(line) and NAMED.match(line) is not None)
        made.append(_value(line, disks, within) if value else line)
        within = _open(line, within) if value else ""
    return "".join(made)


def _value(line: str, disks: Disks, within: str) -> str:
    code, mark, said = line, "", ""
    if within not in QUOTES and (
        found := COMMENT.search(line, 1 + max(map(line.rfind, QUOTES)))
    ):  # a comment behind the value
        code, mark, said = line[: found.start()], line[found.start() : found.end()], line[found.end() :]
    return (disks.booted(code) if within or ARGUMENTS.match(code) else disks.renamed(code)) + mark + said


def _open(line: str, within: str) -> str:
    """What goes on in the next line: an open quote, or a backslash at the end; empty where nothing does."""
    quote = within if within in QUOTES else ""
    for mark in re.sub(r"\\.", "", line.rstrip("\r\n")):
        if not quote and mark == "#":
            return ""
        if mark in QUOTES and quote in ("", mark):
            quote = "" if quote else mark
    return quote or ("\\" if re.search(r"(?<!\\)(?:\\\\)*\\$", line.rstrip("\r\n")) else "")
