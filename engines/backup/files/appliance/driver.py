"""The file systems of a disk through a libguestfs appliance: every format that Linux knows, LVM and MD in the guest.

The source is served read-only over NBD under a throwaway overlay, so that a journal is replayed and nothing is changed;
so are the guest's other disks of the same moment, for what is spread over several: of them, only that is shown.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from engines.backup.files.appliance.mounting import mounted, subvolumes
from engines.backup.files.appliance.probe import probed
from engines.backup.files.appliance.volume import GuestfsVolume
from engines.backup.files.model import BrowseError, DiskBytes, NoSuchFile, Unsupported, VolumeInfo, shown
from engines.backup.files.volumes import ntfs_state
from engines.backup.files.volumes.known import CLOSED
from engines.backup.files.volumes.mended import Mended
from engines.backup.files.volumes.signatures import SPARE
from engines.backup.files.volumes.window import Window
from engines.backup.nbd import overlay
from engines.backup.nbd.server import Fault, NbdServer
from engines.boot.scratch import Scratch
from engines.guest.appliance import Appliance, GuestError
from engines.job.contract import Cancel
from engines.job.errors import CrashcartError

NAME = "libguestfs"


def open_libguestfs(source: DiskBytes, cancel: Cancel | None = None) -> GuestfsDisk:
    """Serve, launch and look: 10 s and more under emulation. Raises Refused, Stopped, BrowseError.

    The source must stay readable until `close`. The appliance lives until then, whichever thread called.
    """
    disk = GuestfsDisk(source, Cancel() if cancel is None else cancel)
    try:
        disk.start()
    except BaseException:
        disk.close()
        raise
    return disk


class GuestfsDisk:
    """An appliance over one source; any thread may ask, one call at a time is answered. Close it in the end.

    replays: how often its kernel has said that it replayed a journal.
    """

    def __init__(self, source: DiskBytes, cancel: Cancel) -> None:
        self.replays = 0
        self._resting = False
        self._source = source
        self._mended = Mended.of(source, cancel)
        self._lock = threading.RLock()
        self._scratch = Scratch()
        beside: Any = getattr(source, "beside", tuple)
        disks = [self._mended or source, *beside()]
        self._servers = [NbdServer(each, self._scratch.path / f"nbd{at or ''}") for at, each in enumerate(disks)]
        self._overlays = [self._scratch.path / f"overlay{at or ''}.qcow2" for at in range(len(disks))]
        self._appliance = Appliance(self._overlays[0], self._scratch.path, cancel, self._overlays[1:])
        self._infos: tuple[VolumeInfo, ...] = ()
        self._places: dict[str, str] = {}
        self._opened: dict[str, GuestfsVolume] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        """Launch and look; see open_libguestfs."""
        for server, layer in zip(self._servers, self._overlays, strict=True):
            server.start()
            overlay.lay(server.path, layer)
        with self.asking(b""):
            self._launch()
        self.look()

    def look(self) -> None:
        """Find what is on the disk. Raises BrowseError, Damaged."""
        infos, self._places = probed(self)
        self._infos = tuple(self._judged(info) for info in infos)

    def _judged(self, info: VolumeInfo) -> VolumeInfo:
        """NTFS by what Windows left: ntfs-3g empties its log instead of replaying it, and says nothing."""
        if self._mended and info.offset in self._mended.volumes:
            return msgspec.structs.replace(info, dirty=SPARE)
        if info.format != "ntfs" or (not info.offset and info.size < self._source.size):
            return info
        _, dirty = ntfs_state.read(Window(self._source, info.offset, info.size))
        return msgspec.structs.replace(info, dirty=dirty)

    def _launch(self) -> None:
        """From a thread that lasts: the appliance dies with the one that starts it."""
        trouble: list[BaseException] = []
        up = threading.Event()

        def last() -> None:
            try:
                self._appliance.start()
            except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
                trouble.append(error)
            up.set()
            self._ended.wait()

        threading.Thread(target=last, name="appliance", daemon=True).start()
        up.wait()
        if trouble:
            raise trouble[0]

    def __enter__(self) -> GuestfsDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """How long the launch took."""
        return self._appliance.seconds

    @property
    def folder(self) -> Path:
        """Private to this disk, for pipes."""
        return self._scratch.path

    def infos(self) -> tuple[VolumeInfo, ...]:
        """What is on the disk, in the order of its partitions, then volume groups and arrays."""
        return self._infos

    def open(self, info: VolumeInfo) -> GuestfsVolume:
        """Mount it on the throwaway overlay, once. Raises NoSuchFile, Unsupported, BrowseError, Damaged."""
        with self._lock:
            if info.name not in self._places:
                raise NoSuchFile(f"{info.name}: libguestfs finds no such volume")
            if info.format in CLOSED:
                raise Unsupported(f"{info.name} is {info.format}: {CLOSED[info.format]}")
            if info.format in ("", "swap"):
                raise Unsupported(f"{info.name} holds no file system: {info.format or 'nothing that is known'}")
            if info.name not in self._opened:
                state = mounted(self, self._places[info.name], info)
                self._opened[info.name] = GuestfsVolume(self, info, state, *subvolumes(self, info))
            return self._opened[info.name]

    def call(self, name: str, *arguments: Any) -> Any:
        """One libguestfs call with text. Raises BrowseError, Damaged, Missing, Stopped."""
        with self.asking(b""):
            return self._appliance.call(name, *arguments)

    def bytewise(self, path: bytes, name: str, *arguments: Any) -> Any:
        """One call with bytes; `path` is named where it fails. Raises NoSuchFile and what `call` raises."""
        with self.asking(path):
            return self._appliance.bytewise(name, *[_texts(each) for each in arguments])

    def shell(self, script: bytes) -> bytes:
        """What a script prints within the appliance, the guest below /sysroot."""
        said: str = self.bytewise(b"", "shell", script)
        return said.encode("latin-1")

    @contextmanager
    def asking(self, path: bytes) -> Iterator[None]:
        """One call at a time, and its failure as one of the browser's errors."""
        with self._lock:
            before = [each.faulty for each in self._servers]
            try:
                self._wake()
                yield
            except GuestError as error:
                raise self._meant(error, path, before) from None
            except ValueError:
                if not self._ended.is_set():  # its pipes were closed under the call
                    raise
                raise BrowseError("the appliance was ended") from None

    def _meant(self, error: GuestError, path: bytes, before: list[int]) -> CrashcartError:
        """The backup is the culprit where bytes could not be vouched for meanwhile."""
        fault = fault_since(self._servers, before)
        if fault and isinstance(fault.error, CrashcartError):
            return fault.error
        where = f"{shown(path)}: " if path else ""
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return NoSuchFile(f"{where}there is nothing of that name")
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
            return Unsupported(f"{where}the file system does not have that")
        said = os.strerror(error.errno) if error.errno else shown(str(error).encode("utf-8", "surrogateescape"))
        if fault := fault or next((each.faults[-1] for each in self._servers if each.faults), None):
            said += f"; {self._faulty} reads of the backup failed: {fault.why}"
        return BrowseError(f"{where}{said}")

    @property
    def _faulty(self) -> int:
        return sum(each.faulty for each in self._servers)

    def rest(self) -> None:
        """Halt it until the next call: an idle one under emulation still takes a tenth of a processor."""
        with self._lock:
            if not self._resting and self._appliance.alive:
                self._resting = True
                self._signal(signal.SIGSTOP)

    def _wake(self) -> None:
        if self._resting:
            self._resting = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, GuestError):  # it has ended; the next call says so
            os.killpg(self._appliance.pid, number)

    def close(self) -> None:
        """End the appliance and hang up; the overlay goes. A call of another thread fails."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._appliance.kill()
        for server in self._servers:
            server.close()
        with self._lock:
            for volume in self._opened.values():
                volume.forget()
        self._scratch.remove()


def fault_since(servers: Sequence[NbdServer], before: Sequence[int]) -> Fault | None:
    """The last fault of a server that has more than `before`, by the server; None where none has."""
    grown = (each for each, count in zip(servers, before, strict=True) if each.faulty > count)
    return next((each.faults[-1] for each in grown if each.faults), None)


def _texts(value: Any) -> Any:
    """Bytes for the line to the worker."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [_texts(each) for each in value] if isinstance(value, (list, tuple)) else value
