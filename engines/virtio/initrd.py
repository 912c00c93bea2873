"""Rebuilding an initrd by the guest's own tool, and proof by its contents that it can reach the root on virtio."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from engines.guest.system import System
from engines.job.errors import Failed, Refused
from engines.virtio import archive
from engines.virtio.kernels import DISK_MODULES, Kernel, filesystem_module, module_name

LARGEST = 512 << 20  # bytes of an initrd; 150 MiB are the largest seen
TOOLS = "/{usr/,}{s,}bin/{mkinitrd,dracut,mkinitramfs,update-initramfs,mkinitcpio,mkinitfs}"


@dataclass(frozen=True)
class Tool:
    """The guest's initrd tool: `kind` is mkinitrd, dracut, debian, suse, arch or alpine; `path` the program."""

    kind: str
    path: str

    def command(self, kernel: Kernel, image: str, *, xen: bool, root: str) -> str:
        """The shell command that writes `image` (a name in /boot) for `kernel`.

        xen: the guest's configuration named Xen's disk driver. root: the root device's spec.
        """
        target, version = shlex.quote(f"/boot/{image}"), shlex.quote(kernel.version)
        wanted = [name for name in (*DISK_MODULES, "virtio_net") if kernel.module(name)]
        match self.kind:
            case "dracut":
                words = f"{self.path} -f --add-drivers {shlex.quote(' '.join(wanted))} {target} {version}"
            case "debian":
                words = f"{self.path} -o {target} {version}"
            case "arch":  # the hook would take the drivers of the machine that it runs on, and those only
                words = f"{self.path} -S autodetect -k {version} -g {target}"
            case "alpine":
                words = f"{self.path} -o {target} {version}"
            case "suse":
                device = f" -d {shlex.quote(root)}" if root.startswith("/dev/") else ""
                names = shlex.quote(" ".join(wanted))
                words = f"{self.path} -k vmlinuz-{version} -i {shlex.quote(image)} -m {names}{device}"
            case _:
                options = [f"--with={name}" for name in wanted] + (["--builtin=xenblk"] if xen else [])
                words = f"{self.path} -v -f {' '.join(options)} {target} {version}"
        return words


def tool(system: System) -> Tool:
    """The tool the guest has. Raises Refused."""
    paths = {path.rsplit("/", 1)[-1]: path for path in system.call("glob_expand", TOOLS)}
    if "mkinitramfs" in paths:
        return Tool("debian", paths["mkinitramfs"])
    for name, kind in (("mkinitcpio", "arch"), ("mkinitfs", "alpine")):
        if name in paths:
            return Tool(kind, paths[name])
    if "dracut" in paths:
        return Tool("dracut", paths["dracut"])
    if "mkinitrd" in paths:
        suse = "/etc/SuSE-release" in system.etc
        return Tool("suse" if suse else "mkinitrd", paths["mkinitrd"])
    raise Refused(
        "the guest has none of mkinitrd, dracut, update-initramfs, mkinitcpio and mkinitfs",
        "install its package in the guest first",
    )


def custom(stock: str) -> str:
    """initrd-VER-custom.img for initrd-VER.img."""
    stem, mark, ending = stock.rpartition(".img")
    return f"{stem}-custom{mark}{ending}" if mark and not ending else f"{stock}-custom"


def must_hold(system: System, kernel: Kernel) -> list[str]:
    """Modules without which the root is not reached: of virtio, its file system, LVM or array, and all they need."""
    kind = filesystem_module(kernel, system.types.get(system.root, ""))
    names = [*DISK_MODULES, kind]
    if system.root in system.volumes:
        names.append("dm_mod")
    if system.root.startswith("/dev/md"):
        names.append(str(system.call("md_detail", system.root).get("level", "")))
    return kernel.wanted(tuple(names))


def lacks_lvm(system: System, listed: list[str]) -> bool:
    """Whether the root is on LVM and nothing in an initrd's listing could open it."""
    programs = ("lvm", "lvm.static", "vgchange")
    return system.root in system.volumes and not any(path.rsplit("/", 1)[-1] in programs for path in listed)


def contents(system: System, path: str) -> list[str]:
    """The paths in an initrd of the guest. Raises Failed where it cannot be listed."""
    try:
        return sorted(archive.names(system.content(path, LARGEST)))
    except ValueError as error:
        raise Failed(f"{path} cannot be listed: {error}", "the image is untouched; look at the tool's output") from None


def missing(listed: list[str], wanted: list[str]) -> list[str]:
    """Which wanted modules an initrd's listing lacks."""
    there = {module_name(path) for path in listed if ".ko" in path}
    return [name for name in wanted if name not in there]
