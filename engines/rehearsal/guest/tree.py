"""The guest's file tree before it becomes a disk: busybox, configuration of the era, its own initrd tool."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

from engines.job.errors import Refused
from engines.rehearsal.guest import config, parts, rpmdb
from engines.rehearsal.guest.shape import Shape, initrd_name

TOOLS = Path(__file__).with_name("tools")
FOLDERS = (
    "bin sbin usr/bin usr/sbin usr/libexec etc/init.d etc/sysconfig/network-scripts etc/lvm/cache etc/modprobe.d "
    "etc/rc.d etc/rc2.d etc/rc3.d etc/rc4.d etc/rc5.d etc/blkid boot/grub dev proc sys tmp var/lib var/log root home "
    "mnt data lib/modules lib64 run selinux"
)


def grow(shape: Shape, tree: Path) -> None:
    """Everything below `/`, with /boot in it. Needs root, for device nodes and chroot."""
    if os.geteuid() != 0:
        raise Refused("a rehearsal guest is built by root (device nodes, chroot)", "run it with sudo")
    for folder in FOLDERS.split():
        (tree / folder).mkdir(parents=True, exist_ok=True)
    os.mknod(tree / "dev/console", 0o600 | 0o020000, os.makedev(5, 1))
    os.mknod(tree / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
    _userland(shape, tree)
    _kernels(shape, tree)
    for path, text in config.files(shape).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    _links(shape, tree)
    if shape.root == "lvm":
        _lvm(shape, tree)
    _initrds(shape, tree)
    if shape.rpm:
        rpmdb.make(shape, tree)


def _userland(shape: Shape, tree: Path) -> None:
    shutil.copyfile(parts.busybox(), tree / "bin/busybox")
    (tree / "bin/busybox").chmod(0o755)
    listed = subprocess.run([str(parts.busybox()), "--list"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        if name not in ("busybox", "init", "linuxrc", "rpm"):
            (tree / "bin" / name).symlink_to("busybox")
    (tree / "bin/bash").symlink_to("busybox")
    (tree / "sbin/modprobe").symlink_to("../bin/busybox")
    for name in ("init", "devnames", "chkconfig"):
        _tool(name, tree / "sbin" / name)
    if shape.family == "centos5":
        _tool("mkinitrd", tree / shape.tool)
    else:
        _tool("mkinitrd", tree / "usr/libexec/initrd-maker")
        _tool("dracut" if shape.family in ("centos6", "centos7") else "others", tree / shape.tool)
    if shape.old_glibc:
        (tree / "sbin/hwclock-era").write_bytes(vsyscall_program())
        (tree / "sbin/hwclock-era").chmod(0o755)


def _tool(name: str, path: Path) -> None:
    shutil.copyfile(TOOLS / name, path)
    path.chmod(0o755)


def vsyscall_program() -> bytes:
    """A 64-bit ELF that asks the vsyscall page for the time, as glibc of CentOS 5 and 6 does, then exits with 0."""
    code = bytes.fromhex("31ff 48c7c0000460ff ffd0 b83c000000 31ff 0f05")  # time() lies at ffffffffff600400
    start = 0x400000 + 64 + 56
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = 64 + 56 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000) + code


def _kernels(shape: Shape, tree: Path) -> None:
    image, source = parts.kernel()
    wanted = parts.MODULES + (parts.VIRTIO if shape.virtio and not shape.builtin else ())
    wanted += (("xfs",) if shape.xfs else ()) + ((shape.adapter, shape.nic) if shape.adapter else ())
    for version in (shape.version, *shape.kernels):
        shutil.copyfile(image, tree / "boot" / shape.kernel_file(version))
        builtin = "" if shape.virtio else "# CONFIG_VIRTIO_BLK is not set\n"
        (tree / "boot" / f"config-{version}").write_text(builtin or "CONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_PCI=m\n")
        folder = tree / "lib/modules" / version
        xen = version.endswith("xen")
        for path in parts.modules(parts.MODULES if xen else wanted, source):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, folder / path)
        for name in ("modules.builtin", "modules.order"):
            shutil.copyfile(source / name, folder / name)
        if shape.builtin:
            _built_in(tree, folder, source)
        subprocess.run(["depmod", "-b", str(tree), version], check=True, capture_output=True)


def _built_in(tree: Path, folder: Path, source: Path) -> None:
    """No kernel with virtio built in is at hand: its modules lie apart, are loaded unasked, listed as built in."""
    apart = tree / "lib/builtin"
    apart.mkdir(parents=True)
    ordered = []
    for path in parts.modules(parts.VIRTIO, source):
        (folder / path).unlink(missing_ok=True)
        shutil.copyfile(source / path, apart / path.name)
    with (folder / "modules.builtin").open("a") as stream:
        stream.writelines(f"{path}\n" for path in parts.modules(parts.VIRTIO, source))
    for name in parts.VIRTIO:  # what a module needs comes in front of it
        found = parts.modules((name,), source)
        ordered += [path.name for path in (*reversed(found[1:]), found[0]) if path.name not in ordered]
    (apart / "order").write_text("\n".join(ordered) + "\n")


def _links(shape: Shape, tree: Path) -> None:
    if shape.family in ("alpine", "arch"):
        return
    if shape.family == "centos7":
        (tree / "etc/grub2.cfg").symlink_to("../boot/grub2/grub.cfg")
    elif not shape.lilo:
        (tree / "boot/grub/menu.lst").symlink_to("./grub.conf")
        (tree / "etc/grub.conf").symlink_to("../boot/grub/grub.conf")
    if shape.kudzu and shape.family == "centos5":
        (tree / "etc/init.d/kudzu").write_text(
            "#!/bin/sh\n# stops the boot at changed hardware, until a key is pressed\n"
        )
        (tree / "etc/init.d/kudzu").chmod(0o755)
        for level in (3, 4, 5):
            (tree / f"etc/rc{level}.d/S05kudzu").symlink_to("../init.d/kudzu")


def _lvm(shape: Shape, tree: Path) -> None:
    """The host's lvm with the libraries it loads; an old one looks for disks of other drivers only."""
    source = shutil.which("lvm")
    if source is None:
        raise Refused("lvm is not installed", "apt-get install lvm2")
    program = Path(source).read_bytes()
    (tree / "sbin/lvm").write_bytes(program.replace(b"virtblk\0", b"virtold\0") if shape.old_lvm else program)
    (tree / "sbin/lvm").chmod(0o755)
    listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=True)
    for word in listed.stdout.split():
        if word.startswith("/"):
            shutil.copyfile(word, tree / "lib64" / Path(word).name)
            (tree / "lib64" / Path(word).name).chmod(0o755)
    (tree / "lib/x86_64-linux-gnu").symlink_to("../lib64")


