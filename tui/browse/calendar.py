"""The restore points of a repository as rows: disks, and the moments of one disk under their months."""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass
from itertools import groupby

from engines.backup import names
from engines.backup.commands.listing import PointRow as Point
from tui.browse.words import brief
from tui.widgets.menu import Row


@dataclass(frozen=True)
class Disk:
    """A disk of a VM, and its points, the newest first."""

    vm: str
    disk: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """VM/DISK."""
        return f"{self.vm}/{self.disk}"


def disks(points: list[Point]) -> list[Disk]:
    """The points by disk, in the order of their names."""
    named = sorted(
        (names.parse(point.point), point) for point in points
    )  # a point's name is unique: rows never compare
    found = []
    for (vm, disk), group in groupby(named, key=lambda pair: (pair[0].vm, pair[0].disk)):
        found.append(Disk(vm, disk, tuple(point for _, point in reversed(list(group)))))
    return found


def disk_rows(found: list[Disk]) -> list[Row]:
    """`web1/disk0   20.0G   14 points   newest 2026-11-22 08:23`."""
    width = max((len(disk.name) for disk in found), default=0)
    width = min(max(width, 12), 29)  # so that what is damaged has room; the line below has the whole name
    heading = Row(f"  {'disk':<{width}} {'size':>7} {'points':>7}  newest, UTC")
    return [heading, *(_disk_row(disk, width) for disk in found)]


def _disk_row(disk: Disk, width: int) -> Row:
    newest = disk.points[0]
    bad = sum(1 for point in disk.points if point.damaged or point.trouble)
    state = f"  ! {bad} damaged" if bad else ""
    at = moment(newest)
    told = time.strftime("%Y-%m-%d %H:%M", at)
    return Row(
        f"{_short(disk.name, width):<{width}} {brief(newest.size):>7} {len(disk.points):>7}  {told}{state}",
        disk.name,
        f"{disk.name}: Enter shows its restore points.",
    )


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}~"


def moment(point: Point) -> time.struct_time:
    """When the point was made, UTC."""
    return time.strptime(names.parse(point.point).time, "%Y%m%dT%H%M%SZ")


def point_rows(disk: Disk) -> list[Row]:
    """The moments of a disk under their months, the newest first."""
    rows: list[Row] = []
    for (year, month), group in groupby(disk.points, key=lambda point: moment(point)[:2]):
        rows += [Row("")] if rows else []
        title = f"{calendar.month_name[month]} {year}"
        rows += [Row(f"{title:<18} {'changed':>9} {'stored':>8}  {'verified':<10}  state" if not rows else title)]
        rows += [_point_row(point) for point in group]
    return rows


def _point_row(point: Point) -> Row:
    day = time.strftime("%a %d  %H:%M:%S", moment(point))
    sizes = f"{brief(point.changed):>9} {brief(point.stored):>8}"
    return Row(f"{day} {sizes}  {_verified(point) or '-':<10}  {state(point)}", point.point, why(point))


def _verified(point: Point) -> str:
    """The day that a verify last found it whole."""
    found = point.verified
    return f"{found[:4]}-{found[4:6]}-{found[6:8]}" if found else ""


def state(point: Point) -> str:
    """What is to be known of it before it is chosen; faults first."""
    if point.trouble:
        return "! cannot be read"
    return f"! damaged in {point.damaged} places" if point.damaged else point.consistency


def why(point: Point) -> str:
    """The lines below the list."""
    if point.trouble:
        return f"{point.point}\n! {point.trouble}"
    tags = f", tagged {', '.join(point.tags)}" if point.tags else ""
    proven = f"verified {_verified(point)}" if point.verified else "never verified"
    return f"{point.point}{tags}\n{brief(point.size)}, {point.consistency or 'state unknown'}, {proven}."
