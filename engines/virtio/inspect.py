"""A look at a guest: what it is, which kernels know virtio, what it calls its disk, whether it can be converted."""

from __future__ import annotations

from typing import Any

from engines.guest import system
from engines.guest.surgery import Surgery
from engines.job.contract import Cancel
from engines.job.errors import Refused
from engines.job.units import one_line
from engines.virtio import cards, inventory, naming, volumes
from engines.virtio.inventory import GuestInventory, choose
from engines.virtio.lines.disks import NAMED
from engines.virtio.params import InspectParams


def answer(params: InspectParams) -> dict[str, Any]:
    """Plain data; `convertible` is false with `why` where a conversion would refuse. Raises Refused."""
    surgery = Surgery.begin(
        params.path, Cancel(), wanted=params.format or "", backing=params.backing, powered_off=True, foreign=True
    )
    try:
        found = inventory.examine(system.find(surgery.appliance, surgery.scratch.path))
        return _described(surgery, found)
    finally:
        surgery.close()


def _described(surgery: Surgery, found: GuestInventory) -> dict[str, Any]:
    try:
        kernels = choose(found, "")
        volumes.refuse_blind(found.system)
        fit: dict[str, Any] = {
            "convertible": True,
            "why": "",
            "kernel": kernels.chosen.version,
            "skipped": kernels.skipped,
        }
    except Refused as refused:
        fit = {"convertible": False, "why": f"{refused.why}; {refused.what_helps}", "kernel": "", "skipped": {}}
    named = naming.of(found, "", "vda")
    fstab = (found.system.read("/etc/fstab") or b"").decode("latin-1")
    names = set(NAMED.findall(fstab + found.loader.text)) - {"hdc", "hdd"}
    return {
        "image": str(surgery.target.path),
        "format": surgery.target.format,
        "disk": surgery.target.disk,
        "hostname": found.hostname,
        "guest": found.release,
        "root": found.system.root,
        "filesystems": {device: kind for device, kind in found.system.types.items() if kind},
        "boot loader": found.loader.path,
        "kernels": {each.version: each.virtio for each in found.kernels},
        "initrd tool": found.tool.path,
        "disk names": sorted(names),
        "its name": f"{named.disks.old} ({named.where})",
        "named by bus": named.disks.stable,
        "not given": list(named.foreign),
        "network": cards.told(found.system),
        **fit,
    }


def table(found: dict[str, Any]) -> str:
    """For people."""
    rows = []
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {_word(each)}" for key, each in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        rows.append(one_line(f"{name:<14} {_word(value)}"))
    return "\n".join(rows)


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
