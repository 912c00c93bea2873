"""The system on a disk: its root found cheaply, its file systems mounted as its own fstab says, its files at hand."""

from __future__ import annotations

import base64
import posixpath
import tarfile
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from engines.guest import specs
from engines.guest.appliance import Appliance, GuestError
from engines.guest.texts import unfit
from engines.job.errors import Refused

PLAIN = ("ext2", "ext3", "ext4", "xfs", "btrfs", "reiserfs", "jfs")
NEEDED = ("/boot", "/usr", "/var", "/boot/efi")  # what a guest's own tools read or write
PACKAGES = {"xfs": "libguestfs-xfs", "reiserfs": "libguestfs-reiserfs", "jfs": "libguestfs-jfs"}
TOOL = 3600.0  # s for a guest's own program: an initrd takes minutes under emulation on a busy machine
MOST = 32 << 20  # bytes of /etc that are read
LARGEST = 1024  # KiB of one file in it
FOLDER = 1 << 20  # bytes of a folder itself whose names are read; one of 5,000 kernels has 0.3 MiB
NAMES = 5000  # of one folder that are looked at: each may cost a call
LEFT_OUT = ("selinux/targeted", "selinux/strict", "pki", "ssl", "gconf", "services", "udev/hwdb*", "firmware")
PACK = (
    "cd /sysroot/etc && [ ! -L /sysroot/etc ] && find . -xdev "
    + " ".join(f"-path './{each}' -prune -o" for each in LEFT_OUT)
    + f" \\( -type f -size -{LARGEST + 1}k -o -type l \\) -print0 | head -c 4194304"
    + " | tar --null --no-recursion --ignore-failed-read -cf - -T - 2>/dev/null"
    + f" | head -c {MOST + 1} | gzip -1 > /tmp/etc.tgz; stat -c %s /tmp/etc.tgz"
)
PATH = "PATH=/sbin:/usr/sbin:/bin:/usr/bin LC_ALL=C; export PATH LC_ALL; "


@dataclass
class System:
    """A mounted guest.

    mounts: (mount point, appliance device), root first. types: file systems by device. volumes: LVM's among them.
    letters: of the guest's own names for its disks, in the order of the appliance's.
    """

    appliance: Appliance
    root: str
    mounts: list[tuple[str, str]]
    types: dict[str, str]
    etc: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    volumes: tuple[str, ...] = ()
    letters: str = ""

    def call(self, name: str, *args: Any, **named: Any) -> Any:
        """One libguestfs call."""
        return self.appliance.call(name, *args, **named)

    def read(self, path: str) -> bytes | None:
        """A file's content, or None where there is none."""
        path = self.real(path)
        if path.startswith("/etc/"):
            return self.etc.get(path)
        try:
            found = self.content(path, LARGEST * 1024 * 4)
        except GuestError:
            return None
        if why := unfit(found, path):
            self.warn(f"{path} is left out: it {why}, as one made to do harm")
            return None
        return found

    def warn(self, text: str) -> None:
        """Say it once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def content(self, path: str, most: int) -> bytes:
        """A plain file of at most that many bytes; libguestfs puts any size into TMPDIR. Raises GuestError."""
        if not self.call("is_file", path, followsymlinks=True):
            raise GuestError(f"{path} is no plain file")
        if (size := int(self.call("filesize", path))) > most:
            raise GuestError(f"{path} is {size} bytes, more than the {most} that such a file may have")
        found: bytes = self.call("read_file", path)
        return found

    def write(self, path: str, content: bytes) -> None:
        """Replace a file's content; its inode, owner, mode and label stay."""
        self.call("write", self.real(path), content)

    def real(self, path: str) -> str:
        """`path` with the symbolic links of /etc followed."""
        for _ in range(8):
            if path not in self.links:
                return path
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), self.links[path]))
        return path

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where it is missing, or made so large that reading it would fill the host."""
        try:
            if int(self.call("statns", folder)["st_size"]) > FOLDER:
                self.warn(f"{folder} is left out: the folder alone has more than {FOLDER >> 20} MiB of names")
                return []
            return sorted(self.call("ls", folder))[:NAMES]
        except GuestError:
            return []

    def run(self, command: str) -> tuple[int, str]:
        """A shell command by the guest's own programs: (exit status, output and errors together)."""
        marked = f'{PATH}{{ {command}\n}} 2>&1; echo "crashcart-status=$?"'
        try:
            said = str(self.call("sh", marked, within=TOOL))
        except GuestError as error:
            return 255, str(error)
        text, _, status = said.rpartition("crashcart-status=")
        return (int(status), text) if status.strip().isdigit() else (255, said)

    def name_disk(self, name: str) -> None:
        """Let the guest's tools see its disk by a further name, such as vda: they look at the devices of fstab."""
        self.run(f"cd /dev && for each in sda*; do [ -e {name}${{each#sda}} ] || ln -s $each {name}${{each#sda}}; done")

    def mount_again(self, *, writable: bool) -> None:
        """Mount everything anew."""
        self.call("umount_all")
        for where, device in self.mounts:
            self.call("mount" if writable else "mount_ro", device, where)

    def device_of(self, where: str) -> str:
        """The appliance's device that holds a path."""
        inside = [mount for mount in self.mounts if (where + "/").startswith(mount[0].rstrip("/") + "/")]
        return max(inside, key=lambda mount: len(mount[0]))[1]


