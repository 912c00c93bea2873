"""Tables with a device in a known column: fstab, crypttab, GRUB's device.map; and files of NAME=VALUE."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import Disks, comment, split

XEN_LOGIN = re.compile(r":respawn:.*\b(?:xvc|hvc)\d")


def _column(line: str, number: int, disks: Disks) -> str:
    words = re.split(r"([ \t\r\n]+)", line)
    fields = [at for at, word in enumerate(words) if word and not re.fullmatch(r"[ \t\r\n]+", word)]
    if len(fields) > number:
        words[fields[number]] = disks.whole(words[fields[number]])
    return "".join(words)


def fstab(text: str, disks: Disks) -> str:
    """The first column."""
    return "".join(line if comment(line) else _column(line, 0, disks) for line in split(text))


def without(text: str, foreign: tuple[str, ...]) -> str:
    """fstab without the rows of disks that are not there: a boot would wait for them."""
    return "".join(f"# {line}" if not comment(line) and _of(line.split()[0], foreign) else line for line in split(text))


def _of(spec: str, foreign: tuple[str, ...]) -> bool:
    return spec in foreign or spec.rstrip("0123456789") in foreign


def inittab(text: str, disks: Disks) -> str:
    """Without login prompts on consoles that only Xen has, where the guest comes from there."""
    if not disks.old.startswith("xvd"):
        return text
    return "".join(f"# {line}" if not comment(line) and XEN_LOGIN.search(line) else line for line in split(text))


def crypttab(text: str, disks: Disks) -> str:
    """The second column."""
    return "".join(line if comment(line) else _column(line, 1, disks) for line in split(text))


def device_map(text: str, disks: Disks) -> str:
    """The device behind (hdN)."""
    return "".join(_column(line, 1, disks) if line.lstrip().startswith("(") else line for line in split(text))


def settings(text: str, disks: Disks) -> str:
    """Values of NAME=VALUE lines: boot=/dev/hda, GRUB_CMDLINE_LINUX="resume=/dev/hda2 quiet"."""
    named = re.compile(r"\s*(?:export\s+)?[A-Za-z_]\w*=")
    return "".join(_value(line, disks) if not comment(line) and named.match(line) else line for line in split(text))


def _value(line: str, disks: Disks) -> str:
    code, mark, said = line, "", ""
    if found := re.search(r"\s#(?=[^\"']*$)", line):  # a comment behind the value
        code, mark, said = line[: found.start()], line[found.start() : found.end()], line[found.end() :]
    return disks.renamed(code) + mark + said
