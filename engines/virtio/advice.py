"""What the technician reads before and after: the kernel first, the domain afterwards, the way out by hand."""

from __future__ import annotations

from engines.guest.target import Target
from engines.virtio.lines.disks import partition
from engines.virtio.params import TrialParams

KERNEL_FIRST = (
    "Update the guest's kernel first where its mirrors still answer (yum update kernel); where they are dead, as for "
    "CentOS 5 to 8, point its repositories at vault.centos.org, or go on with the kernel it has."
)
KERNEL_FIRST_DEBIAN = (
    "Update the guest's kernel first where its mirrors still answer (apt-get install linux-image-amd64); where they "
    "are dead, point its sources at archive.debian.org, or go on with the kernel it has."
)
NEVER_BETWEEN = (
    "Not needed, and dangerous: rpm --erase --nodeps kernel, then yum install kernel. Between the two the guest has no "
    "kernel and cannot boot. After acceptance, crashcart virtio restock takes that last step safely."
)


def before(kind: str) -> list[str]:
    """For the plan, by the kind of the guest's initrd tool."""
    return [KERNEL_FIRST_DEBIAN] if kind == "debian" else [KERNEL_FIRST, NEVER_BETWEEN]


def domain(params: TrialParams, target: Target) -> str:
    """The libvirt change to make afterwards."""
    kind, source = ("block", "dev") if target.block else ("file", "file")
    return (
        f"Change the domain (virsh edit): <disk type='{kind}' device='disk'> with "
        f"<driver name='qemu' type='{target.format}'/>, <source {source}='{target.path}'/>, "
        f"<target dev='{params.to_disk}' bus='virtio'/>, no <address> line of the old disk; "
        "<interface> with <model type='virtio'/> and the same <mac address>."
    )


def _names(params: TrialParams) -> str:
    """The options that tell the disk's new name, where it is not the usual one, and further disks."""
    also = "".join(f" --also {each}" for each in params.also)
    return also if params.to_disk == "vda" else f"{also} --to-disk {params.to_disk}"


def by_hand(params: TrialParams) -> str:
    """The way out at the boot menu."""
    old = partition(params.from_disk, "N")
    return (
        f"If it does not boot: at GRUB press e on the entry, set root=/dev/{params.to_disk}N as fstab has it, "
        f"b or ctrl+x boots; with the disk back on IDE the stock entry needs root=/dev/{old} "
        "and an fstab to match."
    )


def after_convert(params: TrialParams, target: Target, kind: str) -> tuple[str, ...]:
    """In order. kind: of the guest's initrd tool."""
    return (
        domain(params, target),
        "Start the guest and see that it runs.",
        by_hand(params),
        f"After acceptance: crashcart virtio restock {target.path}{_names(params)} makes the stock entry the one that "
        "boots.",
        *(() if kind == "debian" else (NEVER_BETWEEN,)),
    )
