"""Boot loader specification snippets, /boot/loader/entries/*.conf: one entry a file, the default in GRUB's environment.

Sources: The Boot Loader Specification (uapi-group.org), type 1 entries; GRUB manual, "Environment block": 1024 bytes.
"""

from __future__ import annotations

import re

from engines.job.errors import Refused
from engines.virtio.lines.disks import Disks, comment, split
from engines.virtio.lines.grub1 import DEVICE, MARK, Entry, spoken

ENDING = "-crashcart-virtio"
SIZE = 1024  # bytes of an environment block, padded with #
HEAD = "# GRUB Environment Block\n"
INITRD = re.compile(r"\s*initrd\s+\S")
ARGUMENTS = ("kernelopts=", "tuned_params=")
SPELT = 4  # times in a line that a variable is written out: a menu names it once
OPTIONS = re.compile(r"\s*options\s")
VARIABLE = re.compile(r"\$(?:kernelopts(?!\w)|\{kernelopts\})")
VERSIONED = re.compile(r"\d+|[a-z]+|[~^]")
END = (-3, "")  # a tilde stands in front of it, a caret right behind it
RANKS = {"~": -4, "^": -2}


def entries(snippets: dict[str, str], options: str = "") -> list[Entry]:
    """In the order of the menu: the latest first. `lines` are the snippet's; options: what $kernelopts stands for."""
    return [
        _entry(text, options) for _, text in sorted(snippets.items(), key=lambda each: _order(each[0]), reverse=True)
    ]


def _order(path: str) -> list[tuple[int, str]]:
    """As RPM compares versions, by which GRUB sorts its menu: 6.1~rc1 comes before 6.1."""
    found = VERSIONED.findall(path.rsplit("/", 1)[-1].removesuffix(".conf").lower())
    return [*((int(each), "") if each.isdigit() else (RANKS.get(each, -1), each) for each in found), END]


def _entry(text: str, options: str) -> Entry:
    fields = values(text)
    lines = tuple(opened(line, options) for line in split(text))
    return Entry(fields.get("title", ""), DEVICE.sub("", fields.get("linux", "")), _initrd(text), lines)


def opened(text: str, options: str) -> str:
    """With $kernelopts, or ${kernelopts}, written out."""
    return VARIABLE.sub(lambda _: options, text, SPELT)


def _initrd(text: str) -> str:
    """The last of a snippet's initrds: in front of it may be a processor's microcode, behind it a variable."""
    named = [path for line in split(text) if INITRD.match(line) for path in line.split()[1:] if path[0] != "$"]
    return named[-1] if named else ""


def values(text: str) -> dict[str, str]:
    """The first value of each key."""
    found: dict[str, str] = {}
    for line in split(text):
        if not comment(line):
            key, *value = line.strip().split(maxsplit=1)
            found.setdefault(key, "".join(value))
    return found


def path_of(snippets: dict[str, str], entry: Entry) -> str:
    """The snippet of an entry."""
    wanted = (entry.title, entry.kernel, entry.initrd)
    return next(
        path
        for path, text in snippets.items()
        if (found := _entry(text, "")) and (found.title, found.kernel, found.initrd) == wanted
    )


def with_entry(snippets: dict[str, str], stock: Entry, initrd: str, disks: Disks, options: str = "") -> tuple[str, str]:
    """(path, text) of one more snippet: as the stock one, with `initrd` and the new disk."""
    path = path_of(snippets, stock)
    stands = _initrd(snippets[path])
    lines = [_converted(line, stands, initrd, disks, options) for line in split(snippets[path]) if not comment(line)]
    return path.removesuffix(".conf") + ENDING + ".conf", "".join(lines)


def _converted(line: str, stands: str, initrd: str, disks: Disks, options: str) -> str:
    key = line.split()[0]
    if key == "title":
        return line.rstrip("\r\n") + MARK + "\n"
    if key == "version":
        return line.rstrip("\r\n") + ENDING + "\n"
    if key == "initrd":
        made = f"{stands.rpartition('/')[0]}/{initrd}"
        return re.sub(rf"(?<=\s){re.escape(stands)}(?=\s|$)", lambda _: made, line) if stands else line
    if key == "options":
        return _options(line, disks, options)
    return f"id {line.split(maxsplit=1)[1].strip()}{ENDING}\n" if key == "id" else line


def renamed(text: str, disks: Disks, options: str = "") -> str:
    """`text` whose kernel gets the new disk."""
    return "".join(_options(line, disks, options) if OPTIONS.match(line) else line for line in split(text))


def _options(line: str, disks: Disks, options: str) -> str:
    return disks.booted(opened(line, options) if disks.booted(options) != options else line)


def for_serial(text: str, more: str = "") -> str:
    """`text` whose kernel also speaks on the first serial line: for a throwaway boot only. more: arguments."""
    return "".join(spoken(line, more) if OPTIONS.match(line) else line for line in split(text))


def variable(block: bytes, name: str) -> str:
    """A variable of an environment block; empty where it is not set."""
    for line in block.decode("latin-1").splitlines():
        if line.startswith(f"{name}="):
            return line.partition("=")[2]
    return ""


def with_default(block: bytes, name: str) -> bytes:
    """An environment block whose saved entry is `name`, of the size that GRUB wants; its remarks give way first.

    Raises Refused where there is no room.
    """
    lines = split(block.decode("latin-1") or HEAD)
    set_ = [line for line in lines if line.strip("#\n") and not line.startswith(("saved_entry=", "# "))]
    return _filled(lines, [f"saved_entry={name}\n", *set_], f"saved_entry={name}")


def _filled(lines: list[str], variables: list[str], wanted: str) -> bytes:
    """A block of those variables with the remarks that stand in `lines`. wanted: what it is made for."""
    head = [line for line in lines if line.startswith("# ")]
    head = head if any(line.startswith("# GRUB") for line in head) else [HEAD, *head]
    for remarks in (head, [HEAD]):
        made = "".join([*remarks, *variables]).encode("latin-1")
        if len(made) <= SIZE:
            return made.ljust(SIZE, b"#")
    raise Refused(
        f"GRUB's environment block has no room for {wanted}: it would take {len(made)} bytes of {SIZE}",
        "unset a variable that nobody reads with grub-editenv in the guest",
    )


def with_options(block: bytes, disks: Disks) -> bytes:
    """An environment block whose arguments name the new disk: snippets of kernels to come take theirs from it.

    Raises Refused where there is no room.
    """
    lines = split(block.decode("latin-1"))
    made = [disks.booted(line) if line.startswith(ARGUMENTS) else line for line in lines]
    if made == lines:
        return block
    named = next(new for old, new in zip(lines, made, strict=True) if old != new).partition("=")[0]
    set_ = [line for line in made if line.strip("#\n") and not line.startswith("# ")]
    return _filled(lines, set_, f"the new disk's name in {named}")
