"""GRUB 2's generated grub.cfg: reads its menu entries, adds one that boots from virtio, keeps the others."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engines.virtio.lines.disks import Disks, comment, joined, split
from engines.virtio.lines.grub1 import MARK, Entry, number_in, spoken

WORD = r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"{]+)"
OPTIONS = rf"(?:(?:--unrestricted|--\w+=\S+|(?:--(?:class|users|hotkey|id|source)|\$menuentry_id_option)\s+{WORD})\s+)"
# A title of one word may go without quotes, options may stand in front of it. One that is a variable's is not known.
ENTRY = re.compile(
    rf"\s*menuentry\s+(?P<options>{OPTIONS}{{0,16}})"
    r"(?:\$?(?P<quote>['\"])(?P<quoted>.*?)(?P=quote)|(?P<bare>[^\s'\"{$-][^\s'\"{]*)|(?=[$-]))"
)
SUBMENU = re.compile(r"\s*submenu\s")
LINUX = re.compile(r"\s*linux(?:16|efi)?\s")
INITRD = re.compile(r"\s*initrd(?:16|efi)?\s")
SET = re.compile(r"\s*set\s+(\w+)=(?:\"([^\"]*)\"|'([^']*)'|(\S*))\s*$")
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
DEFAULT = re.compile(r"(\s*(?:set\s+)?default=)(\"[^\"]*\"|'[^']*'|\S+)")
OWN = "crashcart-virtio-"


def entries(text: str) -> list[Entry]:
    """All menu entries, those of submenus too, in order."""
    found: list[list[str]] = []
    depth = 0
    for line in joined(text):
        if ENTRY.match(line):
            found.append([line])
            depth = 1
        elif depth:
            found[-1].append(line)
            if line.strip() == "}":
                depth = 0
    return [_entry(lines) for lines in found]


def _entry(lines: list[str]) -> Entry:
    title = ENTRY.match(lines[0])
    told = [line.replace("\\\n", " ").split() for line in lines if LINUX.match(line)]
    kernel = next((words[1] for words in told if len(words) > 1), "")
    # in front of it may be a processor's microcode
    initrd = next((line.split()[-1] for line in lines if INITRD.match(line) and len(line.split()) > 1), "")
    return Entry(
        (title["quoted"] or title["bare"] or "") if title else "",
        kernel,
        initrd,
        tuple(lines),
        xen="/xen" in "".join(lines[1:3]),
    )


def default(text: str, saved: str = "") -> int:
    """The default entry's number; `saved` is grubenv's saved_entry: numbers, titles or ids, of submenus first."""
    wanted = saved or next((found.group(2).strip("\"'") for found in _defaults(text)), "0")
    last = wanted.rsplit(">", 1)[-1]
    for at, each in enumerate(entries(text)):
        if (last and last == each.title) or f"'{last}'" in each.lines[0] or f'"{last}"' in each.lines[0]:
            return at
    numbers = tuple(number_in(word) for word in wanted.split(">"))
    return next((at for at, place in enumerate(_places(text)) if place[: len(numbers)] == numbers), 0)


def _defaults(text: str) -> Iterator[re.Match[str]]:
    """Where the menu sets its default, but for the choice of one boot."""
    matched = (DEFAULT.match(line) for line in split(text))
    return (found for found in matched if found and "next_entry" not in found.group(2))


def _places(text: str) -> Iterator[tuple[int, ...]]:
    """Where each entry stands: its number in the menu, or its submenu's and then its own there.

    One at a time: in a menu made to do harm each is as long as the menu.
    """
    above: list[int] = []
    number, inside = 0, False
    for line in split(text):
        if ENTRY.match(line):
            yield (*above, number)
            number, inside = number + 1, True
        elif SUBMENU.match(line):
            above, number = [*above, number], 0
        elif line.strip() == "}" and inside:
            inside = False
        elif line.strip() == "}" and above:
            above, number = above[:-1], above[-1] + 1


def with_entry(text: str, stock: Entry, initrd: str, disks: Disks) -> str:
    """`text` with a copy of `stock` that uses `initrd` and the new disk, behind the last top-level entry."""
    if any(each.initrd.endswith("/" + initrd) for each in entries(text)):
        return text
    identity = OWN + stock.version
    named = _naming(text, disks)
    copied = [_converted(_opened(line, named), initrd, identity, disks) for line in stock.lines if not comment(line)]
    lines = split(text)
    at = max((at for at, line in enumerate(lines) if line.rstrip() == "}"), default=len(lines) - 1) + 1
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join(lines[:at] + copied + lines[at:])


def _naming(text: str, disks: Disks) -> dict[str, str]:
    """The menu's variables that name the old disk; the last value of each."""
    found = {each[1]: each[2] or each[3] or each[4] or "" for each in map(SET.match, split(text)) if each}
    return {name: value for name, value in found.items() if disks.booted(f" {value}") != f" {value}"}


