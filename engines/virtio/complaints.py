"""What a booted guest lacks, by its console, its report and its own fstab; and what of it is new since another boot."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import comment, split
from engines.virtio.reporter import Report

SAID = re.compile(
    # systemd
    r"\[(?:FAILED|DEPEND| TIME )\] *(?P<unit>[^\n]*)"
    # mount, swapon and fsck themselves, as sysvinit and upstart let them speak
    r"|(?P<tool>(?:mount|swapon|mount\.\w+|fsck\.\w+)(?:\[\d+\])?: [^\n]*"
    r"(?:not exist|No such|can't find|cannot stat|failed|wrong fs|bad superblock|Invalid argument|not found)[^\n]*)"
    r"|(?P<step>[^\n]*(?:[Mm]ount|[Ss]wap|file ?system)[^\n]*(?:\[FAILED\]|failed!|\[ !! \]))"
    r"|(?P<upstart>The disk drive for [^\n]* is not (?:ready yet|present)[^\n]*)"
)
NAME = re.compile(r"/dev/(?:hd|sd|xvd|vd)[a-z]")
LEAST_DISK = 3


def said(text: str) -> list[str]:
    """Complaints on a console, each once, a disk's name left out so that two boots can be held against each other."""
    found: dict[str, None] = {}
    for each in SAID.finditer(text):
        found[NAME.sub("the disk", " ".join(each.group().split()))] = None
    return list(found)


def lacking(report: Report, fstab: str, network: bool) -> list[str]:
    """What its own tables ask for and it does not have. network: its configuration brings a card up at boot."""
    rows = [line.split() for line in split(fstab) if not comment(line)]
    rows = [row for row in rows if len(row) >= LEAST_DISK]
    wanted = [row for row in rows if "noauto" not in (row[3].split(",") if len(row) > LEAST_DISK else [])]
    found = [f"{unit} failed" for unit in report.failed]
    for spec, where, kind in (row[:3] for row in wanted):
        real = where.replace("\\040", " ").rstrip("/") or "/"
        if real.startswith("/") and _local(spec, kind) and where.rstrip("/") not in _places(report):
            found.append(f"{real} is not mounted")
    swaps = sum(kind == "swap" for _, _, kind in (row[:3] for row in wanted))
    if len(report.swaps) < swaps:
        found.append(f"{len(report.swaps)} of {swaps} swaps are in use")
    if network and not report.up:
        found.append("no network card is up")
    return found


def _places(report: Report) -> set[str]:
    return {where.rstrip("/") for where in report.mounts}


def _local(spec: str, kind: str) -> bool:
    return kind not in ("swap", "iso9660", "udf", "udf,iso9660") and spec.startswith(
        ("/dev/", "UUID=", "LABEL=", "PART")
    )


def anew(before: list[str], after: list[str]) -> list[str]:
    """What only the second boot complains of."""
    return [each for each in after if each not in before]
