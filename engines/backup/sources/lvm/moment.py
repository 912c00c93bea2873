"""A moment in which a VM writes nothing: held by a process of its own that lets go by itself whatever happens to us.

The guest agent freezes the guest's file systems; SIGSTOP makes the processes that write stand still. Writes that were
under way then may or may not be in a snapshot, and nobody has been told that they are done: that is a crash's state.
Suspending the volumes with dmsetup would be simpler, but LVM then skips its own suspend and leaves a thin pool whose
metadata and kernel disagree (measured with lvm2 2.03.16: "unexpected transaction id").
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from engines.backup.sources.lvm.agent import Agent, NoAgent
from engines.host.child import module, start
from engines.host.files import read_own, write_whole
from engines.host.holder import Holder, me
from engines.job.errors import Refused
from engines.job.lock import folder

LONGEST = 20.0  # s that a VM may stand still; Windows lets go of its own freeze after 10
STARTS_WITHIN = 90.0  # s until it holds: the agent's deadlines and a slow start
STANDS_WITHIN = 5.0  # s for a signal to arrive, behind a write that is under way
RECORD = "still-"
NAME = re.compile(rf"{RECORD}[0-9a-f-]+\.json")


class MomentRequest(msgspec.Struct):
    """What shall stand still. `agent` is the socket of the guest agent, or empty; `record` names its record."""

    processes: list[Holder]
    agent: str = ""
    longest: float = LONGEST
    record: str = ""


class Held(msgspec.Struct):
    """What stands still; `trouble` is why the guest agent did not freeze, `asked` whether it was told to."""

    stopped: int = 0
    frozen: int = 0
    trouble: str = ""
    asked: bool = False


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
        self._over = False
        token = os.urandom(8).hex()  # no pid: one of a killed holder, whose record must stay, comes again
        self._wanted = MomentRequest(list(self.processes), str(self.agent or ""), self.longest, token)
        self._child = start(module("engines.backup.sources.lvm.moment"), stdout=subprocess.PIPE)
        assert self._child.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # then it says nothing, and holds nothing
                self._child.stdin.write(msgspec.json.encode(self._wanted) + b"\n")
                self._child.stdin.flush()
            said = _told(self._line(STARTS_WITHIN), Held)
        except BaseException:
            self._end()
            raise
        self.held = said or Held(trouble="nothing could be held still")
        if said is None:
            self._end()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            assert self._child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
            said = _told(self._line(STARTS_WITHIN), Released)
            self.released = said or self.released
            self._end(silent=said is None)

    def _end(self, silent: bool = True) -> None:
        """The child ends; where it has not said that it let go, whoever stood still goes on by our hand."""
        self._over = True
        if silent:
            self._child.kill()
            self._child.wait()
            forgotten = MomentRecord(Holder(self._child.pid, 0, ""), self._wanted.processes, self._wanted.agent)
            if _go_on(forgotten):
                _place(self._wanted.record).unlink(missing_ok=True)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

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
    """Write down whom, freeze and stop, say so, wait until stdin ends or the time is over, undo both."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    wanted = msgspec.json.decode(sys.stdin.buffer.readline(), type=MomentRequest)
    try:
        record = _recorded(wanted)
    except (OSError, Refused) as error:
        _say(Held(trouble=f"nothing was held still, since it cannot be written down: {error}"))
        _say(Released(0.0, False))
        return
    began, ready, held, thawed = time.monotonic(), False, Held(), None
    try:
        held = _frozen(wanted)
        began = time.monotonic()
        _signal(wanted.processes, signal.SIGSTOP)
        held.stopped = _standing(wanted.processes)
        _say(held)
        ready = bool(select.select([sys.stdin], [], [], wanted.longest)[0])
    finally:
        _signal(wanted.processes, signal.SIGCONT)
        seconds = time.monotonic() - began
        thawed = _thawed(wanted.agent) if held.asked else 0
        if thawed is not None:  # else the record stays, for whoever comes next
            record.unlink(missing_ok=True)
    _say(Released(seconds, ready, thawed or 0))


