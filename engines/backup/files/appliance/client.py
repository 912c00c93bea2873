"""An appliance for a restore point that is kept warm by a process of its own, from one command to the next.

begin(params, point)                      start one, and do not wait: the screen, when a point is highlighted
with disk(params, point) as appliance     the same, used as GuestfsDisk is; what it cannot have, it does itself
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

import msgspec
from typing_extensions import override

from engines.backup.files.appliance import protocol, registry
from engines.backup.files.appliance.driver import GuestfsDisk, open_libguestfs
from engines.backup.files.appliance.protocol import Answer, Ask, KeeperRequest, Trouble
from engines.backup.files.appliance.tar import Writes
from engines.backup.files.model import BrowseError, DiskBytes, Node, Volume, VolumeInfo
from engines.backup.names import PointName
from engines.backup.repository.repository import RepoParams, where
from engines.host.child import module, start
from engines.job.contract import Cancel
from engines.job.errors import Refused
from engines.job.params import Secret

IDLE = 300.0  # s
SETTING = "CRASHCART_KEEP_WARM"  # seconds; 0 for nothing kept
MOST = 2  # keepers at once: each takes the appliance's memory
TICK = 0.2  # s between looks for a stop
UP_WITHIN = 30.0  # s for a keeper to listen; its appliance comes later
T = TypeVar("T")


def idle() -> float:
    """Seconds that an appliance is kept after its last use; 0 where none is kept."""
    try:
        return max(0.0, float(os.environ.get(SETTING, IDLE)))
    except ValueError:
        raise Refused(f"{SETTING} is {os.environ[SETTING]!r}", "give seconds, or 0") from None


def begin(params: RepoParams, point: PointName, passphrase: Secret | None = None) -> None:
    """Have an appliance started for a point, where none is kept yet; returns at once. Raises Refused."""
    if idle():
        _start(_wanted(params, point, passphrase))


def disk(
    params: RepoParams,
    point: PointName,
    source: DiskBytes,
    cancel: Cancel | None = None,
    passphrase: Secret | None = None,
) -> WarmDisk:
    """The point's appliance, started when it is first asked. source: the same point, for where none can be kept."""
    return WarmDisk(_wanted(params, point, passphrase), source, Cancel() if cancel is None else cancel)


def end(params: RepoParams, point: PointName) -> None:
    """Have a point's keeper end, and wait for it."""
    name = registry.key(where(params), str(point))
    note = registry.living().get(name)
    if note is not None:
        with suppress(ProcessLookupError):
            os.kill(note.holder.pid, 15)
        while note.holder.alive():
            time.sleep(0.02)


def _wanted(params: RepoParams, point: PointName, passphrase: Secret | None) -> KeeperRequest:
    given = passphrase or params.passphrase
    return KeeperRequest(
        repo=where(params),
        point=str(point),
        idle=idle(),
        key_file=params.key_file,
        passphrase=given.reveal() if given else "",
    )


def _start(wanted: KeeperRequest) -> None:
    """A keeper, unless there is one; the others make room. Raises Refused."""
    name = registry.key(wanted.repo, wanted.point)
    others = registry.living()
    if name in others:
        return
    for other in list(others)[: max(0, len(others) - MOST + 1)]:
        with suppress(OSError), _connected(other) as peer:
            protocol.send(peer, Ask("leave"))
    with (registry.folder() / f"{name}.log").open("wb") as log:
        child = start(module("engines.backup.files.appliance.server"), stdout=log, stderr=log)
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it ended; whoever asks it is told
        child.stdin.write(msgspec.json.encode(wanted))
        child.stdin.close()
    threading.Thread(target=child.wait, name="reap", daemon=True).start()


def _connected(name: str) -> socket.socket:
    """Raises OSError."""
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(TICK)
        peer.connect(str(registry.socket_of(name)))
    except BaseException:
        peer.close()
        raise
    return peer


