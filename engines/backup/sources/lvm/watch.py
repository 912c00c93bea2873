"""A watch over snapshots while they are read, which ends the backup before one overflows or a pool is full."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from engines.backup.sources.lvm import kernel
from engines.backup.sources.lvm.kernel import Fill
from engines.backup.sources.lvm.snapshot import MIB, Snapshot, fills
from engines.job.errors import Failed

MOST = 95.0  # percent; a snapshot that is full is lost, a pool that is full stalls every guest on it
OFTEN, SELDOM = 0.2, 2.0  # s between looks
LOOKS_LEFT = 5  # looks that must still fit in before it would be full, at the fastest filling seen


@dataclass
class Course:
    """How one fill has run so far, and when it is too full to go on."""

    began: float
    at: float
    percent: float
    fastest: float = 0.0  # percent a second
    looks: list[tuple[float, float]] = field(default_factory=list)

    def note(self, now: float, percent: float) -> None:
        """Another look."""
        if now - self.at >= OFTEN / 2:
            self.fastest = max(self.fastest, (percent - self.percent) / (now - self.at))
            self.at, self.percent = now, percent

    def left(self) -> float:
        """Seconds until it is full, at the fastest seen."""
        return (100.0 - self.percent) / self.fastest if self.fastest > 0 else float("inf")

    def too_full(self, percent: float) -> bool:
        """Whether it must end now."""
        return percent >= MOST or (percent > MOST / 2 and self.left() < LOOKS_LEFT * OFTEN)


class Watch:
    """A thread that looks at the fill of all `snapshots`, often when they fill fast. Use as a context manager."""

    def __init__(self, snapshots: tuple[Snapshot, ...]) -> None:
        self._snapshots = snapshots
        self._trouble: Failed | None = None
        self._courses: dict[str, Course] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot watch", daemon=True)
        self.highest: dict[str, float] = {}

    def __enter__(self) -> Watch:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """Look now, and raise Failed where a snapshot is lost or about to be; what was read before is whole else."""
        self.look()
        if self._trouble is not None:
            raise self._trouble

    def troubled(self) -> bool:
        """Whether the last look found trouble."""
        return self._trouble is not None

    def look(self) -> float:
        """Look once; seconds until the next look is due."""
        with self._lock:
            for snapshot in self._snapshots:
                try:
                    for name, fill in fills(snapshot):
                        self._judge(snapshot, name, fill)
                except OSError as error:
                    self._trouble = self._trouble or kernel.gone(snapshot.device, error)
            left = min((course.left() for course in self._courses.values()), default=SELDOM)
        return min(max(left / (2 * LOOKS_LEFT), OFTEN), SELDOM)

    def _run(self) -> None:
        due = OFTEN
        while self._trouble is None and not self._done.wait(due):
            due = self.look()

    def _judge(self, snapshot: Snapshot, name: str, fill: Fill) -> None:
        now = time.monotonic()
        course = self._courses.setdefault(name, Course(now, now, fill.percent))
        course.note(now, fill.percent)
        self.highest[name] = max(self.highest.get(name, 0.0), fill.percent)
        if self._trouble is not None:
            return
        if fill.trouble:
            self._trouble = Failed(f"{name} {fill.trouble}", f"no point was made; {_cure(snapshot)}")
        elif course.too_full(fill.percent):
            self._trouble = Failed(
                f"{name} is {fill.percent:.0f} % full after {now - course.began:.0f} s",
                f"no point was made; {_cure(snapshot)}",
            )


def _cure(snapshot: Snapshot) -> str:
    volume = snapshot.of.volume
    if snapshot.of.pool is not None:
        return f"extend the pool: lvextend --size +…G {snapshot.of.pool}"
    return (
        f"back {volume} up at a quieter hour, or give the snapshot more than its {snapshot.of.size // MIB} MiB"
        f" ({volume.vg_name} had {volume.free // MIB} MiB free)"
    )
