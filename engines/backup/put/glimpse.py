"""What is in the way in a guest's raw image, told before an appliance is started: first the question, then the wait."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from engines.backup.files.model import BrowseError, Node, Volume, join, shown
from engines.backup.files.opened_image import OpenedImage
from engines.backup.files.opening import BrowseTree, open_tree
from engines.backup.files.selection import Walk
from engines.backup.put.guest_view import GuestVolume
from engines.backup.put.matching import matched
from engines.backup.put.operation import ChosenFile
from engines.backup.put.placing import refused_as_taken
from engines.job.errors import Refused

MOST = 200  # files of each that was chosen; the appliance sees the rest


def refuse_seen(
    image: Path, tree: BrowseTree, sources: Sequence[ChosenFile], at: bytes | None, volume: str = ""
) -> None:
    """Raises Refused where chosen files are there already. What cannot be told here, the appliance tells."""
    try:
        with image.open("rb") as file, open_tree(OpenedImage(file), "quick") as there:
            taken = list(_taken(tree, there, sources, at, volume))
    except (BrowseError, Refused, OSError, ValueError):
        return
    if taken:
        raise refused_as_taken(taken)


def _taken(
    tree: BrowseTree, there: BrowseTree, sources: Sequence[ChosenFile], at: bytes | None, volume: str
) -> Iterator[str]:
    known = [GuestVolume(info.name, "", info.format, uuid=info.uuid, label=info.label) for info in there.infos.values()]
    for source in sources:
        found = matched(source.info, known, volume)
        top = join(b"/", found.name.encode()) if not there.single else b"/"
        onto, _ = there.volume(top)
        folder = at if at is not None else posixpath.dirname(source.inner)
        walk = Walk(tree, {source.path: posixpath.basename(source.inner)}, across=False)
        for entry in islice(walk.entries(), MOST):
            place = join(folder, entry.place)
            if entry.node.is_file and (before := _seen(onto, place)) and before.is_file:
                yield f"{found.name}:{shown(place)}"


def _seen(volume: Volume, place: bytes) -> Node | None:
    """What lies there, where no link leads; None for nothing."""
    try:
        return volume.stat(place)
    except BrowseError:
        return None