class WarmDisk:
    """GuestfsDisk at a distance; any thread may ask. Closing it lets go, and leaves the appliance warm."""

    def __init__(self, wanted: KeeperRequest, source: DiskBytes, cancel: Cancel) -> None:
        self._wanted, self._source, self._cancel = wanted, source, cancel
        self._name = registry.key(wanted.repo, wanted.point)
        self._lock = threading.Lock()
        self._free: list[socket.socket] = []
        self._own: GuestfsDisk | None = None
        self._refused = not wanted.idle

    def __enter__(self) -> WarmDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def infos(self) -> tuple[VolumeInfo, ...]:
        """See GuestfsDisk."""
        own = self._here()
        return own.infos() if own else self.one(Ask("infos"), tuple[VolumeInfo, ...])

    def open(self, info: VolumeInfo) -> Volume:
        """See GuestfsDisk."""
        own = self._here()
        if own:
            return own.open(info)
        return WarmVolume(self, info, *self.one(Ask("open", info.name), tuple[str, bytes, dict[int, bytes]]))

    def close(self) -> None:
        """Hang up; an appliance of our own ends."""
        while self._free:
            self._free.pop().close()
        if self._own is not None:
            self._own.close()

    def _here(self) -> GuestfsDisk | None:
        """An appliance in this process, where no keeper can be had."""
        with self._lock:
            if not self._refused:
                try:
                    self._give_back(self._line())
                except Refused:
                    self._refused = True
            if self._refused and self._own is None:
                self._own = open_libguestfs(self._source, self._cancel)
            return self._own

    # ── questions ───────────────────────────────────────────────────────────────────────────────────

    def one(self, ask: Ask, type_: type[T]) -> T:
        """An answer of one part."""
        (found,) = self.each(ask, type_)
        return found

    def each(self, ask: Ask, type_: type[T]) -> Iterator[T]:
        """The parts of an answer. Raises what the driver raises, Stopped."""
        peer, answer = self._begun(ask)
        whole = False
        try:
            while answer.kind == "part":
                yield answer.of(type_)
                answer = self._heard(peer)
            whole = True
            if answer.kind == "trouble":
                raise answer.of(Trouble).error()
        except ConnectionError:
            raise BrowseError("the appliance that was kept warm has ended", "try again: a new one is started") from None
        finally:
            if whole:
                self._give_back(peer)
            else:
                peer.close()

    def _begun(self, ask: Ask) -> tuple[socket.socket, Answer]:
        """The line and the first answer; a keeper that ended meanwhile is replaced once."""
        for last in (False, True):
            peer = self._line()
            try:
                protocol.send(peer, ask)
                return peer, self._heard(peer)
            except OSError:
                peer.close()
                if last:
                    break
            except BaseException:
                peer.close()
                raise
        raise BrowseError("no appliance is kept warm: its process ends at once", f"set {SETTING}=0 to do without")

    def _heard(self, peer: socket.socket) -> Answer:
        while True:
            try:
                return protocol.take(peer, Answer)
            except TimeoutError:
                self._cancel.check()

    def _give_back(self, peer: socket.socket) -> None:
        self._free.append(peer)

    def _line(self) -> socket.socket:
        """A connection that nobody uses. Raises Refused, Stopped."""
        with suppress(IndexError):
            return self._free.pop()
        deadline, begun = time.monotonic() + UP_WITHIN, 0.0
        while True:
            with suppress(OSError):
                return _connected(self._name)
            if time.monotonic() > deadline:
                raise Refused("no appliance can be kept warm", f"see {registry.folder() / self._name}.log")
            if time.monotonic() - begun > 5.0:  # a first one, or the last one was ending
                begun = time.monotonic()
                _start(self._wanted)
            self._cancel.sleep(0.05)


class WarmVolume(Volume):
    """See Volume; `tar_out` besides, as GuestfsVolume's."""

    driver = "libguestfs"

    def __init__(
        self, disk: WarmDisk, info: VolumeInfo, state: str, default: bytes, subvolumes: Mapping[int, bytes]
    ) -> None:
        self.info, self.state, self.default, self.subvolumes = info, state, default, subvolumes
        self._disk = disk

    def _ask(self, call: str, path: bytes, offset: int = 0, length: int = 0) -> Ask:
        return msgspec.convert((call, self.info.name, path, offset, length), Ask)

    @override
    def stat(self, path: bytes) -> Node:
        return self._disk.one(self._ask("stat", path), Node)

    @override
    def list(self, path: bytes) -> Iterator[Node]:
        for batch in self._disk.each(self._ask("list", path), tuple[Node, ...]):
            yield from batch

    @override
    def read(self, path: bytes, offset: int, length: int) -> bytes:
        return b"".join(self._disk.each(self._ask("read", path, offset, length), bytes))

    @override
    def extents(self, path: bytes) -> Iterator[tuple[int, int]]:
        for batch in self._disk.each(self._ask("extents", path), tuple[tuple[int, int], ...]):
            yield from batch

    @override
    def attributes(self, path: bytes) -> dict[str, bytes]:
        return self._disk.one(self._ask("attributes", path), dict[str, bytes])

    def tar_out(self, path: bytes, stream: Writes) -> None:
        """See GuestfsVolume."""
        for part in self._disk.each(self._ask("tar_out", path), bytes):
            stream.write(part)

    @override
    def close(self) -> None:
        """It stays mounted where it is kept."""
