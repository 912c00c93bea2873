"""A moment in which a VM writes nothing: held by a process of its own that lets go by itself whatever happens to us.

The guest agent freezes the guest's file systems; SIGSTOP makes the processes that write stand still. Writes that were
under way then may or may not be in a snapshot, and nobody has been told that they are done: that is a crash's state.
Suspending the volumes with dmsetup would be simpler, but LVM then skips its own suspend and leaves a thin pool whose
metadata and kernel disagree (measured with lvm2 2.03.16: "unexpected transaction id").
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from engines.backup.sources.lvm.agent import Agent, NoAgent
from engines.host.child import module, start
from engines.host.holder import Holder
from engines.job.lock import folder

LONGEST = 20.0  # s that a VM may stand still; Windows lets go of its own freeze after 10
STARTS_WITHIN = 90.0  # s until it holds: the agent's deadlines and a slow start
RECORD = "still-"


class Wanted(msgspec.Struct):
    """What shall stand still. `agent` is the socket of the guest agent, or empty."""

    processes: list[Holder]
    agent: str = ""
    longest: float = LONGEST


class Held(msgspec.Struct):
    """What stands still; `trouble` is why the guest agent did not freeze."""

    stopped: int = 0
    frozen: int = 0
    trouble: str = ""


class Released(msgspec.Struct):
    """How it ended: `seconds` it was held, `whole` where it was held until we let go, `thawed` file systems."""

    seconds: float
    whole: bool
    thawed: int = 0


@dataclass
class Moment:
    """Holds while the `with` block runs; `held` then, and `released` behind it, say how well."""

    processes: Sequence[Holder]
    agent: Path | None = None
    longest: float = LONGEST

    def __enter__(self) -> Moment:
        self.held = Held()
        self.released = Released(0.0, False)
        wanted = Wanted(list(self.processes), str(self.agent or ""), self.longest)
        self._child = start(module("engines.backup.sources.lvm.moment"), stdout=subprocess.PIPE)
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it says nothing, and holds nothing
            self._child.stdin.write(msgspec.json.encode(wanted) + b"\n")
            self._child.stdin.flush()
        said = self._line(STARTS_WITHIN)
        self.held = msgspec.json.decode(said, type=Held) if said else Held(trouble="nothing could be held still")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        said = self._line(STARTS_WITHIN)
        if said:
            self.released = msgspec.json.decode(said, type=Released)
        self._child.wait()

    @property
    def quiesced(self) -> bool:
        """Whether the guest's file systems were frozen from the first snapshot to the last."""
        return self.held.frozen > 0 and self.released.whole and self.released.thawed > 0

    def _line(self, within: float) -> bytes:
        assert self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], within)
        return self._child.stdout.readline() if ready else b""


# ── the process that holds ──────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Freeze and stop, say so, wait until stdin ends or the time is over, undo both."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    wanted = msgspec.json.decode(sys.stdin.buffer.readline(), type=Wanted)
    with contextlib.ExitStack() as stack:
        agent, held = _frozen(wanted, stack)
        began = time.monotonic()
        record = _recorded(wanted.processes)
        try:
            held.stopped = _signal(wanted.processes, signal.SIGSTOP)
            _say(held)
            ready, _, _ = select.select([sys.stdin], [], [], wanted.longest)
        finally:
            _signal(wanted.processes, signal.SIGCONT)
            seconds = time.monotonic() - began
            record.unlink(missing_ok=True)
        _say(Released(seconds, bool(ready), _thawed(agent, held)))


def _frozen(wanted: Wanted, stack: contextlib.ExitStack) -> tuple[Agent | None, Held]:
    if not wanted.agent:
        return None, Held()
    try:
        agent = stack.enter_context(Agent(Path(wanted.agent)))
    except NoAgent as no:
        return None, Held(trouble=str(no))
    try:
        return agent, Held(frozen=agent.freeze())
    except NoAgent as no:
        _thawed(agent, Held(frozen=1))  # it may have frozen some, or do so yet
        return agent, Held(trouble=str(no))


def _thawed(agent: Agent | None, held: Held) -> int:
    """Thaw until the agent says that it did: a guest left frozen hangs."""
    if agent is None or not held.frozen:
        return 0
    end = time.monotonic() + LONGEST
    while True:
        try:
            return agent.thaw()
        except NoAgent:
            if time.monotonic() > end:
                return 0
            time.sleep(0.2)


def _signal(processes: list[Holder], number: signal.Signals) -> int:
    done = 0
    for holder in processes:
        if holder.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, number)
                done += 1
    return done


def _say(what: Held | Released) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
        sys.stdout.buffer.flush()


# ── what is left where even that process was killed ─────────────────────────────────────────────────


class Record(msgspec.Struct):
    """Who made whom stand still."""

    holder: Holder
    processes: list[Holder]


def _recorded(processes: list[Holder]) -> Path:
    from engines.host.files import write_whole
    from engines.host.holder import me

    path = folder() / f"{RECORD}{os.getpid()}.json"
    write_whole(path, msgspec.json.encode(Record(me(), processes)))
    return path


def forgotten() -> list[tuple[Path, Record]]:
    """Records of holders that were killed before they let go."""
    found = []
    for path in folder().glob(f"{RECORD}*.json"):
        try:
            if path.lstat().st_uid != os.geteuid():
                continue
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            continue
        if not record.holder.alive():
            found.append((path, record))
    return found


def let_go(path: Path, record: Record) -> int:
    """Let the processes of a forgotten record run again; how many there were."""
    done = _signal(record.processes, signal.SIGCONT)
    path.unlink(missing_ok=True)
    return done


if __name__ == "__main__":
    main()
