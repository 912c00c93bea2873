"""A real Debian whose initrd was made on IDE gets to virtio by its own initramfs-tools, and back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.job.contract import CommandChange, Finished, TextChange
from tests.engines.guest.images import sha256
from tests.engines.virtio import debian
from tests.engines.virtio.clinic import Clinic

pytestmark = [pytest.mark.boot, pytest.mark.soak]


def test_debian_with_an_initrd_for_ide_only(clinic: Clinic, tmp_path: Path) -> None:
    image = debian.guest(tmp_path / "debian.img")
    before = sha256(image)
    ide = debian.boot(image, "ide")
    assert "DEBIAN-BOOTED root=/dev/sda1 names=/dev/sda1 failed=[]" in "\n".join(ide.lines), ide
    assert debian.lost(image, "virtio").ok
    run, last = clinic.run("virtio", image, from_disk="sda", to_disk="vda")
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None
    edited = {change.target for change in plan.changes if isinstance(change, TextChange)}
    assert edited >= {
        "/etc/fstab",
        "/boot/grub/grub.cfg",
        "/boot/grub/device.map",
        "/etc/initramfs-tools/modules",
    }
    commands = [change.command for change in plan.changes if isinstance(change, CommandChange)]
    assert any("mkinitramfs -o /boot/initrd.img-" in command for command in commands), commands
    after = debian.boot(image, "virtio")
    assert "DEBIAN-BOOTED root=/dev/vda1 names=/dev/vda1 failed=[]" in "\n".join(after.lines), after
    accepted, done = clinic.run("virtio-restock", image, from_disk="sda", to_disk="vda")
    assert isinstance(done, Finished), done
    stock = debian.boot(image, "virtio")
    assert "DEBIAN-BOOTED root=/dev/vda1 names=/dev/vda1 failed=[]" in "\n".join(stock.lines), stock
    assert isinstance(clinic.after(accepted, "undo"), Finished)
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before
