"""The default guest's way: from IDE to virtio, proved by boots, accepted, taken back."""

from __future__ import annotations

import subprocess

import pytest

from engines.job.contract import Finished, RunFailed, RunStopped, TextChange
from engines.rehearsal.guest.shape import DEFAULT
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic, boot, logs, told
from tests.engines.virtio.conftest import Treated

pytestmark = pytest.mark.boot


def test_before_it_panics_on_virtio(clinic: Clinic) -> None:
    virtio = boot(clinic.guest(DEFAULT), "virtio")
    assert not virtio.ok
    assert "panic" in virtio.why


def test_a_stop_during_the_work_leaves_the_image_and_no_process(treated: Treated) -> None:
    assert isinstance(treated.ending, RunStopped), treated.ending
    assert treated.left[0] == treated.before
    assert str(treated.image) not in treated.left[1]


def test_the_same_guest_has_the_same_plan_with_a_choice_a_file(treated: Treated) -> None:
    first, again = treated.stopped.plan(), treated.run.plan()
    assert first is not None and again is not None
    assert first.digest == again.digest
    assert {choice.question for choice in first.choices} >= {"/etc/fstab", "/etc/modprobe.conf", "/boot/grub/grub.conf"}


def test_the_report_tells_everything_that_a_ticket_needs(treated: Treated) -> None:
    report = treated.run.report.read_text()
    for wanted in (
        "-/dev/hda3               /                       ext3",
        "+/dev/vda3               /                       ext3",
        "In the guest: /sbin/mkinitrd -v -f --with=virtio_blk --with=virtio_pci --with=virtio_net",
        "Adding module virtio_blk",
        "Contents of /boot/initrd-2.6.18-398.el5-custom.img",
        "lib/virtio_pci.ko",
        "root is mounted from vda",
        "INIT: version 2.86 booting",
        f"crashcart undo {treated.run.id}",
        "crashcart virtio restock",
        "<target dev='vda' bus='virtio'/>",
        "/etc/smartd.conf:2: /dev/hda -H -m root",
        "web1.example.com: CentOS release 5.11 (Final)",
    ):
        assert wanted in report, wanted
    plan = treated.run.plan()
    assert plan is not None
    assert any("rpm --erase --nodeps" in warning and "cannot boot" in warning for warning in plan.warnings)


def test_the_console_is_only_in_the_throwaway_layer(treated: Treated, clinic: Clinic) -> None:
    content = treated.image.read_bytes()
    assert content.count(b"(virtio)\n\troot (hd0,0)\n\tkernel /vmlinuz-2.6.18-398.el5 ro root=/dev/vda3\n") >= 1
    assert b"console=ttyS0" not in content


def test_undo_is_bit_for_bit_and_once(treated: Treated, clinic: Clinic) -> None:
    kept = clinic.copy(treated.image)
    try:
        assert isinstance(clinic.after(treated.run, "undo"), Finished)
        assert sha256(treated.image) == treated.before
        again = clinic.after(treated.run, "undo")
        assert isinstance(again, RunFailed)
        assert again.refused
    finally:
        subprocess.run(["cp", "--sparse=always", kept, treated.image], check=True)
        for mark in ("undone", "undoing"):
            (treated.run.folder / "undo" / mark).rename(treated.run.folder / "undo" / f"{mark}.ready")


def test_it_boots_with_all_it_had_and_once_it_has_run_gets_its_files_back_one_by_one(
    treated: Treated, clinic: Clinic
) -> None:
    assert isinstance(treated.last, Finished), treated.last
    kept = clinic.copy(treated.image)
    try:
        after = boot(treated.image, "virtio", keep=True)
        assert (after.ok, after.root, after.boot, after.swap) == (True, "vda3", "vda1", "vda2"), after
        assert (after.eth0, after.fail) == ("virtio_net", "")
        ran = sha256(treated.image)
        refused = clinic.after(treated.run, "undo")
        assert isinstance(refused, RunFailed)
        assert "has run since" in refused.why
        assert f"virtio putback {treated.image} --run {treated.run.id}" in refused.what_helps
        assert sha256(treated.image) == ran
        _, last = clinic.run("virtio-putback", treated.image, run=treated.run.id)
        assert isinstance(last, Finished), last
        back = boot(treated.image, "ide")
        assert (back.ok, back.root, back.boot, back.swap, back.fail) == (True, "hda3", "hda1", "hda2", ""), back
    finally:
        subprocess.run(["cp", "--sparse=always", kept, treated.image], check=True)


def test_restocking_makes_the_stock_entry_boot_from_virtio_and_removes_the_custom_one(
    treated: Treated, clinic: Clinic
) -> None:
    image = clinic.copy(treated.image)
    before = sha256(image)
    run, last = clinic.run("virtio-restock", image)
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None
    menu = next(change for change in plan.changes if isinstance(change, TextChange))
    assert menu.after is not None
    assert "(virtio)" not in menu.after
    assert "default=0" in menu.after
    assert any("removed /boot/initrd-2.6.18-398.el5-custom.img" in text for text in logs(run.journal))
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before


def test_a_guest_that_comes_up_without_what_it_had_is_not_committed(clinic: Clinic) -> None:
    """Its root is mounted and userland runs; /boot and swap, which it had on IDE, it has no more.

    The file that was to be left alone is; the guest as it was boots from IDE with all it has.
    """
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    run, last = clinic.run("virtio", image, keep=["/etc/fstab"])
    assert isinstance(last, RunFailed), last
    assert "comes up on virtio without what it had" in last.why
    assert "mounting the disk1 on /boot failed" in last.why
    ide = told(run, "boot as it was")
    assert (ide.ok, ide.root, ide.boot, ide.swap, ide.fail) == (True, "hda3", "hda1", "hda2", ""), ide
    plan = run.plan()
    assert plan is not None
    assert "/etc/fstab" not in [change.target for change in plan.changes if isinstance(change, TextChange)]
    assert any("left alone on request: /etc/fstab" in warning for warning in plan.warnings)
    assert sha256(image) == before
