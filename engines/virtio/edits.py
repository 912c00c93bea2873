"""All files that a conversion changes, each before and after, and those that name the old disk but stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from engines.guest.system import System
from engines.job.contract import TextChange
from engines.virtio import cards, initrd, swaps
from engines.virtio.inventory import Choice, GuestInventory
from engines.virtio.kernels import DISK_MODULES
from engines.virtio.lines import bls, extlinux, grub1, grub2, lvmconf, menus, modprobe, tables, tools
from engines.virtio.lines.disks import Disks, Edit, comment, split

EDITS: dict[str, Edit] = {
    "/etc/fstab": tables.fstab,
    "/etc/crypttab": tables.crypttab,
    "/etc/crypttab.initramfs": tables.crypttab,  # mkinitcpio's
    "/etc/sysconfig/grub": tables.settings,
    "/etc/default/grub": tables.settings,
    "/etc/sysconfig/bootloader": tables.settings,
    "/etc/uswsusp.conf": tools.paths,
    "/etc/suspend.conf": tools.paths,
    "/etc/default/grub_installdevice": tools.paths,
    "/etc/kernel/cmdline": tools.arguments,
    "/etc/cmdline": tools.arguments,  # dracut's
    "/etc/kdump.conf": tools.words,
    "/etc/sysconfig/kdump": tables.settings,
    "/etc/sysconfig/rawdevices": tools.raw,
    "/etc/default/kexec": tables.settings,
    "/etc/default/kdump-tools": tables.settings,
    "/etc/conf.d/kexec": tables.settings,
    "/etc/mkinitrd.conf": tables.settings,  # Slackware's
    "/etc/genkernel.conf": tables.settings,
    "/etc/conf.d/dmcrypt": tables.settings,
    "/etc/update-extlinux.conf": tools.arguments,
    "/etc/default/extlinux": tables.settings,
    "/etc/kernel-img.conf": tools.paths,
    "/etc/sysconfig/kernel": tools.suse,
    "/etc/mkinitcpio.conf": tools.arch,
    "/etc/mkinitfs/mkinitfs.conf": tools.alpine,
    "/etc/mdadm.conf": tools.mdadm,
    "/etc/mdadm/mdadm.conf": tools.mdadm,
    "/var/cache/debconf/config.dat": tools.debconf,
    "/etc/inittab": tables.inittab,
    "/etc/modprobe.conf": modprobe.conf,
    "/etc/lvm/lvm.conf": lvmconf.filters,
    "/etc/lvm/lvmlocal.conf": lvmconf.filters,
    "/boot/grub/device.map": tables.device_map,
    "/boot/grub2/device.map": tables.device_map,
}
SETTINGS = re.compile(r"/etc/default/grub\.d/[^/]+\.cfg|/etc/initramfs-tools/(?:initramfs\.conf|conf\.d/[^/]+)")
DRACUT = re.compile(r"/etc/dracut\.conf(?:\.d/[^/]+\.conf)?")
ARCH = re.compile(r"/etc/mkinitcpio\.conf\.d/[^/]+\.conf")
UNITS = re.compile(r"/etc/systemd/system/[^/]+\.(?:auto)?mount(?:\.d/[^/]+\.conf)?")
NEEDING = re.compile(r"/etc/systemd/system/[^/]+\.(?:service|target|socket|path|timer)(?:\.d/[^/]+\.conf)?")
ARGUMENTS = re.compile(r"/etc/grub\.d/\d\d_custom[^/]*|/etc/(?:kernel/)?cmdline\.d/[^/]+\.conf")
DEVICES_FILE = "/etc/lvm/devices/system.devices"  # LVM's list of disks by their serial numbers; without it, all
CACHES = (DEVICES_FILE, "/etc/blkid/blkid.tab", "/etc/blkid.tab", "/etc/lvm/cache/.cache", "/etc/lvm/.cache")
CRON = "/var/spool/cron"


@dataclass(frozen=True)
class FileEdit:
    """One file's bytes; `before` is None where it is new, `after` where it is removed."""

    path: str
    before: bytes | None
    after: bytes | None

    @property
    def change(self) -> TextChange:
        """For the review page, as text."""
        return TextChange(
            target=self.path,
            before=None if self.before is None else _shown(self.before),
            after=None if self.after is None else _shown(self.after),
        )


