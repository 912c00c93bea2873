"""A view served as a read-only file system by FUSE."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from engines.backup.errors import Damaged, Missing
from engines.backup.files.model import BrowseError, Node, NoSuchFile, Unsupported, join
from engines.backup.files.mounting.folder import Folder
from engines.backup.files.mounting.view import ImageView, Reads, View

FOREVER = 86400  # s that the kernel may keep what it saw: nothing changes in a point
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4  # linux/mount.h
_libc = ctypes.CDLL(None, use_errno=True)


def serve(view: View | ImageView, reads: Reads, folder: Folder, token: str, ready: Callable[[], None]) -> None:
    """Serve until it is unmounted or SIGTERM comes. Raises OSError, RuntimeError where it cannot be mounted.

    Only the user who mounts may look; no setuid bit and no device node of the guest works there.
    """
    os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse3.so.3")
    import mfusepy

    limits = {"fsname": token, "subtype": "crashcart", "ro": True, "nosuid": True, "nodev": True}
    with folder.opened() as descriptor:
        ours = os.geteuid() == 0
        place = _mounted(descriptor, token) if ours else str(folder.path)
    mfusepy.FUSE(
        Files(view, reads, ready),
        place,
        foreground=True,
        **({} if ours else limits),
        use_ino=True,
        attr_timeout=FOREVER,
        entry_timeout=FOREVER,
        negative_timeout=FOREVER,
        kernel_cache=True,
    )


def _mounted(folder: int, token: str) -> str:
    """Mount on an open folder, since its name may lead elsewhere by now; what libfuse takes for a mount that is made.

    fusermount3 does the like for other users.
    """
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fuse},rootmode={stat.S_IFDIR:o},user_id={os.geteuid()},group_id={os.getegid()}".encode()
    flags = ctypes.c_ulong(MS_RDONLY | MS_NOSUID | MS_NODEV)
    if _libc.mount(token.encode(), f"/proc/self/fd/{folder}".encode(), b"fuse.crashcart", flags, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"/dev/fd/{fuse}"


class Files:
    """What libfuse calls, from threads of its own; names are text with surrogates for what is no UTF-8."""

    use_ns = True

    def __init__(self, view: View | ImageView, reads: Reads, ready: Callable[[], None]) -> None:
        self._view = view
        self._reads = reads
        self._ready = ready

    def _asked(self, work: Callable[[bytes], Any], path: str) -> Any:
        raw = path.encode("utf-8", "surrogateescape")
        try:
            return work(raw)
        except NoSuchFile:
            raise OSError(errno.ENOENT, path) from None
        except Unsupported:
            raise OSError(errno.EOPNOTSUPP, path) from None
        except (BrowseError, Damaged, Missing, OSError) as error:
            self._reads.failed(str(error))
            raise OSError(errno.EIO, path) from None

    def init(self, _path: str) -> None:
        """The kernel is connected."""
        self._ready()

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        """See stat(2)."""
        found: dict[str, int] = self._asked(lambda raw: self._stat(raw, self._view.node(raw)), path)
        return found

    def _stat(self, path: bytes, node: Node) -> dict[str, int]:
        return {
            "st_ino": self._view.inode(path, node),
            "st_mode": node.mode,
            "st_nlink": node.links,
            "st_uid": node.uid,
            "st_gid": node.gid,
            "st_rdev": os.makedev(*node.device) if stat.S_IFMT(node.mode) in (stat.S_IFBLK, stat.S_IFCHR) else 0,
            "st_size": node.size,
            "st_blocks": -(-(node.size if node.allocated is None else node.allocated) // 512),
            "st_mtime": node.mtime,
            "st_atime": node.atime,
            "st_ctime": node.ctime,
        }

    def readdir(self, path: str, _handle: int) -> Iterator[tuple[str, dict[str, int], int]]:
        """Names with type and inode number."""
        found: dict[bytes, Node] = self._asked(self._view.folder, path)
        here = path.encode("utf-8", "surrogateescape")
        yield from ((name, {"st_mode": stat.S_IFDIR}, 0) for name in (".", ".."))
        for name, node in found.items():
            inode = self._view.inode(join(here, name), node)
            yield name.decode("utf-8", "surrogateescape"), {"st_mode": node.mode, "st_ino": inode}, 0

    def readlink(self, path: str) -> str:
        """As it is stored: it may lead out of the mount, as in any mount."""
        target: bytes = self._asked(self._view.link, path)
        return target.decode("utf-8", "surrogateescape")

    def open(self, path: str, flags: int) -> int:
        """For reading only."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, path)
        return 0

    def read(self, path: str, size: int, offset: int, _handle: int) -> bytes:
        """Bytes, each proven by the backup."""
        found: bytes = self._asked(lambda raw: self._view.read(raw, offset, size), path)
        self._reads.read(len(found))
        return found

    def listxattr(self, path: str) -> list[str]:
        """Where the driver can tell; none where it cannot."""
        try:
            found: dict[str, bytes] = self._asked(self._view.attributes, path)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return []
            raise
        return list(found)

    def getxattr(self, path: str, name: str, _position: int = 0) -> bytes:
        """See getxattr(2)."""
        found: dict[str, bytes] = self._asked(self._view.attributes, path)
        if name not in found:
            raise OSError(errno.ENODATA, path)
        return found[name]

    def statfs(self, _path: str) -> dict[str, int]:
        """Nothing is free on what cannot be written to."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}
