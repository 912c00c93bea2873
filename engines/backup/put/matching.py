"""Which of a guest's volumes a volume of the backup is, by the file system's own id, else by its place on the disk."""

from __future__ import annotations

from engines.backup.files.model import VolumeInfo
from engines.backup.put.guest_view import GuestVolume
from engines.job.errors import Refused


def matched(info: VolumeInfo, there: list[GuestVolume], wanted: str = "") -> GuestVolume:
    """`wanted` names one. Raises Refused where none fits, or several."""
    if not there:
        raise Refused("the image holds no file system that can be written", "name the guest's disk image")
    if wanted:
        return _only([each for each in there if each.name == wanted], f"no volume is called {wanted}", there)
    same = [each for each in there if info.uuid and _plain(each.uuid) == _plain(info.uuid)]
    if same:
        return _only(same, f"{len(same)} volumes in the image have the id {info.uuid} of {info.name}", same)
    named = [each for each in there if each.name == info.name and _kin(each.format, info.format)]
    if not named and len(there) == 1 and _kin(there[0].format, info.format):
        named = there
    return _only(named, f"no volume in the image is {info.name} of the backup ({info.format}, {info.uuid})", there)


def _only(found: list[GuestVolume], why: str, offered: list[GuestVolume]) -> GuestVolume:
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{each.name} ({each.format} {each.label or each.uuid})" for each in offered)
    raise Refused(f"{why}; there are {names}", "say which: --volume NAME")


def _plain(uuid: str) -> str:
    return uuid.replace("-", "").casefold()


def _kin(one: str, other: str) -> bool:
    """Whether two formats are of one family: ext3 and ext4 carry the same things."""
    return one == other or (one.startswith("ext") and other.startswith("ext"))
