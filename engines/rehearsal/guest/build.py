"""Builds a rehearsal guest's disk image: partitions, file systems, boot loader."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engines.job.errors import Refused
from engines.rehearsal.guest import config, lvm, parts, tree, uefi, xfs
from engines.rehearsal.guest.shape import MIB, Shape

SECTOR = 512
FIRST = 63  # sectors; where fdisk of that time starts the first partition
SWAP, DATA = 64, 64  # MiB
CORE_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "configfile", "linux", "linux16", "test", "echo", "loadenv")


@dataclass(frozen=True)
class Partition:
    """One primary partition; start and size in sectors."""

    start: int
    sectors: int
    kind: int
    active: bool = False

    @property
    def offset(self) -> int:
        """Bytes from the start of the disk."""
        return self.start * SECTOR

    @property
    def size(self) -> int:
        """Bytes."""
        return self.sectors * SECTOR


def build(shape: Shape, path: Path) -> Path:
    """Build the guest as a new file at `path`; takes seconds. Raises Refused where a part is missing."""
    if path.exists():
        raise Refused(f"{path} exists", "name a new file, or remove it")
    with tempfile.TemporaryDirectory(prefix="crashcart-guest-") as folder:
        grown = Path(folder, "tree")
        grown.mkdir()
        tree.grow(shape, grown)
        raw = path if shape.format == "raw" else Path(folder, "disk.raw")
        _image(shape, grown, raw)
        if shape.format == "qcow2":
            _run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)])
    return path


def _run(command: list[str], given: bytes | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        raise Refused(f"{command[0]}: {said}", "apt-get install e2fsprogs qemu-utils util-linux kmod cpio xfsprogs")
    return done.stdout.decode("utf-8", "replace")


def layout(shape: Shape) -> list[Partition]:
    """/boot, swap, root; on LVM /boot and one physical volume."""
    boot = Partition(FIRST, shape.boot * MIB // SECTOR, 0x83, active=True)
    after = boot.start + boot.sectors
    end = shape.size * MIB // SECTOR
    if shape.root == "lvm":
        return [boot, Partition(after, end - after, 0x8E)]
    swap = Partition(after, SWAP * MIB // SECTOR, 0x82)
    rest = swap.start + swap.sectors
    if shape.uefi:
        end -= uefi.SECTORS + uefi.TABLE
        return [boot, swap, Partition(rest, end - rest, 0x83), Partition(end, uefi.SECTORS, 0xEF)]
    return [boot, swap, Partition(rest, end - rest, 0x83)]


def _image(shape: Shape, grown: Path, path: Path) -> None:
    found = layout(shape)
    with path.open("wb") as stream:
        stream.truncate(shape.size * MIB)
        stream.seek(446)
        for each in found:
            flag = 0x80 if each.active else 0
            stream.write(
                struct.pack("<B3sB3sII", flag, b"\xfe\xff\xff", each.kind, b"\xfe\xff\xff", each.start, each.sectors)
            )
        stream.seek(510)
        stream.write(b"\x55\xaa")
    boot = grown.with_name("boot")
    (grown / "boot").rename(boot)
    (grown / "boot").mkdir()
    if shape.uefi:
        (boot / "efi").mkdir()
    _loader_files(shape, boot)
    _filesystem(shape, path, found[0].offset, found[0].size, boot, "/boot", config.BOOT_UUID)
    if shape.root == "lvm":
        _volumes(shape, path, found[1], grown)
    else:
        uuid = config.SWAP_UUID if shape.root == "all-uuid" else ""
        _swap(path, found[1].offset, found[1].size, f"SWAP-{shape.disk}2", uuid)
        _root(shape, path, found[2], grown)
    if shape.uefi:
        uefi.table(path, [(each.start, each.sectors, each.kind) for each in found])
        uefi.system_partition(path, found[3].offset)
    _loader(shape, path, boot)


def data_disk(path: Path) -> Path:
    """A guest's second disk as a new raw image at `path`: one partition with an empty file system."""
    with path.open("wb") as stream:
        stream.truncate(DATA * MIB)
    _run(["sfdisk", "-q", str(path)], b"start=2048, type=83\n")
    size = DATA * 1024 - 1024
    _run(["mke2fs", "-q", "-F", "-t", "ext3", "-E", f"offset={2048 * SECTOR}", str(path), f"{size}k"])
    return path


def _root(shape: Shape, path: Path, where: Partition, grown: Path) -> None:
    if not shape.xfs:
        _filesystem(shape, path, where.offset, where.size, grown, "/", config.ROOT_UUID)
        return
    made, described = grown.with_name("root.xfs"), grown.with_name("prototype")
    described.write_text(xfs.prototype(grown))
    made.touch()
    _run(
        [
            *("mkfs.xfs", "-q", "-m", f"uuid={config.ROOT_UUID}", "-p", str(described)),
            *("-d", f"file,name={made},size={where.size}"),
        ]
    )
    with made.open("rb") as old, path.open("r+b") as new:
        at = 0
        while block := old.read(MIB):
            if block.strip(b"\0"):
                new.seek(where.offset + at)
                new.write(block)
            at += len(block)


