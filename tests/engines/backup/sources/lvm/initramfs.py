"""An initramfs of busybox and kernel modules that hands over to the host's own root, read-only over 9p."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "9p",
    "9pnet_virtio",
    "dm-mod",
    "dm-snapshot",
    "dm-thin-pool",
    "loop",
    "ext4",
)
LOOKED_UP_BY_NAME = ("crc32c_generic", "nls_ascii")  # what ext4 asks the running kernel for, which has no modprobe

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod /modules/$module.ko; done < /modules/order
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
for here in proc sys dev; do /bin/busybox mount -o move /$here /host/$here; done
/bin/busybox mount -t tmpfs run /host/run
/bin/busybox mount -t cgroup2 cgroup /host/sys/fs/cgroup
/bin/busybox ip link set lo up
. /environment
/bin/busybox chroot /host "$PYTHON" -m tests.engines.backup.sources.lvm.inside.agent
/bin/busybox reboot -f
"""


def kernel() -> tuple[Path, Path]:
    """Debian's newest kernel and its folder of modules. Raises FileNotFoundError, naming the package."""
    for folder in sorted(Path("/lib/modules").glob("*"), reverse=True):
        image = Path("/boot") / f"vmlinuz-{folder.name}"
        if image.is_file() and (folder / "modules.dep").is_file():
            return image, folder
    raise FileNotFoundError("no kernel with modules is installed: apt-get install linux-image-amd64")


def build(environment: dict[str, str]) -> bytes:
    """The archive (cpio newc). `environment` becomes the agent's."""
    _, folder = kernel()
    order = _load_order(folder)
    lines = [f"export {name}='{value}'" for name, value in environment.items()]
    entries: list[tuple[str, int, bytes]] = [
        (name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "proc", "sys", "dev", "host", "modules")
    ]
    for path in (BUSYBOX, *_libraries(BUSYBOX)):
        above = [folder for folder in reversed(path.parents) if folder != Path("/")]
        known = {name for name, _, _ in entries}
        entries += [(str(at)[1:], stat.S_IFDIR | 0o755, b"") for at in above if str(at)[1:] not in known]
        entries += [(str(path)[1:], stat.S_IFREG | 0o755, path.read_bytes())]
    entries += [("init", stat.S_IFREG | 0o755, INIT.encode())]
    entries += [("environment", stat.S_IFREG | 0o644, ("\n".join(lines) + "\n").encode())]
    entries += [("modules/order", stat.S_IFREG | 0o644, "".join(f"{path.stem}\n" for path in order).encode())]
    entries += [(f"modules/{path.stem}.ko", stat.S_IFREG | 0o644, path.read_bytes()) for path in order]
    return b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1)) + _entry(0, "TRAILER!!!", 0, b"")


def _libraries(program: Path) -> list[Path]:
    """What a program is linked against, by the names it looks for; nothing where it is static."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    found = [word for line in said.stdout.splitlines() for word in line.split() if word.startswith("/")]
    return [Path(name) for name in found] if said.returncode == 0 else []


def _load_order(folder: Path) -> list[Path]:
    """Every module that is needed, what it depends on first."""
    needs: dict[str, list[str]] = {}
    where: dict[str, Path] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        where[Path(name).stem] = folder / name
        needs[Path(name).stem] = [Path(other).stem for other in others.split()]
    order: list[str] = []

    def add(name: str) -> None:
        for other in needs[name]:
            add(other)
        if name not in order:
            order.append(name)

    for name in (*(extra for extra in LOOKED_UP_BY_NAME if extra in where), *MODULES):
        add(name)
    return [where[name] for name in order]


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    """One file of a cpio archive, format newc (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
