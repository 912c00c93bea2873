"""A UEFI guest's disk: GPT, and an EFI system partition with GRUB where only the machine's own variables find it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from engines.job.errors import Refused
from engines.rehearsal.guest import parts

SECTOR = 512
SECTORS = 64 * 2048  # of the system partition
TABLE = 2048  # sectors at the end for GPT's second table
TYPES = {0x83: "linux", 0x82: "swap", 0xEF: "uefi"}
MODULES = (
    "part_gpt", "ext2", "fat", "normal", "configfile", "linux", "test", "echo", "loadenv", "all_video", "efi_gop",
)  # fmt: skip
HELPS = "apt-get install dosfstools mtools grub-efi-amd64-bin fdisk"


def table(path: Path, partitions: list[tuple[int, int, int]]) -> None:
    """Write GPT over whatever table there is; partitions: (start, sectors, MBR type)."""
    rows = [f"start={start}, size={size}, type={TYPES[kind]}" for start, size, kind in partitions]
    script = "\n".join(["label: gpt", "first-lba: 34", *rows, ""])
    _run(["sfdisk", "-q", "--wipe", "never", "--wipe-partitions", "never", str(path)], script)


def system_partition(path: Path, offset: int) -> None:
    """A FAT file system at `offset` with EFI/centos/grubx64.efi, and nothing in EFI/BOOT."""
    maker = shutil.which("grub-mkimage") or str(parts.package("grub-common") / "usr/bin/grub-mkimage")
    modules = parts.package("grub-efi-amd64-bin") / "usr/lib/grub/x86_64-efi"
    with tempfile.TemporaryDirectory(prefix="crashcart-esp-") as folder:
        loader, image = Path(folder, "grubx64.efi"), Path(folder, "esp")
        _run([maker, "-O", "x86_64-efi", "-d", str(modules), "-p", "(hd0,gpt1)/grub2", "-o", str(loader), *MODULES])
        with image.open("wb") as stream:
            stream.truncate(SECTORS * SECTOR)
        _run(["mkfs.vfat", "-F", "32", "-i", "c5c5e5f1", str(image)])
        _run(["mmd", "-i", str(image), "::EFI", "::EFI/centos"])
        _run(["mcopy", "-i", str(image), str(loader), "::EFI/centos/grubx64.efi"])
        with path.open("r+b") as stream:
            stream.seek(offset)
            stream.write(image.read_bytes())


def _run(command: list[str], given: str = "") -> None:
    try:
        done = subprocess.run(command, input=given.encode(), capture_output=True, check=False)
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not installed", HELPS) from None
    if done.returncode:
        raise Refused(f"{command[0]}: {done.stderr.decode('utf-8', 'replace').strip()[-200:]}", HELPS)
