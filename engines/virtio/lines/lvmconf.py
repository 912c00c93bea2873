"""lvm.conf's filters: a filter that lets the old disk in and keeps the new one out gets one more pattern in front."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import Disks, partition

# Up to the closing bracket that ends the list: brackets inside quotes belong to a pattern,
# and where another begins it has no end.
FILTER = re.compile(
    r"^([ \t]*(?:devices[ \t]*[{/][ \t]*)?(?:global_)?filter[ \t]*=[ \t]*\[)"
    r'((?:[^\]"\n#=]|"[^"\n]*"|\#[^\n]*|\n(?![ \t]*\w+[ \t]*=))*+)\]',
    re.MULTILINE,
)
SINGLE = re.compile(r'^([ \t]*(?:global_)?filter[ \t]*=[ \t]*)("[^"\n]*")[ \t]*$', re.MULTILINE)
PATTERN = re.compile(r'"([ar])([^"\n]*)"')
REMARK = re.compile(r'("[^"\n]*")|#[^\n]*')
PLACES = (("", ""), ("2", "-part2"))
REPEATED = re.compile(r"[*+?{]")
NESTED = re.compile(r"\)[*+{]")
REPEATS = 4  # of one pattern; with more, or in each other, a guest's pattern may take longer than the world stands
LONGEST = 256  # characters of one
CLOSING = {"(": ")", "[": "]", "{": "}"}


def filters(text: str, disks: Disks) -> str:
    """`text` with `"a|^/dev/vda[0-9]*$|"` first in each filter that needs it; else as it is."""
    new = f'"a|^/dev/{disks.new}[0-9]*$|"'

    def listed(found: re.Match[str]) -> str:
        patterns = PATTERN.findall(REMARK.sub(lambda said: said[1] or "", found.group(2)))
        if not _needed(patterns, disks):
            return found.group()
        return f"{found.group(1)} {new},{found.group(2)}]"

    def single(found: re.Match[str]) -> str:
        if not _needed(PATTERN.findall(found.group(2)), disks):
            return found.group()
        return f"{found.group(1)}[ {new}, {found.group(2)} ]"

    return SINGLE.sub(single, FILTER.sub(listed, text))


def _needed(patterns: list[tuple[str, str]], disks: Disks) -> bool:
    old = any(_lets_in(patterns, names) for names in _aliases(disks))
    new = all(_verdict(patterns, f"/dev/{disks.new}{number}") in ("a", "") for number in ("", "1", "2"))
    return old and not new


def _aliases(disks: Disks) -> list[list[str]]:
    """The names that udev gives the old disk, and a partition of it: a filter may know any of them."""
    ids = [name for name in disks.stable if "-part" not in name] or ["/dev/disk/by-id/ata-X", "/dev/disk/by-id/scsi-X"]
    ids += ["/dev/disk/by-path/pci-0000:00:01.1-ata-1", "/dev/disk/by-path/pci-0000:00:10.0-scsi-0:0:0:0"]
    return [[f"/dev/{partition(disks.old, number)}", *(f"{name}{part}" for name in ids)] for number, part in PLACES]


def _lets_in(patterns: list[tuple[str, str]], names: list[str]) -> bool:
    """Whether one of a device's names may be accepted: by a pattern, or all of them by none that refuses."""
    verdicts = [_verdict(patterns, name) for name in names]
    return bool({"a", "?"} & {*verdicts}) or "r" not in verdicts


def _verdict(patterns: list[tuple[str, str]], device: str) -> str:
    """As lvm.conf(5) says: the first pattern that matches decides, by its a or r; none (empty) accepts.

    "?" where one comes first that is not tried.
    """
    for verdict, delimited in patterns:
        if not delimited:
            continue
        body = delimited[1:].removesuffix(CLOSING.get(delimited[0], delimited[0]))
        if len(body) > LONGEST or len(REPEATED.findall(body)) > REPEATS or NESTED.search(body):
            return "?"
        try:
            matched = re.search(body, device)
        except (re.error, OverflowError):
            return "?"
        if matched:
            return verdict
    return ""