def _opened(line: str, named: dict[str, str]) -> str:
    """A kernel line with those written out: the stock entry keeps them."""
    return VARIABLE.sub(lambda found: named.get(found[1] or found[2], found[0]), line) if LINUX.match(line) else line


def _converted(line: str, initrd: str, identity: str, disks: Disks) -> str:
    if ENTRY.match(line):
        line = ENTRY.sub(_marked, line, count=1)
        line = re.sub(r"\s*\$menuentry_id_option\s+(['\"]).*?\1", "", line)
        return re.sub(r"\s*\{\s*$", f" --id '{identity}' {{\n", line)
    if INITRD.match(line):
        return re.sub(r"(?<![^/\s])[^/\s]+(?=\s*$)", lambda _: initrd, line, count=1)
    if line.strip() == "}":
        return "}\n"
    return disks.booted(line) if LINUX.match(line) else line


def _marked(found: re.Match[str]) -> str:
    quote, title = found["quote"] or "'", found["quoted"] or found["bare"] or ""
    return f"menuentry {found['options']}{quote}{title}{MARK}{quote}"


def with_default(text: str, version: str) -> str:
    """`text` whose default is the added entry of that kernel; a one-time choice (next_entry) still wins."""
    lines, told = split(text), False
    for at, line in enumerate(lines):
        found = DEFAULT.match(line)
        if found and "next_entry" not in found.group(2):
            lines[at] = f'{found.group(1)}"{OWN}{version}"{line[found.end() :]}'
            told = True
    return "".join(lines if told else [f'set default="{OWN}{version}"\n', *lines])


def without_entry(text: str, initrd: str) -> str:
    """`text` without the entry that uses an initrd of that name."""
    gone = next((each for each in entries(text) if each.initrd.endswith("/" + initrd)), None)
    return text.replace("".join(gone.lines), "", 1) if gone else text


def default_to(text: str, value: str) -> str:
    """`text` whose added default is replaced by `value`."""
    lines = split(text)
    for at, line in enumerate(lines):
        found = DEFAULT.match(line)
        if found and OWN in found.group(2):
            lines[at] = f'{found.group(1)}"{value}"{line[found.end() :]}'
    return "".join(lines)


def variable(text: str, name: str) -> str:
    """What the menu sets a variable to; empty where it does not."""
    found = re.search(rf"^\s*set {name}=([\"']?)(.*?)\1\s*$", text, re.MULTILINE)
    return found.group(2) if found else ""


def renamed(text: str, version: str, disks: Disks) -> str:
    """`text` with the new disk on the kernel lines of one kernel's entries."""
    wanted = {line for each in entries(text) if each.version == version for line in each.lines}
    named = _naming(text, disks)
    return "".join(
        disks.booted(_opened(line, named)) if line in wanted and LINUX.match(line) else line for line in joined(text)
    )


def for_serial(text: str, more: str = "") -> str:
    """`text` whose kernel lines also speak on the first serial line: for a throwaway boot only. more: arguments."""
    return "".join(spoken(line, more) if LINUX.match(line) else line for line in joined(text))
