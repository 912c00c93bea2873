"""The guest's kernels: which boot, which know virtio, and what each module needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from engines.guest.appliance import GuestError
from engines.guest.system import System

MOST = 300  # kernels that are looked at
LONGEST = 16 << 20  # bytes of a modules.dep; 0.6 MiB is usual
DISK_MODULES = ("virtio_blk", "virtio_pci")
OLDEST_EL5 = 128  # 2.6.18-128.el5, RHEL 5.3, is the first with virtio


@dataclass(frozen=True)
class Kernel:
    """One kernel with its modules. needs: by module path below /lib/modules/VERSION, what it depends on."""

    version: str
    needs: dict[str, tuple[str, ...]] = field(repr=False)
    builtin: frozenset[str] = field(repr=False)

    @property
    def xen(self) -> bool:
        """Whether it runs under Xen only."""
        return "xen" in self.version.lower()

    @property
    def too_old(self) -> bool:
        """Whether its version is from before virtio: the whole 2.6.18 line of RHEL 5 before 5.3, and older ones."""
        if found := re.match(r"2\.6\.18-(\d+)\.(?:[\d.]*)el5", self.version):
            return int(found.group(1)) < OLDEST_EL5
        numbers = tuple(int(each) for each in re.findall(r"\d+", self.version)[:3])
        return numbers < (2, 6, 9)

    @property
    def virtio(self) -> bool:
        """Whether it can drive a virtio disk, by module or built in."""
        return all(self.has(name) for name in DISK_MODULES)

    def has(self, name: str) -> bool:
        """Whether it knows a driver."""
        return self.module(name) is not None or self.is_builtin(name)

    def is_builtin(self, name: str) -> bool:
        """Whether a driver is in the kernel itself."""
        return _plain(name) in self.builtin

    def module(self, name: str) -> str | None:
        """A module's path below /lib/modules/VERSION."""
        return next((path for path in self.needs if module_name(path) == _plain(name)), None)

    def wanted(self, names: tuple[str, ...]) -> list[str]:
        """These modules and all they need, by name; built-in ones are left out."""
        found: dict[str, None] = {}
        queue = [path for name in names if (path := self.module(name))]
        while queue:
            path = queue.pop()
            if module_name(path) not in found:
                found[module_name(path)] = None
                queue += self.needs.get(path, ())
        return sorted(found)


def module_name(path: str) -> str:
    """virtio_blk for kernel/drivers/block/virtio-blk.ko.xz."""
    return _plain(re.sub(r"\.ko(\.\w+)?$", "", path.rsplit("/", 1)[-1]))


def _plain(name: str) -> str:
    return name.replace("-", "_")


def dependencies(text: str, version: str) -> dict[str, tuple[str, ...]]:
    """modules.dep of both kinds: absolute paths with continued lines (2.6.18), relative ones (later)."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        path, mark, rest = line.partition(":")
        if mark and ".ko" in path:
            found[_below(path, version)] = tuple(_below(each, version) for each in rest.split())
    return found


def _below(path: str, version: str) -> str:
    return path.strip().removeprefix(f"/lib/modules/{version}/")


def installed(system: System) -> list[Kernel]:
    """Every kernel that has a folder of modules of its own."""
    return [found for version in system.names("/lib/modules")[:MOST] if (found := _kernel(system, version))]


def _kernel(system: System, version: str) -> Kernel | None:
    folder = f"/lib/modules/{version}"
    try:
        if system.call("is_symlink", folder):
            return None
        text = system.content(f"{folder}/modules.dep", LONGEST).decode("latin-1")
    except GuestError:
        return None
    return Kernel(version, dependencies(text, version), _builtin(system, version))


def told(system: System, path: str) -> str:
    """The version that a kernel's file says of itself; empty where it says none. path: as a boot loader writes it.

    Source: Linux, Documentation/arch/x86/boot.rst, kernel_version.
    """
    for place in (f"/boot/{path.rsplit('/', 1)[-1]}", path):
        try:
            head: bytes = system.call("pread", place, 0x210, 0)
            if head[0x202:0x206] == b"HdrS":
                at = int.from_bytes(head[0x20E:0x210], "little") + 0x200
                words: bytes = system.call("pread", place, 128, at)
                return words.split(b"\0")[0].decode("latin-1").partition(" ")[0]
        except GuestError:
            continue
    return ""


def _builtin(system: System, version: str) -> frozenset[str]:
    listed = system.read(f"/lib/modules/{version}/modules.builtin")
    if listed is not None:
        return frozenset(module_name(line) for line in listed.decode("latin-1").split())
    config = (system.read(f"/boot/config-{version}") or b"").decode("latin-1")
    found = re.findall(r"^CONFIG_(VIRTIO(?:_BLK|_PCI|_NET)?|EXT[234]_FS|XFS_FS|BLK_DEV_DM)=y", config, re.MULTILINE)
    names = {"EXT2_FS": "ext2", "EXT3_FS": "ext3", "EXT4_FS": "ext4", "XFS_FS": "xfs", "BLK_DEV_DM": "dm_mod"}
    return frozenset(names.get(each, each.lower()) for each in found)


def filesystem_module(kernel: Kernel, kind: str) -> str:
    """The module that mounts a kind of file system: later kernels read ext3 by ext4."""
    if kernel.has(kind) or not kind.startswith("ext"):
        return kind
    return "ext4" if kernel.has("ext4") else kind


def order(version: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts versions as people do."""
    return tuple(
        (int(each), "") if each.isdigit() else (-1, each) for each in re.findall(r"\d+|[a-z]+", version.lower())
    )
