"""What becomes of a file whose name is taken already: never overwritten unless somebody said so."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from engines.backup.files.model import shown
from engines.backup.files.taking.destination import Destination
from engines.job.contract import AnyEvent, Asked

Policy = Literal["refuse", "ask", "skip", "overwrite", "rename"]
Verdict = Literal["skip", "overwrite", "rename"]

ANSWERS: dict[str, tuple[Verdict, bool]] = {
    "skip": ("skip", False),
    "overwrite": ("overwrite", False),
    "keep both": ("rename", False),
    "skip all": ("skip", True),
    "overwrite all": ("overwrite", True),
    "keep both all": ("rename", True),
}
LONGEST = 255  # bytes of a name, NAME_MAX


class Conflicts:
    """Decides one by one. stamp: what is put behind a name to keep both, such as `.from-20261122T082300Z`."""

    def __init__(self, policy: Policy, stamp: str) -> None:
        self._policy = policy
        self._stamp = stamp.encode()

    @property
    def refuses(self) -> bool:
        """Whether nobody wanted any conflict."""
        return self._policy == "refuse"

    @property
    def keeps_both(self) -> bool:
        """Whether a free name is found without asking."""
        return self._policy == "rename"

    def verdict(self, place: bytes, what: str) -> Generator[AnyEvent, str | None, Verdict]:
        """`what` names both sides: "a file is there already". Refused conflicts that came up since are skipped."""
        if self._policy == "refuse":
            return "skip"
        if self._policy != "ask":
            return self._policy
        answer = yield Asked(question=f"{shown(place)}: {what}", choices=tuple(ANSWERS))
        verdict, always = ANSWERS[answer or "skip"]
        if always:
            self._policy = verdict
        return verdict

    def beside(self, destination: Destination, place: bytes) -> bytes:
        """A free name next to `place`."""
        above, _, name = place.rpartition(b"/")
        for number in range(1, 10_000):
            suffix = self._stamp if number == 1 else self._stamp + b"-%d" % number
            renamed = _cut(name, LONGEST - len(suffix)) + suffix
            found = above + b"/" + renamed if above else renamed
            if destination.seen(found) is None:
                return found
        raise FileExistsError(f"{shown(place)} and 9999 names like it")


def _cut(name: bytes, length: int) -> bytes:
    """The beginning of a name, no UTF-8 character cut in two."""
    if len(name) <= length:
        return name
    end = length
    while end and name[end] & 0xC0 == 0x80:
        end -= 1
    return name[: end or length]
