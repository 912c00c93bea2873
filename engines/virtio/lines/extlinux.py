"""SYSLINUX's menu (extlinux.conf, syslinux.cfg): reads its labels, adds one that boots from virtio, keeps the others.

Source: SYSLINUX's doc/syslinux.txt and doc/menu.txt; keywords in any case, INITRD on its own or in APPEND.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from engines.virtio.lines.disks import Disks, comment, split
from engines.virtio.lines.grub1 import MARK, Entry, spoken

LABEL = re.compile(r"(\s*label\s+)(\S+)", re.IGNORECASE)
KERNEL = re.compile(r"\s*(?:kernel|linux)\s+(\S+)", re.IGNORECASE)
INITRD = re.compile(r"(\s*initrd\s+)(\S+)", re.IGNORECASE)
APPEND = re.compile(r"\s*append\s", re.IGNORECASE)
GIVEN = re.compile(r"\s*(?:append|kernel|linux)\s", re.IGNORECASE)  # arguments stand behind a kernel, too
WITHIN = re.compile(r"(?<=\s)(initrd=)(\S+)")
SHOWN = re.compile(r"\s*menu\s+label\s+(.*\S)", re.IGNORECASE)
DEFAULT = re.compile(r"(\s*(?:default|ontimeout)\s+)(\S+)", re.IGNORECASE)  # behind it may be a kernel's arguments
# What stands behind a label and is the whole menu's.
OUTSIDE = re.compile(
    r"\s*(?:menu\s+(?:begin|end|separator|title|include|background)|include|ui|default|ontimeout|timeout|prompt)\b",
    re.IGNORECASE,
)
CHOSEN = re.compile(r"\s*menu\s+default\s*$", re.IGNORECASE)
OWN = "-virtio"


def entries(text: str) -> list[Entry]:
    """The labels in order."""
    shared = _shared(text)
    return [_entry(lines, shared) for lines in _stanzas(text)]


def _shared(text: str) -> str:
    """The APPEND in front of all labels, which those have that have none; empty where there is none."""
    found = ""
    for line in split(text):
        if LABEL.match(line):
            break
        found = line if APPEND.match(line) else found
    return found


def _own(lines: Iterable[str]) -> bool:
    return any(APPEND.match(line) for line in lines)


def _stanzas(text: str) -> list[list[str]]:
    found: list[list[str]] = []
    for line in split(text):
        if LABEL.match(line):
            found.append([line])
        elif found:
            found[-1].append(line)
    return found


def _entry(lines: list[str], shared: str = "") -> Entry:
    given = lines if _own(lines) else [*lines, shared]

    def first(pattern: re.Pattern[str], group: int) -> str:
        return next((found.group(group) for line in lines if (found := pattern.match(line))), "")

    within = next((found.group(2) for line in given if APPEND.match(line) and (found := WITHIN.search(line))), "")
    initrd = (first(INITRD, 2) or within).rsplit(",", 1)[-1]
    return Entry(first(LABEL, 2), first(KERNEL, 1), initrd, tuple(lines))


def default(text: str) -> int:
    """The default label's number: that of the last DEFAULT, or of the one that a menu marks; 0 where none is."""
    found = entries(text)
    first: dict[str, int] = {}
    for at, each in enumerate(found):
        first.setdefault(each.title, at)
    named = (chosen.group(2) for line in reversed(split(text)) if (chosen := DEFAULT.match(line)))
    if (last := next((name for name in named if name in first), None)) is not None:
        return first[last]
    return next((at for at, each in enumerate(found) if any(CHOSEN.match(line) for line in each.lines)), 0)


def with_entry(text: str, stock: Entry, initrd: str, disks: Disks) -> str:
    """`text` with a copy of `stock` that uses `initrd` and the new disk as the last label; once."""
    if number_of(text, initrd) is not None:
        return text
    kept = [line for line in stock.lines if not comment(line) and not CHOSEN.match(line) and not OUTSIDE.match(line)]
    if (shared := _shared(text)) and not _own(kept):
        kept.append(shared if shared.startswith((" ", "\t")) else f"\t{shared}")
    copied = [_converted(line, initrd, disks) for line in kept]
    ending = "" if text.endswith("\n") or not text else "\n"
    return text + ending + "".join(line if line.endswith("\n") else line + "\n" for line in copied)


