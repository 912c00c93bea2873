"""Ways to launch an appliance here, quickest first, and the memory of a KVM that runs a trial but no appliance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.boot.accel import tried
from engines.guest import appliance_kernel, leftover_sockets
from engines.host.holder import boot_id
from engines.job.contract import Cancel


@dataclass(frozen=True)
class Attempt:
    """One way to launch. path: a fixed appliance's folder, None for libguestfs's own. within: seconds."""

    name: str
    tcg: bool
    path: Path | None
    within: float


def known(cancel: Cancel) -> list[Attempt]:
    """The ways to try, in order; the last is libguestfs's own under emulation, which works wherever QEMU does."""
    found = [Attempt("under emulation", True, None, 600.0)]
    if unpacked := appliance_kernel.fixed():
        found.insert(0, Attempt("under emulation, its kernel unpacked", True, unpacked, 600.0))
    if tried(check=cancel.check).name == "kvm" and not _distrusted():
        found.insert(0, Attempt("with KVM", False, None, 60.0))
    return found


def distrust_kvm() -> None:
    """Remember, until the machine boots again, that an appliance does not start with KVM."""
    _verdict().write_text(boot_id())


def _distrusted() -> bool:
    try:
        return _verdict().read_text() == boot_id()
    except OSError:
        return False


def _verdict() -> Path:
    return leftover_sockets.cache() / "appliance-without-kvm"