def _shown(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def all_edits(patient: GuestInventory, choice: Choice, disks: Disks) -> list[FileEdit]:
    """Every file that would change."""
    system = patient.system
    found = [_edited(system, path, edit, disks) for path, edit in _wanted(patient, choice)]
    found += [FileEdit(path, None, content) for path, content in cards.links(system)]
    found += [FileEdit(path, before, after) for path, before, after in swaps.renamed(system, disks)]
    found += _menus(patient, choice, disks)
    unique = {edit.path: edit for edit in found if edit is not None}
    for path in CACHES:
        content = system.etc.get(path)
        if content is not None and (path == DEVICES_FILE or disks.old.encode() in content):
            unique[path] = FileEdit(path, content, None)
    return list(unique.values())


def _menus(patient: GuestInventory, choice: Choice, disks: Disks) -> Iterator[FileEdit | None]:
    """The menu; of boot loader specification snippets, one more file a kernel and the default's name."""
    loader = patient.loader
    if not loader.snippets:
        yield _made(loader.path, loader.text.encode("latin-1"), menu(patient, choice, disks).encode("latin-1"))
        return
    for kernel in choice.rebuilt:
        stock = patient.offered(kernel)
        assert stock is not None
        path, text = bls.with_entry(loader.snippets, stock, custom_name(stock.initrd), disks, loader.kernel_options)
        yield FileEdit(path, patient.system.read(path), text.encode("latin-1"))
        if kernel is choice.chosen:
            before = patient.system.read(loader.environment) or b""
            after = bls.with_default(before, path.rsplit("/", 1)[-1].removesuffix(".conf"))
            yield FileEdit(loader.environment, before, after) if after != before else None


def _wanted(patient: GuestInventory, choice: Choice) -> Iterator[tuple[str, Edit]]:
    """A device map beside a menu is GRUB's; files of modprobe.d hold aliases too."""
    folder = patient.loader.path.rsplit("/", 1)[0]
    built_in = any(kernel.module("virtio_blk") is None for kernel in choice.rebuilt)
    for path, edit in EDITS.items():
        if path == "/etc/modprobe.conf" and built_in:
            yield path, modprobe.network  # mkinitrd ends at an alias for a module that the kernel has built in
        elif not path.startswith("/boot/") or path.startswith(folder + "/"):
            yield path, edit
    for path in patient.system.etc:
        if re.fullmatch(r"/etc/modprobe\.d/[^/]+", path):
            yield path, modprobe.network
        if cards.RULES.fullmatch(path):
            yield path, cards.rules
        if cards.DRIVEN.fullmatch(path):
            yield path, cards.by_driver if cards.one_place(patient.system) == path else cards.drivers
        if SETTINGS.fullmatch(path):
            yield path, tables.settings
        if DRACUT.fullmatch(path):
            yield path, tools.dracut
        if ARCH.fullmatch(path):
            yield path, tools.arch
        if UNITS.fullmatch(path):
            yield path, tables.unit
        if NEEDING.fullmatch(path):
            yield path, tables.needing
        if ARGUMENTS.fullmatch(path):
            yield path, tools.arguments
    if patient.tool.kind == "debian":
        yield "/etc/initramfs-tools/modules", with_modules


def with_modules(text: str, _disks: Disks) -> str:
    """initramfs-tools' list of modules, with virtio's at the end where they are missing."""
    listed = {line.split()[0].replace("-", "_") for line in split(text) if not comment(line)}
    added = [f"{name}\n" for name in DISK_MODULES if name not in listed]
    ending = "" if text.endswith("\n") or not text or not added else "\n"
    return text + ending + "".join(added)


def _edited(system: System, path: str, edit: Edit, disks: Disks) -> FileEdit | None:
    real = system.real(path)
    before = system.read(real)
    return None if before is None else _made(real, before, edit(before.decode("latin-1"), disks).encode("latin-1"))


def _made(path: str, before: bytes, after: bytes) -> FileEdit | None:
    return FileEdit(path, before, after) if after != before else None


def menu(patient: GuestInventory, choice: Choice, disks: Disks) -> str:
    """The boot menu with one more entry a kernel; the chosen one's is the default."""
    loader = patient.loader
    ahead = {menus.LEGACY: grub1.magic, menus.EXTLINUX: extlinux.given}.get(loader.generation)
    text = ahead(loader.text, disks) if ahead else loader.text
    add = menus.adding(loader.generation)
    for kernel in choice.rebuilt:
        stock = patient.offered(kernel)
        assert stock is not None
        text = add(text, stock, custom_name(stock.initrd), disks)
    if loader.generation == menus.GRUB2:
        return grub2.with_default(text, choice.chosen.version)
    stock = patient.offered(choice.chosen)
    assert stock is not None
    lines = menus.plain(loader.generation)
    number = lines.number_of(text, custom_name(stock.initrd))
    return lines.with_default(text, number if number is not None else 0)


def custom_name(stock: str) -> str:
    """The custom initrd's file name for a stock path in the menu; a custom one keeps its name."""
    name = stock.rsplit("/", 1)[-1]
    return name if name.endswith(("-custom.img", "-custom")) else initrd.custom(name)


LEFTOVERS = {
    "VMware's tools": r"/etc/(?:vmware-tools/|init\.d/vmware-tools|systemd/system/.*vmtoolsd)",
    "VirtualBox's additions": r"/etc/(?:init\.d/vboxadd|systemd/system/.*vboxadd)",
    "Hyper-V's daemons": r"/etc/(?:init\.d/hv_|systemd/system/.*hv-?(?:kvp|vss|fcopy))",
    "Xen's or XenServer's tools": r"/etc/(?:init\.d/(?:xe-|xendomains|xenstored)|xensource|systemd/system/.*xe-linux)",
}


def leftovers(system: System) -> list[str]:
    """What another hypervisor has left in the guest, by its files in /etc."""
    paths = [*system.etc, *system.links]
    return [name for name, pattern in LEFTOVERS.items() if any(re.match(pattern, path) for path in paths)]


def mentions(system: System, edited: set[str], disks: Disks) -> list[str]:
    """`path:line: text` of every other line that names the old disk."""
    files = dict(system.etc)
    for name in system.names(CRON):
        if content := system.read(f"{CRON}/{name}"):
            files[f"{CRON}/{name}"] = content
    names = "|".join(map(re.escape, disks.names))
    unit = re.compile(rf"KERNELS?==\"(?:{names})\d*\"|\bdev-(?:{names})\d*\.(?:device|swap)")
    found = []
    for path, content in sorted(files.items()):
        if path in edited or path in CACHES or b"\0" in content[:4096]:
            continue
        for number, line in enumerate(split(content.decode("latin-1")), 1):
            if not comment(line) and (disks.named_in(line) or unit.search(line)):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    return found
