"""The real pieces a rehearsal guest is made of: Debian's kernel and modules, busybox, GRUB 0.97 and GRUB 2."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from engines.job import folders
from engines.job.errors import Refused

MODULES = ("ata_piix", "sd_mod", "ext4", "8139cp", "8139too", "dm-mod", "crc32c_generic", "libcrc32c")
VIRTIO = ("virtio_blk", "virtio_pci", "virtio_net")


def cache() -> Path:
    """Where unpacked packages and built guests are kept."""
    return folders.made(folders.cache("rehearsal"))


def package(name: str) -> Path:
    """A Debian package unpacked into the cache, not installed: GRUB 0.97 and GRUB 2 exclude each other as packages."""
    folder = cache() / name
    if folder.is_dir():
        return folder
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache()))
    try:
        _run(["apt-get", "download", "-q", name], scratch, f"install it: apt-get install {name}")
        found = next(scratch.glob("*.deb"))
        _run(["dpkg-deb", "-x", str(found), str(scratch / "tree")], scratch, "free some room in the cache")
        (scratch / "tree").rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process has unpacked it meanwhile
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _run(command: list[str], folder: Path, helps: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise Refused(f"{command[0]}: {said[-1]}", helps)


def busybox() -> Path:
    """A static busybox."""
    installed = Path("/bin/busybox")
    if installed.exists() and b"/lib64/ld-linux" not in installed.read_bytes()[:4096]:
        return installed
    return package("busybox-static") / "bin" / "busybox"


def kernel() -> tuple[Path, Path]:
    """Debian's newest kernel here that has its modules: (vmlinuz, /lib/modules/VERSION). Raises Refused."""
    images = sorted(Path("/boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for image in images:
        modules = Path("/lib/modules") / image.name.removeprefix("vmlinuz-")
        if (modules / "modules.dep").exists() and os.access(image, os.R_OK):
            return image, modules
    raise Refused(f"no kernel with modules in /boot ({platform.machine()})", "apt-get install linux-image-amd64")


def modules(names: tuple[str, ...], source: Path) -> list[Path]:
    """The modules of those names and all they need, as paths below `source`; built-in ones are left out."""
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[Path(path).name.removesuffix(".ko").replace("-", "_")] = path
    found: dict[str, None] = {}
    for name in names:
        path = by_name.get(name.replace("-", "_"), "")
        for each in (path, *needs.get(path, ())):
            if each:
                found[each] = None
    return [Path(each) for each in found]


def grub_shell(disk: Path, commands: list[str]) -> str:
    """Run GRUB 0.97's shell over a disk image as (hd0); its 32-bit loader is used in place, not installed."""
    loader = package("libc6-i386") / "lib32" / "ld-linux.so.2"
    grub = package("grub-legacy") / "usr" / "sbin" / "grub"
    script = "\n".join([f"device (hd0) {disk}", *commands, "quit", ""])
    command = [
        str(loader), "--library-path", str(loader.parent),
        str(grub), "--batch", "--no-floppy", "--device-map=/dev/null",
    ]  # fmt: skip
    done = subprocess.run(command, input=script.encode(), capture_output=True, check=False)
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode or "Error" in said:
        raise Refused(f"GRUB does not install on {disk}: {said.strip().splitlines()[-1:]}", "build the guest anew")
    return said


def grub_legacy_stages() -> Path:
    """The folder with stage1, e2fs_stage1_5 and stage2."""
    return package("grub-legacy") / "usr" / "lib" / "grub" / "x86_64-pc"
