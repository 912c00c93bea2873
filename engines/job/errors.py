"""The errors a user may see, each with its reason and the next action."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable

ONE_OF = "one of "  # how what is allowed begins where it is a list
PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^@]*@")  # of an address, which no error shows

# what helps where the machine itself declines: nobody's fault here
NO_FAULT = {
    errno.ENAMETOOLONG: "name something shorter",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "raise the limit of file sizes: ulimit -f",
    errno.EROFS: "name a place that can be written",
    errno.EMFILE: "raise the limit of open files: ulimit -n 1024",
    errno.ENFILE: "raise the limit of open files: sysctl fs.file-max",
    errno.ENOMEM: "end other programs, or add memory",
    errno.EACCES: "run it as a user who may, or as root",
    errno.EPERM: "run it as a user who may, or as root",
    errno.ENOENT: "see that it is still there; where that is this folder: cd /",
    errno.ELOOP: "name something that links lead to",
    errno.EIO: "look at the disk: dmesg",
    errno.EPROTO: "see what answers at that address",
}


class CrashcartError(Exception):
    """Root of the errors a user may see.

    CrashcartError
    ├── Refused        nothing was touched; says why and what helps
    │   └── BadParam   one parameter is unusable; names it, its value and what is allowed
    ├── Failed         the work went wrong; says why, what helps and what was left behind
    └── Stopped        the technician stopped it; says what could not be put back
    """


class Refused(CrashcartError):
    """The engine declines before touching anything.

    why: what is wrong, naming the value. what_helps: the next action. lines: where more than one thing is, one each.
    """

    lines: tuple[str, ...] = ()

    def __init__(self, why: str, what_helps: str) -> None:
        super().__init__(f"{why}; {what_helps}")
        self.why = why
        self.what_helps = what_helps


def meant(word: str, known: Iterable[str]) -> str:
    """`did you mean restore?` or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 2, 0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


class BadParam(Refused):
    """One parameter is unusable: `name` is its key in the job file, `value` what was given."""

    def __init__(self, name: str, value: object, allowed: str, what_helps: str = "") -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        shown = "nothing" if value is None or value == "" else PASSWORD.sub(r"\1:(hidden)@", repr(value))
        if not what_helps and isinstance(value, str) and allowed.startswith(ONE_OF):
            what_helps = meant(value, allowed.removeprefix(ONE_OF).split(", "))
        super().__init__(f"{name} is {shown}, allowed is {allowed}", what_helps or f"correct {name}")


class Failed(CrashcartError):
    """The work went wrong after it began; `left_behind` names what could not be put back."""

    def __init__(self, why: str, what_helps: str = "", left_behind: tuple[str, ...] = ()) -> None:
        super().__init__(f"{why}; {what_helps}" if what_helps else why)
        self.why = why
        self.what_helps = what_helps
        self.left_behind = left_behind


class Stopped(CrashcartError):
    """The technician stopped the run; `left_behind` names what could not be put back."""

    def __init__(self, left_behind: tuple[str, ...] = ()) -> None:
        super().__init__("stopped")
        self.left_behind = left_behind


def blameless(error: BaseException) -> Failed | None:
    """What the machine has no room, right or name for, in words; None where it may be a fault of crashcart."""
    if isinstance(error, RuntimeError) and getattr(error.__context__, "errno", 0) == errno.ELOOP:
        error = error.__context__ or error  # how pathlib tells of a circle of links
    if isinstance(error, MemoryError):
        return Failed("there is not enough memory", "end other programs, add memory, or raise the limit: ulimit -v")
    if not isinstance(error, OSError) or error.errno not in NO_FAULT:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return Failed(f"{where}{error.strerror}", NO_FAULT[error.errno])