def find(appliance: Appliance, scratch: Path) -> System:
    """The one Linux system on the disk, mounted read-only. Raises Refused where there is none, or several."""
    volumes = tuple(appliance.call("lvs"))
    known = (*appliance.call("list_partitions"), *appliance.call("list_md_devices"), *volumes)
    types = {device: _type(appliance, device) for device in known}
    unread: dict[str, GuestError] = {}
    plain = [device for device, kind in types.items() if kind in PLAIN]
    roots = [device for device in plain if _is_root(appliance, device, unread)]
    if unread and not roots:
        raise _unreadable(appliance, types, unread)
    root = roots[0] if len(roots) == 1 else _inspected(appliance, types, len(roots))
    types.setdefault(root, _type(appliance, root))
    return _mounted(appliance, scratch, root, types, volumes)


def _type(appliance: Appliance, device: str) -> str:
    try:
        return str(appliance.call("vfs_type", device))
    except GuestError:
        return ""


def _is_root(appliance: Appliance, device: str, unread: dict[str, GuestError]) -> bool:
    try:
        appliance.call("mount_ro", device, "/")
    except GuestError as error:
        unread[device] = error
        return False
    found = bool(appliance.call("is_file", "/etc/fstab", followsymlinks=True)) and bool(
        appliance.call("is_dir", "/sbin", followsymlinks=True)
    )
    appliance.call("umount_all")
    return found


def _unreadable(appliance: Appliance, types: dict[str, str], unread: dict[str, GuestError]) -> Refused:
    """Why the root is not found: what would hold it does not mount."""
    for device in unread:
        package = PACKAGES.get(types[device])
        if package and not appliance.call("feature_available", [types[device]]):
            why = f"the guest's {device} is {types[device]}, which the appliance here cannot read"
            return Refused(why, f"apt-get install {package}")
    named = "; ".join(f"{device} ({types[device]}): {error}" for device, error in unread.items())
    return Refused(f"no root is found, and this does not mount: {named}", "check it from a rescue disc, then try again")


