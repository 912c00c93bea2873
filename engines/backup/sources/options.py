"""How a source shall be opened: what its snapshot needs, and what is remembered of it for the next backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engines.job.errors import BadParam
from engines.job.units import SIZE, SUFFIX

Hints = Literal["none", "thin", "bitmap"]


class NoHint(Exception):
    """Nobody can tell what changed since the point before, so all is read; the words say why."""


@dataclass(frozen=True)
class PointRef:
    """What a hint counts from: the point that one session made in one repository; 32 hex digits, and VM/DISK@TIME."""

    repo: str
    session: str
    point: str = ""


@dataclass(frozen=True)
class SourceOptions:
    """run: the id of the run. agent: socket of the QEMU guest agent. size: bytes of a thick snapshot, 0 for a share.

    hints: what shall keep record of changes. made: the point to be; None where nothing may be kept for the next one.
    backing: files that may lie below a qcow2 image though they are in another folder.
    qmp: socket of the QEMU that has the disks open. forms: by path, the format of a disk that is known of it alone.
    """

    run: str = ""
    agent: Path | None = None
    size: int = 0
    hints: Hints = "none"
    made: PointRef | None = None
    backing: tuple[str, ...] = ()
    qmp: Path | None = None
    forms: Mapping[str, Literal["auto", "raw", "qcow2"]] = field(default_factory=dict)


def source_options(
    agent: str,
    snapshot_size: str,
    hints: Hints,
    run: str = "",
    made: PointRef | None = None,
    backing: tuple[str, ...] = (),
    qmp: str = "",
) -> SourceOptions:
    """From parameters of those names. Raises BadParam."""
    found = SIZE.fullmatch(snapshot_size)
    if snapshot_size and not found:
        raise BadParam("snapshot_size", snapshot_size, "bytes like 512M or 20G")
    size = int(found[1]) * SUFFIX[found[2]] if found else 0
    return SourceOptions(run, Path(agent) if agent else None, size, hints, made, backing, Path(qmp) if qmp else None)
