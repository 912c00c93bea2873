"""The guest as it is: its kernels, boot loader, initrd tool and configuration, read in one appliance."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace

from engines.guest.appliance import GuestError
from engines.guest.system import System
from engines.job.errors import Refused
from engines.virtio import initrd, kernels
from engines.virtio.kernels import Kernel
from engines.virtio.lines import bls, extlinux, grub1, grub2, menus
from engines.virtio.lines.grub1 import Entry

GRUB1 = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
GRUB2 = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
EXTLINUX = (
    *("/boot/extlinux.conf", "/boot/extlinux/extlinux.conf"),
    *("/boot/syslinux/syslinux.cfg", "/boot/syslinux/extlinux.conf"),
)
EFI = "/boot/efi/EFI"
SNIPPETS = "/boot/loader/entries"
MOST = 300  # entries of a menu, kernels and snippets: each takes several calls
RELEASES = ("/etc/redhat-release", "/etc/SuSE-release", "/etc/os-release", "/etc/debian_version")


@dataclass(frozen=True)
class Loader:
    """The boot loader: `generation` is of menus.NAMES; `path` its menu; `default` a number among `entries`.

    snippets: boot loader specification's files, an entry each, by path. environment: GRUB's, whose kernelopts
    are `kernel_options`.
    """

    generation: int
    path: str
    text: str
    entries: list[Entry]
    default: int
    snippets: dict[str, str] = field(default_factory=dict)
    environment: str = ""
    kernel_options: str = ""

    @property
    def entry(self) -> Entry:
        """The one that boots by default."""
        return self.entries[self.default] if self.default < len(self.entries) else self.entries[0]


@dataclass(frozen=True)
class GuestInventory:
    """Everything a plan is made from. sector: SHA-256 of the disk's first sector. room: bytes free in /boot."""

    system: System
    loader: Loader
    kernels: list[Kernel]
    tool: initrd.Tool
    release: str
    hostname: str
    sector: str
    room: int

    def offered(self, kernel: Kernel) -> Entry | None:
        """The boot entry that starts a kernel with its stock initrd."""
        found = [
            entry for entry in self.loader.entries if entry.version == kernel.version and not entry.xen and entry.initrd
        ]
        plain = [entry for entry in found if not is_custom(entry.initrd)]
        return next(iter(plain or found), None)

    def size(self, path: str) -> int:
        """Bytes of a file; 0 where it is missing."""
        try:
            return int(self.system.call("filesize", path))
        except GuestError:
            return 0


def is_custom(initrd_path: str) -> bool:
    """Whether an initrd is one that a conversion made."""
    return initrd_path.endswith(("-custom.img", "-custom"))


def examine(system: System) -> GuestInventory:
    """Read the guest. Raises Refused for what cannot be converted whatever the parameters."""
    sector = system.call("pread_device", "/dev/sda", 512, 0)
    there = sorted(kernels.installed(system), key=lambda each: kernels.order(each.version), reverse=True)
    found = _loader(system, sector)
    if len(found.entries) > MOST:
        raise Refused(f"{found.path} offers {len(found.entries)} entries, more than {MOST}", "clear it up in the guest")
    loader = _versioned(system, found, {each.version for each in there})
    free = system.call("statvfs", "/boot")
    return GuestInventory(
        system=system,
        loader=loader,
        kernels=there,
        tool=initrd.tool(system),
        release=_release(system),
        hostname=_hostname(system),
        sector=hashlib.sha256(sector).hexdigest(),
        room=int(free["bavail"]) * int(free["bsize"]),
    )


def _versioned(system: System, loader: Loader, versions: set[str]) -> Loader:
    """With the version of each kernel whose file name tells none that has modules: vmlinuz-linux, vmlinuz-lts."""
    found = [
        each if each.version in versions or not each.kernel else replace(each, told=kernels.told(system, each.kernel))
        for each in loader.entries
    ]
    return replace(loader, entries=found)


def _release(system: System) -> str:
    for path in RELEASES:
        text = (system.read(path) or b"").decode("utf-8", "replace")
        for line in text.splitlines():
            if path != "/etc/os-release" and line.strip():
                return line.strip() if path != "/etc/debian_version" else f"Debian {line.strip()}"
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"'")
    return "an unnamed Linux"


def _hostname(system: System) -> str:
    """Whose disk this is, in the guest's own words."""
    named = (system.read("/etc/hostname") or b"").decode("utf-8", "replace").strip()
    network = (system.read("/etc/sysconfig/network") or b"").decode("utf-8", "replace")
    found = re.search(r"^HOSTNAME=[\"']?([^\s\"']+)", network, re.MULTILINE)
    return named or (found.group(1) if found else "no host name")