def _inspected(appliance: Appliance, types: dict[str, str], found: int) -> str:
    """The root by libguestfs's own, slow inspection: arrays, subvolumes, several systems."""
    roots = list(appliance.call("inspect_os"))
    if len(roots) == 1 and appliance.call("inspect_get_type", roots[0]) == "linux":
        return str(roots[0])
    if locked := [device for device, kind in types.items() if kind in ("crypto_LUKS", "crypt")]:
        raise Refused(
            f"the root is encrypted ({', '.join(locked)}) and there is no key", "convert it from inside the guest"
        )
    if old := [device for device, kind in types.items() if kind == "LVM1_member"]:
        raise Refused(
            f"the volume group on {', '.join(old)} has LVM's first format, which nothing reads today",
            "bring it to the second in the guest, from a rescue disc of its time: vgconvert -M2",
        )
    if len(roots) > 1 or found > 1:
        raise Refused(f"the disk holds {max(len(roots), found)} systems", "convert a disk with one system on it")
    seen = ", ".join(f"{device} {kind or 'unknown'}" for device, kind in types.items()) or "no partitions"
    raise Refused(f"no Linux system is found on the disk ({seen})", "name the disk that the guest boots from")


def _mounted(appliance: Appliance, scratch: Path, root: str, types: dict[str, str], volumes: tuple[str, ...]) -> System:
    appliance.call("mount_ro", root, "/")
    system = System(appliance, root, [("/", root)], types, volumes=volumes)
    _load_etc(system, scratch)
    rows = _rows(system.etc.get(system.real("/etc/fstab"), b"").decode("latin-1"))
    system.letters = specs.letters(rows, next((row[0] for row in rows if row[1] == "/"), ""), types)
    for spec, where in _wanted(rows):
        device = resolve(system, spec)
        try:
            if device is None:
                raise GuestError("no such device on this disk")
            appliance.call("mount_ro", device, where)
            system.mounts.append((where, device))
        except GuestError as error:
            if where == "/boot":
                raise Refused(
                    f"/boot ({spec}) does not mount: {error}", "repair the guest's fstab or file system first"
                ) from None
            system.warnings.append(f"{where} ({spec}) does not mount: {error}")
    return system


def _rows(fstab: str) -> list[list[str]]:
    rows = [line.split() for line in fstab.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [row for row in rows if len(row) >= 3]


def _wanted(rows: list[list[str]]) -> list[tuple[str, str]]:
    """(spec, mount point) of what the work needs, shortest first."""
    found = [(row[0], row[1].rstrip("/")) for row in rows if row[1].rstrip("/") in NEEDED]
    return sorted(found, key=lambda row: len(row[1]))


def resolve(system: System, spec: str) -> str | None:
    """The appliance's device for an fstab spec; this disk is the appliance's first."""
    return specs.resolve(system.call, system.types, spec, system.letters)


def _load_etc(system: System, scratch: Path) -> None:
    """All of /etc in a few calls, as bytes: a call costs a tenth of a second under emulation, a file nearly nothing.

    The guest says how much lies there: large files are left out by their size, before a byte of them is read, and the
    rest has an end. Raises Refused.
    """
    appliance = system.appliance
    size = int(appliance.bytewise("shell", PACK).strip() or 0)
    packed = b""
    while len(packed) < min(size, MOST):
        piece = f"dd if=/tmp/etc.tgz bs=1M skip={len(packed) >> 20} count=2 2>/dev/null | base64 -w0"
        got = base64.b64decode(appliance.bytewise("shell", piece))
        if not got:
            break
        packed += got
    try:
        content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, MOST + 1)
    except zlib.error:
        raise Refused("the guest's /etc cannot be read", "check its file systems from a rescue disc") from None
    if len(content) > MOST:
        raise Refused(f"the guest's /etc holds more than {MOST >> 20} MiB of small files", "clear it up in the guest")
    with tempfile.TemporaryFile(dir=scratch) as kept:
        kept.write(content)
        kept.seek(0)
        _take(system, kept)


def _take(system: System, archive: IO[bytes]) -> None:
    with tarfile.open(fileobj=archive, errorlevel=0) as tar:
        for member in tar:
            path = posixpath.normpath("/etc/" + member.name)
            if member.issym():
                system.links[path] = member.linkname
            elif member.isfile() and member.size <= LARGEST << 10 and (stream := tar.extractfile(member)):
                if not (why := unfit(content := stream.read())):
                    system.etc[path] = content
                elif b"\0" not in content[:4096]:
                    system.warn(f"{path} is left out: it {why}")
