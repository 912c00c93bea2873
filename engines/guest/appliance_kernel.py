"""The appliance's kernel unpacked ahead: under emulation a machine that unpacks it itself needs five seconds more.

libguestfs takes a "fixed appliance", a folder with kernel, initrd, root and README.fixed (guestfs(3), "Fixed
appliance"); QEMU boots an unpacked kernel by its PVH entry. Kernel image layout: Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import stat
import struct
import zlib
from pathlib import Path

from engines.guest import leftover_sockets

PVH = tuple(struct.pack("<III", 4, size, 18) + b"Xen\0" for size in (4, 8))  # ELF note XEN_ELFNOTE_PHYS32_ENTRY
DPKG = Path("/var/lib/dpkg/status")  # supermin builds its appliance anew when this is newer


def made() -> Path:
    """Where libguestfs keeps the appliance that it built; guestfs(3), guestfs_get_cachedir."""
    cache = os.environ.get("LIBGUESTFS_CACHEDIR") or os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108
    return Path(cache) / f".guestfs-{os.getuid()}" / "appliance.d"


def fixed(appliance: Path | None = None) -> Path | None:
    """A folder for libguestfs's path; None where there is no current appliance yet, or none that can be unpacked.

    Who names a folder by LIBGUESTFS_PATH gets the appliance in it.
    """
    source = appliance or made()
    try:
        if os.environ.get("LIBGUESTFS_PATH") or not _ours(source) or not _current(source):
            return None
        packed = (source / "kernel").read_bytes()
        folder = leftover_sockets.cache() / f"appliance-{hashlib.sha256(packed).hexdigest()[:16]}"
        if not (folder / "README.fixed").exists() or (folder / "root").resolve() != (source / "root").resolve():
            _make(source, folder, packed)
        if not _ours(folder):
            return None
    except (OSError, ValueError, struct.error):
        return None
    return folder


def _ours(folder: Path) -> bool:
    """Whether nobody else made, or can write, what boots on the victim's disk: looked at before every start."""
    for each in (folder.parent, folder, *(folder / name for name in ("kernel", "initrd", "root"))):
        found = each.lstat()
        if stat.S_ISLNK(found.st_mode) and each.parent == folder:
            found = each.stat()  # ours lead to libguestfs's own, which was looked at
        if found.st_uid != os.geteuid() or found.st_mode & 0o022 or stat.S_ISLNK(found.st_mode):
            return False
    return True


def _current(source: Path) -> bool:
    """Whether libguestfs would use it as it is."""
    built = (source / "root").stat().st_mtime
    return (source / "initrd").exists() and (not DPKG.exists() or DPKG.stat().st_mtime < built)


def _make(source: Path, folder: Path, packed: bytes) -> None:
    kernel = unpacked(packed)
    for old in folder.parent.glob("appliance-????????????????"):
        for name in ("README.fixed", "kernel", "initrd", "root"):
            (old / name).unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    for name in ("initrd", "root"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(source / name)
    partial = folder / f"kernel.{os.getpid()}"
    partial.write_bytes(kernel)
    partial.rename(folder / "kernel")
    (folder / "README.fixed").touch()


def unpacked(image: bytes) -> bytes:
    """The ELF kernel in a bzImage. Raises ValueError, struct.error."""
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("no bzImage")
    start, length = struct.unpack_from("<II", image, 0x248)
    begin = ((image[0x1F1] or 4) + 1) * 512 + start
    payload = image[begin : begin + length]
    try:
        kernel = _unpack(payload)
    except (lzma.LZMAError, zlib.error, OSError, EOFError) as error:
        raise ValueError(f"a damaged payload: {error}") from None
    if kernel[:4] != b"\x7fELF" or not any(note in kernel for note in PVH):
        raise ValueError("no kernel with a PVH entry")
    return kernel


def _unpack(payload: bytes) -> bytes:
    if payload[:6] == b"\xfd7zXZ\0" or payload[:3] == b"]\0\0":
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b"\x1f\x8b":
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload)
    if payload[:3] == b"BZh":
        return bz2.BZ2Decompressor().decompress(payload)
    raise ValueError("a compression that is not read here")
