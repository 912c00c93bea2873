"""What this machine can do, found out by trying, and the one command that mends what it cannot."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import msgspec

from engines.doctor import checks as check
from engines.doctor.buckets import buckets
from engines.doctor.place import place


class Finding(msgspec.Struct, kw_only=True):
    """One line of the examination. `core`: crashcart itself needs it, not one task's extra."""

    name: str
    works: bool
    says: str
    needed_for: str
    mend: str
    core: bool = False


class _Check(msgspec.Struct):
    name: str
    try_it: Callable[[], check.Outcome]
    needed_for: str
    mend: str
    core: bool = False


CHECKS = (
    _Check("run folder", check.run_folder, "every run", "set XDG_STATE_HOME to a folder with room", True),
    _Check("detached runs", check.outlives_login, "runs that outlive a lost line", "loginctl enable-linger $USER"),
    _Check("libguestfs binding", check.guestfs_binding, "virtio, backup browser", "apt-get install python3-guestfs"),
    _Check(
        "libguestfs appliance", check.guestfs_appliance, "virtio, backup browser", "apt-get install linux-image-amd64"
    ),
    _Check("qemu", check.qemu, "every boot test", "apt-get install qemu-system-x86"),
    _Check(
        "kvm", check.kvm, "speed only: boot tests run without it, slower", "enable virtualisation in the BIOS or host"
    ),
    _Check("qemu-img", check.qemu_img, "virtio, backup of qcow2", "apt-get install qemu-utils"),
    _Check("isolinux", check.isolinux, "biosiso", "apt-get install isolinux syslinux-common"),
    _Check("nasm", check.nasm, "biosiso boot test", "apt-get install nasm"),
    _Check("mtools", check.mtools, "biosiso stick and UEFI forms", "apt-get install mtools"),
    _Check(
        "samba",
        check.samba,
        "biosiso insert on boards of the X9 and X10 age",
        "apt-get install samba, then systemctl disable --now smbd nmbd (a task starts its own)",
    ),
    _Check("ssh", check.ssh, "vdx, off-site backup", "apt-get install openssh-client"),
    _Check("buckets", buckets, "repositories in object storage", "see what it lacks: crashcart backup fitness REPO"),
    _Check("fuse", check.fuse, "backup mount", "apt-get install fuse3"),
    _Check("lvm", check.lvm, "backup of logical volumes", "apt-get install lvm2"),
    _Check(
        "cgroup io",
        check.cgroup_io,
        "backup held to a share of the disk's speed",
        "mount cgroup2 with the io controller",
    ),
    _Check("network namespaces", check.namespaces, "failover lab", "run as root, or allow user namespaces"),
    _Check("nftables", check.nftables, "failover lab", "apt-get install nftables"),
    _Check("chromium", check.chromium, "failover lab", "apt-get install chromium"),
    _Check("firefox", check.firefox, "failover lab", "apt-get install firefox-esr"),
    _Check("asyncssh", check.asyncssh, "vdx rehearsal", "make setup"),
)


def examine(told: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Try everything; `told` hears each name before it is tried (the appliance takes 10 to 30 s)."""
    found = []
    for item in CHECKS:
        told(item.name)
        outcome = item.try_it()
        found.append(
            Finding(
                name=item.name,
                works=outcome.works,
                says=outcome.says,
                needed_for=item.needed_for,
                mend=outcome.mend or item.mend,
                core=item.core,
            )
        )
    return found


def examine_place(where: str) -> list[Finding]:
    """The same of a repository's place alone."""
    outcome = place(where)
    return [
        Finding(
            name="repository",
            works=outcome.works,
            says=f"{where}: {outcome.says}",
            needed_for="backups there",
            mend=outcome.mend,
            core=True,
        )
    ]


def as_json(findings: list[Finding]) -> str:
    """The findings as one JSON array."""
    return msgspec.json.encode(findings).decode() + "\n"


def table(findings: list[Finding]) -> str:
    """The findings as lines; what does not work is followed by what mends it."""
    lines = []
    for finding in findings:
        lines.append(_row("[ok]" if finding.works else "[--]", finding.name, finding.says))
        if not finding.works:
            lines.append(_row("", "  needed for", finding.needed_for))
            lines.append(_row("", "  mended by", finding.mend))
    return "\n".join(lines) + "\n"


def _row(mark: str, name: str, words: str) -> str:
    return textwrap.fill(f"{mark:4} {name:21} {words}", 80, subsequent_indent=" " * 27, break_on_hyphens=False)
