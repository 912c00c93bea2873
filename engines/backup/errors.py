"""What can be wrong with a repository, as errors that say which file and what helps."""

from __future__ import annotations

import errno

from engines.job.errors import Failed

FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM)
UNWRITABLE = (*FULL, *DENIED, errno.EROFS)


class Damaged(Failed):
    """A file of the repository is not what it should be; `name` is its name in the repository."""

    def __init__(self, name: str, why: str, what_helps: str = "find out what it hits: crashcart backup verify") -> None:
        super().__init__(f"{name}: {why}", what_helps)
        self.name = name


class FarFailed(Failed, OSError):
    """A store that did not do what it was asked: an OSError for those who handle one, a sentence for all others."""

    def __init__(self, number: int, why: str, what_helps: str) -> None:
        Failed.__init__(self, why, what_helps)
        OSError.__init__(self, number, why)

    def __str__(self) -> str:
        return f"{self.why}; {self.what_helps}"


class Missing(Failed):
    """No pack holds a record that a point needs."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is in no pack", "see which points it hits: crashcart backup verify")


class NoRoom(Failed):
    """The place of a repository is full."""


def no_room(where: str, error: OSError) -> Failed:
    """The failure that an error while writing to the repository is."""
    if isinstance(error, FarFailed):
        return error
    if error.errno in FULL:
        return NoRoom(
            f"{where} is full", "make room (crashcart backup prune, then gc), then run it again: it goes on from there"
        )
    helps = "look at that disk (dmesg), then run it again"
    if error.errno in DENIED:
        helps = "run it as its owner or as root"
    if error.errno == errno.EROFS:
        helps = "mount that disk so that it can be written (a fault makes the kernel mount it so, too: dmesg)"
    return Failed(f"{where} cannot be written: {error.strerror}", helps)


def no_room_at_all(where: str, error: OSError) -> Failed:
    """The same, where not even the small file fits with which a run begins."""
    if error.errno in FULL and not isinstance(error, FarFailed):
        return Failed(
            f"{where} is full to the last byte",
            "move some MB of other files off that disk, or enlarge it; then crashcart backup prune and gc make room;"
            " list, ls, get, restore and verify work all the same",
        )
    return no_room(where, error)
