"""A hold on a disk image or device that nobody uses: it keeps QEMU and mounts away until the work is done."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from engines.host import libvirt
from engines.host.files import change_stamp, file_identity, open_file
from engines.host.mountinfo import mounts
from engines.host.users import (
    FLOCK,
    FORBIDS_RESIZE,
    FORBIDS_WRITE,
    RESIZES,
    WRITES,
    User,
    above,
    locked,
    number,
    processes,
)
from engines.job.errors import Refused

UNPROTECTED = ("nfs", "nfs4", "cifs", "smb3", "fuse", "9p", "ceph", "gfs2", "ocfs2", "glusterfs", "lustre", "afs")
WORKER = b"worker.py"  # the last word of the command line of a living appliance's parent
REMOTE_DEVICES = ("/session", "/rport-", "/rbd", "/drbd", "/nbd")


@dataclass
class Hold:
    """The lock bytes and, for a block device, the exclusive claim that keep writers away until `release`."""

    path: Path
    descriptor: int
    claim: int | None = None
    _writing: bool = field(default=False)

    @property
    def opened(self) -> Path:
        """What is held, for this process and its children to open: `path` may lead to another file by then.

        Only root has to fear that, and only root's children may look into a process that holds secrets.
        """
        if os.geteuid() != 0:
            return self.path.resolve()
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    def refuse_another(self, identity: str) -> None:
        """Raise Refused where what is held is not what was looked at before.

        identity: by `file_identity`; by `change_stamp` where nothing of it may have changed either, since the number
        of an inode goes to the next file.
        """
        found = os.fstat(self.descriptor)
        if identity not in (file_identity(found), change_stamp(found)):
            raise Refused(
                f"{self.path} became another file, or was written to, while it was looked at",
                "see who does that, and start again",
            )

    def begin_writing(self) -> None:
        """From now on readers stay away too. Raises Refused where one has come meanwhile."""
        if byte := locked(self.descriptor, FORBIDS_WRITE, FORBIDS_RESIZE, WRITES):
            raise Refused(
                f"{self.path} is open in another QEMU (lock byte {byte}); {named_users(self.path)}",
                "end that QEMU; the image is untouched",
            )
        self._writing = True
        _lock(self.descriptor, WRITES)

    def release(self) -> None:
        """Let go."""
        for descriptor in (self.descriptor, self.claim):
            if descriptor is not None:
                os.close(descriptor)
        self.claim, self.descriptor = None, -1


def hold(path: Path, *, powered_off: bool = False) -> Hold:
    """Refuse where `path` is in use, else keep it from being used.

    powered_off: the technician vouches for it where no lock protects (a network file system, a shared device).
    """
    if not powered_off and (why := unprotected(path)):
        raise Refused(why, "power the guest off wherever it may run, then say so (powered off: yes)")
    try:
        descriptor = open_file(path, devices=True)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "name an image that can be read") from None
    claim = None
    try:
        device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        claim = _claim(path, descriptor) if device else None
        _await_dying_appliance(path, descriptor)
        _refuse_users(path, descriptor, device)
        _lock(descriptor, FORBIDS_WRITE)
        _lock(descriptor, FORBIDS_RESIZE)
    except BaseException:
        os.close(descriptor)
        _close(claim)
        raise
    return Hold(path, descriptor, claim)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _refuse_users(path: Path, descriptor: int, device: bool) -> None:
    if byte := locked(descriptor, WRITES, RESIZES):
        raise Refused(
            f"{path} is in use: a QEMU writes to it (lock byte {byte}); {named_users(path)}", "shut that guest down"
        )
    if byte := locked(descriptor, FORBIDS_WRITE, FORBIDS_RESIZE):
        raise Refused(
            f"{path} is in use: a QEMU reads it and forbids writing (lock byte {byte}), as a backing file does; "
            f"{named_users(path)}",
            "shut that guest down, or convert its topmost image",
        )
    if domain := libvirt.running(path):
        raise Refused(
            f"{path} belongs to the running libvirt domain {domain}", f"shut it down: virsh shutdown {domain}"
        )
    found = os.fstat(descriptor)
    if not device and (loop := next(above(found), None)):
        raise Refused(f"{path} is attached to /dev/{loop.who}", f"unmount and detach it: losetup -d /dev/{loop.who}")
    if writers := ", ".join(_named(user) for user in processes(found) if user.writes):
        raise Refused(f"{path} is open for writing in {writers}", "end that process")


# ── lock bytes ──────────────────────────────────────────────────────────────────────────────────────


def _lock(descriptor: int, byte: int) -> None:
    """A shared lock, as QEMU takes it: whether two get along is decided by looking, not by blocking."""
    wanted = struct.pack(FLOCK, fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)


# ── block devices ───────────────────────────────────────────────────────────────────────────────────


def _claim(path: Path, descriptor: int) -> int:
    """The kernel's exclusive claim: no mount, no device mapper, no swap beside it. Names who has it."""
    if user := next(above(os.fstat(descriptor)), None):
        raise Refused(f"{path} is in use: {user.of or path} is {user.words}", "take it out of use first")
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", "unmount it and close what lies on it") from None


def unprotected(path: Path) -> str:
    """Why no lock protects `path`, or an empty text."""
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        place = str(Path(f"/sys/dev/block/{number(path)}").resolve())
        reached = next((word for word in REMOTE_DEVICES if word in place), "")
        return f"{path} may be used from another machine ({place})" if reached else ""
    kind = _filesystem_of(path)
    return f"{path} lies on {kind}, where locks may not reach other machines" if shared(kind) else ""


def shared(kind: str) -> bool:
    """Whether a type of file system may be mounted by several machines, or forwards no locks."""
    return kind in UNPROTECTED or kind.startswith("fuse.")


def _filesystem_of(path: Path) -> str:
    """The type of the deepest mount above `path`."""
    deepest, kind = "", ""
    for mount in mounts():
        inside = str(path.resolve()).startswith(mount.folder.rstrip("/") + "/")
        if inside and len(mount.folder) >= len(deepest):
            deepest, kind = mount.folder, mount.kind
    return kind


# ── processes ───────────────────────────────────────────────────────────────────────────────────────


def _await_dying_appliance(path: Path, descriptor: int, within: float = 5.0) -> None:
    """An appliance whose run was killed lives a moment longer, and its lock bytes outlive its open files."""
    end = time.monotonic() + within
    while time.monotonic() < end and locked(descriptor, WRITES, RESIZES, FORBIDS_WRITE, FORBIDS_RESIZE):
        seen = list(processes(path.stat()))
        if seen and not any(_is_appliance(user.pid) for user in seen):
            return
        time.sleep(0.1)


def _is_appliance(pid: int) -> bool:
    """Whether a process is libguestfs's QEMU, left by a worker that is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        above = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, IndexError):
        return False
    return b"guestfs" in words and b"qemu" in words and WORKER not in above


def named_users(path: Path) -> str:
    """Who has it open, in words."""
    users = ", ".join(sorted(_named(user) for user in processes(path.stat())))
    return f"open in {users}" if users else "no process of this machine has it open"


def _named(user: User) -> str:
    return f"process {user.pid} ({user.who})"