def _volumes(shape: Shape, path: Path, where: Partition, grown: Path) -> None:
    root, swap = lvm.volumes(where.size, SWAP * MIB // lvm.EXTENT)
    with path.open("r+b") as stream:
        for offset, content in lvm.headers(where.size, (root, swap), f"{shape.disk}2").items():
            stream.seek(where.offset + offset)
            stream.write(content)
    _filesystem(shape, path, where.offset + root.offset, root.extents * lvm.EXTENT, grown, "", config.ROOT_UUID)
    _swap(path, where.offset + swap.offset, swap.extents * lvm.EXTENT, "")


def _filesystem(shape: Shape, path: Path, offset: int, size: int, content: Path, label: str, uuid: str) -> None:
    # GRUB 0.97 of Debian reads neither extents nor the later ext4 features; CentOS carried a patch for extents.
    features = "^extents,^64bit,^metadata_csum,^flex_bg,^uninit_bg,^metadata_csum_seed,^orphan_file"
    known = subprocess.run(["mke2fs", "-V"], capture_output=True, text=True, check=False).stderr
    if "1.47" not in known:
        features = features.replace(",^metadata_csum_seed,^orphan_file", "")
    wanted = [] if shape.filesystem == "ext3" or shape.grub2 else ["-O", features]
    command = ["mke2fs", "-q", "-F", "-t", shape.filesystem, *wanted, "-m", "1", "-U", uuid, "-L", label]
    _run([*command, "-E", f"offset={offset},root_owner=0:0", "-d", str(content), str(path), f"{size // 1024}k"])


def _swap(path: Path, offset: int, size: int, label: str, uuid: str = "") -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent) as part:
        part.truncate(size)
        named = [*(["-L", label] if label else []), *(["-U", uuid] if uuid else [])]
        _run(["mkswap", "-q", *named, part.name])
        head = Path(part.name).read_bytes()[:4096]
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(head)


# ── boot loaders ────────────────────────────────────────────────────────────────────────────────────


def _loader_files(shape: Shape, boot: Path) -> None:
    if shape.family == "alpine":
        return
    if not shape.grub2:
        for each in parts.grub_legacy_stages().iterdir():
            shutil.copyfile(each, boot / "grub" / each.name)
        return
    source = parts.package("grub-pc-bin") / "usr/lib/grub/i386-pc"
    shutil.copytree(
        source, boot / shape.grub2 / "i386-pc", ignore=shutil.ignore_patterns("*.image", "*.module", "gfx*", "efi*")
    )


def _loader(shape: Shape, path: Path, boot: Path) -> None:
    if shape.uefi:
        return
    if shape.family == "alpine":
        _extlinux(path, layout(shape)[0])
    elif shape.grub2:
        _grub2(path, boot, shape.grub2)
    else:
        parts.grub_shell(path, ["root (hd0,0)", "setup (hd0)"])


def _extlinux(path: Path, where: Partition) -> None:
    """SYSLINUX's own installer wants the file system mounted; its MBR is in the package."""
    with tempfile.TemporaryDirectory(prefix="crashcart-extlinux-") as folder:
        options = f"loop,offset={where.offset},sizelimit={where.size}"
        script = 'mount -o "$1" "$2" "$3" && extlinux --install "$3"; status=$?; umount "$3"; exit $status'
        _run(["unshare", "--mount", "sh", "-c", script, "sh", options, str(path), folder])
    code = Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes()[:440]
    with path.open("r+b") as stream:
        stream.write(code)


def _grub2(path: Path, boot: Path, folder: str) -> None:
    """boot.img into the first sector, core.img into the gap behind it: what grub-bios-setup does."""
    source = parts.package("grub-pc-bin") / "usr/lib/grub/i386-pc"
    maker = shutil.which("grub-mkimage") or str(parts.package("grub-common") / "usr/bin/grub-mkimage")
    core = boot.with_name("core.img")
    command = [maker, "-O", "i386-pc", "-d", str(source), "-p", f"(hd0,msdos1)/{folder}", "-o", str(core)]
    _run([*command, "biosdisk", "part_msdos", "ext2"])
    image = bytearray(core.read_bytes())
    if len(image) > (FIRST - 1) * SECTOR:
        raise Refused(
            f"GRUB's core image takes {len(image)} bytes, the gap {(FIRST - 1) * SECTOR}", "use fewer modules"
        )
    struct.pack_into("<QHH", image, 0x1F4, 2, (len(image) - 1) // SECTOR, 0x820)  # blocklist of diskboot.img
    first = bytearray((source / "boot.img").read_bytes())
    struct.pack_into("<Q", first, 0x5C, 1)  # where core.img lies
    with path.open("r+b") as stream:
        table = stream.read(SECTOR)[440:]
        stream.seek(0)
        stream.write(bytes(first[:440]) + table + bytes(image))
