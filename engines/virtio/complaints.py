"""What a booted guest lacks, by its console, its report and its own fstab; and what of it is new since another boot."""

from __future__ import annotations

import re

from engines.virtio.lines.disks import comment, split
from engines.virtio.reporter import Report

SAID = re.compile(
    # systemd
    r"\[(?:FAILED|DEPEND| TIME )\] *(?P<unit>\S[^\n]*)"
    # mount, swapon and fsck themselves, as sysvinit and upstart let them speak
    r"|(?P<tool>(?:mount|swapon|mount\.\w+|fsck\.\w+)(?:\[\d+\])?: [^\n]{0,200}"
    r"(?:not exist|No such|can't find|cannot stat|failed|wrong fs|bad superblock|Invalid argument|not found)[^\n]*)"
    # any service of sysvinit and OpenRC; the kernel's own lines begin with a time
    r"|(?P<service>^(?!\[ *\d+\.\d+\])[^\n]*(?:\[FAILED\]|\[ !! \])[ \t]*$"
    r"| \* ERROR: [^\n]{0,200} failed to start[^\n]*)"
    r"|(?P<step>^(?!\[ *\d+\.\d+\])[^\n]{0,200}"
    r"(?:[Mm]ount|[Ss]wap|file ?system|[Nn]etwork|[Ii]nterface|IP information)[^\n]{0,200}"
    r"(?:failed!|\.\.\. *failed\.?)[ \t]*$)"
    r"|(?P<upstart>The disk drive for [^\n]{0,200} is not (?:ready yet|present)[^\n]*)"
    r"|(?P<card>^[^\n]*(?:Device \S+ does not seem to be present|Cannot find device|getting interface flags"
    r"|SIOC[SG]IF\w+: No such device|Failed to bring up|[Uu]nknown interface)[^\n]*)",
    re.MULTILINE,
)
NAME = re.compile(r"(?:/dev/|\bdev-)(?:hd|sd|xvd|vd)[a-z]")
PROCESS = re.compile(r"\[\d+\]")
SWAPS = re.compile(r"(\d+) of (\d+) swaps are in use")
LEAST_DISK = 3


def said(text: str) -> list[str]:
    """Complaints on a console, each once, a disk's name left out so that two boots can be held against each other."""
    found: dict[str, None] = {}
    for each in SAID.finditer(text):
        found[_alike(each.group())] = None
    return list(found)


def _alike(complaint: str) -> str:
    return NAME.sub("the disk", PROCESS.sub("", " ".join(complaint.split())))


def lacking(report: Report, fstab: str, network: bool) -> list[str]:
    """What its own tables ask for and it does not have. network: its configuration brings a card up at boot."""
    rows = [line.split() for line in split(fstab) if not comment(line)]
    rows = [row for row in rows if len(row) >= LEAST_DISK]
    wanted = [row for row in rows if "noauto" not in (row[3].split(",") if len(row) > LEAST_DISK else [])]
    found = [_alike(f"{unit} failed") for unit in report.failed]
    for spec, where, kind in (row[:3] for row in wanted):
        real = where.replace("\\040", " ").rstrip("/") or "/"
        if real.startswith("/") and _local(spec, kind) and where.rstrip("/") not in _places(report):
            found.append(f"{real} is not mounted")
    swaps = sum(kind == "swap" for _, _, kind in (row[:3] for row in wanted))
    if len(report.swaps) < swaps:
        found.append(f"{len(report.swaps)} of {swaps} swaps are in use")
    if network and not report.up:
        found.append("no network card is up")
    elif network and report.addresses == 0:
        found.append("no network card has an address")
    return found


def _places(report: Report) -> set[str]:
    return {where.rstrip("/") for where in report.mounts}


def _local(spec: str, kind: str) -> bool:
    return kind not in ("swap", "iso9660", "udf", "udf,iso9660") and spec.startswith(
        ("/dev/", "UUID=", "LABEL=", "PART")
    )


def anew(before: list[str], after: list[str]) -> list[str]:
    """What only the second boot complains of; fewer swaps than before, not more, are a complaint."""
    least = min((int(found.group(1)) for each in before if (found := SWAPS.fullmatch(each))), default=None)
    return [each for each in after if each not in before and not _as_many(each, least)]


def _as_many(complaint: str, least: int | None) -> bool:
    found = SWAPS.fullmatch(complaint)
    return found is not None and least is not None and int(found.group(1)) >= least