def _frozen(wanted: MomentRequest) -> Held:
    if not wanted.agent:
        return Held()
    asked = False
    try:
        with Agent(Path(wanted.agent)) as agent:
            asked = True  # it may freeze some and then say no, or freeze late
            return Held(frozen=agent.freeze(), asked=True)
    except NoAgent as no:
        return Held(trouble=str(no), asked=asked)


def _thawed(agent: str, within: float = LONGEST) -> int | None:
    """Thaw until the agent says that it did: a guest left frozen hangs. None where it never said so."""
    end = time.monotonic() + within
    while True:
        try:
            with Agent(Path(agent)) as found:
                return found.thaw()
        except NoAgent:
            if not _reachable(agent):
                return 0  # its VM is gone, and all that was frozen with it
            if time.monotonic() > end:
                return None
            time.sleep(0.2)


def _reachable(agent: str) -> bool:
    """Whether anybody listens at that socket."""
    try:
        return stat.S_ISSOCK(Path(agent).stat().st_mode) and Agent(Path(agent)).listens()
    except OSError:
        return False


def _signal(processes: list[Holder], number: signal.Signals) -> int:
    done = 0
    for holder in processes:
        if holder.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, number)
                done += 1
    return done


def _standing(processes: list[Holder], within: float = STANDS_WITHIN) -> int:
    """How many of them stand still: a signal that is sent has not arrived yet, and a write goes on to its end."""
    end = time.monotonic() + within
    moving = list(processes)
    while moving := [holder for holder in moving if not _stands(holder)]:
        if time.monotonic() > end:
            break
        time.sleep(0.002)
    return len(processes) - len(moving)


def _stands(holder: Holder) -> bool:
    """Whether no thread of it runs; False where it is gone."""
    if not holder.alive():
        return False
    states = set()
    for thread in Path(f"/proc/{holder.pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it ended while it was looked at
            states.add((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states <= set("TtZX")


T = TypeVar("T", Held, Released)


def _told(line: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError:
        return None  # nothing, or cut off: it was killed


def _say(what: Held | Released) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
        sys.stdout.buffer.flush()


# ── what is left where even that process was killed ─────────────────────────────────────────────────


class MomentRecord(msgspec.Struct):
    """Who made whom stand still; `agent` is the socket of a guest agent that was asked to freeze, or empty."""

    holder: Holder
    processes: list[Holder]
    agent: str = ""


def _place(token: str) -> Path:
    """Records lie together, not with their runs: whoever starts next finds them, whatever its state folder is."""
    return folder() / f"{RECORD}{token}.json"


def _recorded(wanted: MomentRequest) -> Path:
    path = _place(wanted.record or str(os.getpid()))
    write_whole(path, msgspec.json.encode(MomentRecord(me(), wanted.processes, wanted.agent)))
    return path


def forgotten() -> list[tuple[Path, MomentRecord]]:
    """Records of holders that were killed before they let go. Raises Refused."""
    found = []
    for path in sorted(folder().iterdir()):
        if not NAME.fullmatch(path.name):
            continue
        try:
            record = msgspec.json.decode(read_own(path), type=MomentRecord)
        except (OSError, msgspec.MsgspecError):
            continue
        if not record.holder.alive():
            found.append((path, record))
    return found


def let_go(path: Path, record: MomentRecord) -> int:
    """Let what a forgotten record names go on; how many processes and guests that were. It stays where that fails."""
    if not _go_on(record):
        return 0
    path.unlink(missing_ok=True)
    return len(record.processes) + bool(record.agent)


def _go_on(record: MomentRecord) -> bool:
    """Whether all that is still there goes on."""
    _signal(record.processes, signal.SIGCONT)
    return not record.agent or _thawed(record.agent) is not None


if __name__ == "__main__":
    main()