def _loader(system: System, sector: bytes) -> Loader:
    if b"LILO" in sector[:16] or b"LILO" in sector[:440]:
        raise Refused(
            "the guest boots by LILO", "change the guest to GRUB first, or convert it by hand from a rescue disc"
        )
    there = {f"/boot/{folder}/{name}" for folder in ("grub", "grub2") for name in system.names(f"/boot/{folder}")}
    scripts = [path for path in GRUB2 if path in there]
    scripts += [f"{EFI}/{vendor}/grub.cfg" for vendor in system.names(EFI)[:MOST] if vendor.upper() != "BOOT"]
    for path in scripts:
        if (found := _grub2(system, path)).entries:
            return found
    for path in GRUB1:
        if path in there:
            real = str(system.call("realpath", path))
            text = (system.read(real) or b"").decode("latin-1")
            entries = grub1.entries(text)
            if entries:
                return Loader(1, real, text, entries, grub1.default(text))
    for path in EXTLINUX:
        text = (system.read(path) or b"").decode("latin-1")
        if labels := extlinux.entries(text):
            return Loader(menus.EXTLINUX, path, text, labels, extlinux.default(text))
    if "/etc/lilo.conf" in system.etc:
        raise Refused(
            "the guest boots by LILO", "change the guest to GRUB first, or convert it by hand from a rescue disc"
        )
    raise Refused(
        "the guest's boot loader is unknown: no menu of GRUB 0.97, GRUB 2 or SYSLINUX in /boot",
        "see what is in its /boot; LILO and UEFI-only loaders are not converted",
    )


def _grub2(system: System, path: str) -> Loader:
    text = (system.read(path) or b"").decode("latin-1")
    environment = next(
        (each for each in (path.replace("grub.cfg", "grubenv"), "/boot/grub2/grubenv") if system.read(each)), ""
    )
    block = (system.read(environment) or b"") if environment else b""
    saved = bls.variable(block, "saved_entry")
    if re.search(r"^\s*blscfg\b", text, re.MULTILINE) and (snippets := _snippets(system)):
        return _specified(path, text, snippets, environment or path.replace("grub.cfg", "grubenv"), block)
    number = grub2.default(text, saved if "saved_entry" in text else "")
    return Loader(2, path, text, grub2.entries(text), number)


def _snippets(system: System) -> dict[str, str]:
    names = [name for name in system.names(SNIPPETS) if name.endswith(".conf")][: MOST + 1]
    return {f"{SNIPPETS}/{name}": (system.read(f"{SNIPPETS}/{name}") or b"").decode("latin-1") for name in names}


def _specified(path: str, text: str, snippets: dict[str, str], environment: str, block: bytes) -> Loader:
    options = bls.variable(block, "kernelopts") or grub2.variable(text, "kernelopts")
    found = bls.entries(snippets, options)
    saved = bls.variable(block, "saved_entry")
    named = [bls.path_of(snippets, each).rsplit("/", 1)[-1].removesuffix(".conf") for each in found]
    number = named.index(saved) if saved in named else grub1.number_in(saved)
    return Loader(2, path, text, found, number, snippets, environment, options)


# ── which kernels ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Choice:
    """The kernel that will boot, every kernel that gets an initrd (it among them), and why others do not."""

    chosen: Kernel
    rebuilt: list[Kernel]
    skipped: dict[str, str]


def choose(patient: GuestInventory, wanted: str) -> Choice:
    """Decide by the boot menu and the modules. Raises Refused with the one reason that holds for all."""
    skipped = {kernel.version: why for kernel in patient.kernels if (why := _unfit(patient, kernel))}
    fit = [kernel for kernel in patient.kernels if kernel.version not in skipped]
    if wanted and wanted not in [kernel.version for kernel in fit]:
        why = skipped.get(wanted, "it is not in the guest")
        raise Refused(
            f"kernel {wanted} cannot be used: {why}",
            "usable are " + (", ".join(each.version for each in fit) or "none"),
        )
    if not fit:
        raise _none_fit(patient, skipped)
    name = wanted or patient.loader.entry.version
    chosen = next((kernel for kernel in fit if kernel.version == name), fit[0])
    return Choice(chosen, [chosen, *(kernel for kernel in fit if kernel is not chosen)], skipped)


def _unfit(patient: GuestInventory, kernel: Kernel) -> str:
    if kernel.xen:
        return "it runs under Xen only"
    if kernel.too_old:
        return "it is older than 2.6.18-128.el5, the first with virtio"
    if not kernel.virtio:
        return "it has no virtio_blk and virtio_pci"
    return "" if patient.offered(kernel) else "the boot menu does not offer it with an initrd"


def _none_fit(patient: GuestInventory, skipped: dict[str, str]) -> Refused:
    helps = "install a newer kernel in the guest first; where its mirrors are dead, use the distribution's archive"
    if not patient.kernels:
        return Refused("no kernel with modules is in /lib/modules", "install a kernel package in the guest first")
    reasons = set(skipped.values())
    if all(kernel.xen for kernel in patient.kernels):
        return Refused("the guest has only Xen kernels: " + ", ".join(skipped), helps)
    named = "; ".join(f"{version}: {why}" for version, why in skipped.items())
    if any("older" in why for why in reasons):
        return Refused(f"the kernel is too old for virtio ({named})", helps)
    if any("no virtio" in why for why in reasons):
        return Refused(f"no kernel knows virtio ({named})", helps)
    return Refused(f"no kernel can be used ({named})", "add a boot entry for one of them first")
