"""A run's events as append-only JSON lines that survive a killed process and a full disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engines.job.contract import (
    AnyEvent,
    Asked,
    Finished,
    LastWord,
    Log,
    RunFailed,
    RunStopped,
    Started,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused

RESERVE = 1024 * 1024  # bytes set aside per run, so that a state disk that fills up cannot silence a commit
TAIL = 16 * 1024  # bytes that hold a last word; a longer one is found by reading all
DURABLE = (Started, StepStarted, StepEnded, Asked, Finished, RunStopped, RunFailed)


class Entry(msgspec.Struct, frozen=True):
    """One journal line: `seq` counts from 0, `at` is Unix time in seconds."""

    seq: int
    at: float
    event: AnyEvent


class _Stamp(msgspec.Struct):
    seq: int = 0
    at: float = 0.0
    event: str = ""


_events = msgspec.json.Decoder(AnyEvent)
_stamps = msgspec.json.Decoder(_Stamp)


def encode(entry: Entry) -> bytes:
    """One JSON line, with its newline: seq, at, event and the event's own fields."""
    body = msgspec.to_builtins(entry.event)
    return msgspec.json.encode({"seq": entry.seq, "at": entry.at, **body}) + b"\n"


def decode(line: bytes) -> Entry:
    """The entry of one line; an event of a later version becomes a Log. Raises ValueError on anything else."""
    try:
        stamp = _stamps.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"no journal line: {error}") from None
    try:
        return Entry(stamp.seq, stamp.at, _events.decode(line))
    except msgspec.ValidationError:
        shown = line.decode("utf-8", "replace").strip()
        return Entry(stamp.seq, stamp.at, Log(text=f"(event of another version) {shown}"))


class Journal:
    """Writer of one run's journal. An event in DURABLE is on disk before `write` returns.

    The reserve is allocated up front (Refused where the disk has no room) and given up when the disk
    fills: from then on `write` keeps the run going and `lost` counts what could not be recorded.
    """

    def __init__(self, path: Path) -> None:
        self.lost = 0
        self._seq = 0
        self._reserve = path.with_name("reserve")
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            reserve = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(reserve, 0, RESERVE)
            finally:
                os.close(reserve)
        except OSError as error:
            os.close(self._fd)
            self._reserve.unlink(missing_ok=True)
            raise Refused(f"{path.parent}: {error.strerror}", "free 1 MiB there, or set XDG_STATE_HOME") from None

    def write(self, event: AnyEvent) -> Entry:
        """Append one event and return it as it was stamped."""
        entry = Entry(self._seq, round(time.time(), 3), event)
        self._seq += 1
        try:
            self._append(encode(entry), durable=isinstance(event, DURABLE))
        except OSError:
            self.lost += 1
        return entry

    def _append(self, line: bytes, *, durable: bool) -> None:
        start = os.fstat(self._fd).st_size
        try:
            self._put(line, durable)
        except OSError:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            os.ftruncate(self._fd, start)
            self._put(line, durable)

    def _put(self, line: bytes, durable: bool) -> None:
        left = memoryview(line)
        while left:
            left = left[os.write(self._fd, left) :]
        if durable:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close, and free the reserve."""
        os.close(self._fd)
        self._reserve.unlink(missing_ok=True)


def read(path: Path, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Entries from byte `offset` on, each with the offset behind it; a torn last line is left for later."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                yield decode(line), offset
            except ValueError:
                continue  # a line torn by a power cut, then appended to by nobody: skip what cannot be read


def ended(path: Path) -> bool:
    """Whether its last line is a last word, as far as its last bytes tell; quick, since most runs have ended."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(stream.seek(0, os.SEEK_END) - TAIL, 0))
            lines = stream.read().splitlines(keepends=True)
        return bool(lines) and lines[-1].endswith(b"\n") and isinstance(decode(lines[-1]).event, LastWord)
    except (OSError, ValueError):
        return False


def entries(path: Path) -> list[Entry]:
    """The whole journal."""
    return [entry for entry, _ in read(path)]