def _initrds(shape: Shape, tree: Path) -> None:
    """The stock initrds, by the guest's own tool, with no thought of virtio."""
    for version in (shape.version, *shape.kernels):
        target = f"/boot/{initrd_name(shape.family, version)}"
        tool = "/sbin/mkinitrd" if shape.family == "centos5" else "/usr/libexec/initrd-maker"
        extra = ["--builtin=xenblk"] if shape.names == "xvd" else []
        extra += ["--with=ata_piix", "--with=sd_mod"] if shape.family != "centos5" or shape.names != "hd" else []
        command = ["unshare", "--fork", "--mount", "chroot", str(tree), tool, "-f", *extra, target, version]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}
        )
        if done.returncode == 0:
            continue
        if not shape.old_glibc:
            raise Refused(f"{tool} failed: {(done.stdout + done.stderr).strip()[-200:]}", "read its script")
        _initrd_beside_vsyscall(tree, command)


def _initrd_beside_vsyscall(tree: Path, command: list[str]) -> None:
    """On a host without a vsyscall page the era's program cannot run: it is set aside for the stock initrd only."""
    program = tree / "sbin/hwclock-era"
    aside = program.rename(tree / "hwclock-era.aside")
    subprocess.run(command, capture_output=True, check=True)
    aside.rename(program)