def _converted(line: str, initrd: str, disks: Disks) -> str:
    if found := LABEL.match(line):
        return f"{found.group(1)}{found.group(2)}{OWN}{line[found.end() :]}"
    if SHOWN.match(line):
        body = line.rstrip("\r\n")
        return body.rstrip() + MARK + line[len(body) :]
    if INITRD.match(line):
        return re.sub(r"(?<![^/,\s])[^/,\s]+(?=\s*$)", lambda _: initrd, line, count=1)
    if KERNEL.match(line):
        return disks.booted(line)
    if not APPEND.match(line):
        return line
    line = WITHIN.sub(
        lambda found: found.group(1) + re.sub(r"(?<![^/,])[^/,]+$", lambda _: initrd, found.group(2)), line
    )
    return disks.booted(line)


def with_default(text: str, number: int) -> str:
    """`text` whose default is that label, however it says so: DEFAULT, ONTIMEOUT, or a mark in the menu."""
    found = entries(text)
    wanted, labels = found[number].title, {each.title for each in found}
    lines, named, inside = [], False, ""
    marks = any(map(CHOSEN.match, split(text)))
    for line in split(text):
        if label := LABEL.match(line):
            inside = label.group(2)
        chosen = DEFAULT.match(line)
        if chosen and chosen.group(2) in labels:
            line = f"{chosen.group(1)}{wanted}{line[chosen.end() :]}"
            named = True
        if CHOSEN.match(line) and inside != wanted:
            continue
        lines.append(line)
        if label and inside == wanted and marks:
            lines.append("\tMENU DEFAULT\n")
            named = True
    return "".join(lines if named else [f"ONTIMEOUT {wanted}\n" if _menu(text) else f"DEFAULT {wanted}\n", *lines])


def _menu(text: str) -> bool:
    """Whether DEFAULT starts a menu program."""
    return re.search(r"^\s*(?:default|ui)\s+\S*menu\.c32", text, re.MULTILINE | re.IGNORECASE) is not None


def number_of(text: str, initrd: str) -> int | None:
    """The number of the label that uses an initrd of that name."""
    return next((at for at, each in enumerate(entries(text)) if each.initrd.rsplit("/", 1)[-1] == initrd), None)


def without_entry(text: str, initrd: str) -> str:
    """`text` without the label that uses an initrd of that name."""
    number = number_of(text, initrd)
    return text if number is None else text.replace("".join(entries(text)[number].lines), "", 1)


def renamed(text: str, version: str, disks: Disks) -> str:
    """`text` with the new disk in the arguments of one kernel's labels, and in those that DEFAULT gives to one."""
    found = [each for each in entries(text) if each.version == version]
    wanted = {line for each in found for line in each.lines}
    wanted |= set() if all(_own(each.lines) for each in found) else {_shared(text)}
    made = "".join(disks.booted(line) if line in wanted and GIVEN.match(line) else line for line in split(text))
    return given(made, disks, {each.title for each in found})


def given(text: str, disks: Disks, labels: set[str] | None = None) -> str:
    """`text` with the new disk in the arguments that DEFAULT gives to a label, or to one of those: APPEND's lose."""
    known = {each.title for each in entries(text)} if labels is None else labels
    return "".join(
        f"{chosen.group()}{disks.booted(line[chosen.end() :])}"
        if (chosen := DEFAULT.match(line)) and chosen.group(2) in known
        else line
        for line in split(text)
    )


def for_serial(text: str, more: str = "") -> str:
    """`text` whose kernels also speak on the first serial line: for a throwaway boot only. more: arguments."""
    bare = [] if _shared(text) else [each for each in _stanzas(text) if not _own(each)]
    silent = {line for each in bare for line in each}
    return "".join(
        spoken(line, more) if APPEND.match(line) or (line in silent and KERNEL.match(line)) else line
        for line in split(text)
    )
