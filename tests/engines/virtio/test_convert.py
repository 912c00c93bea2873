"""The default guest's way: from IDE to virtio, proved by boots, accepted, taken back."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engines.job import journal
from engines.job.contract import Finished, Log, RunFailed, RunStopped, StepStarted, TextChange
from engines.job.journal import Entry
from engines.job.perform import Stop
from engines.rehearsal.guest.build import data_disk
from engines.rehearsal.guest.shape import DEFAULT, SHAPES
from tests.engines.guest.images import clean, loop, same_disk, sha256
from tests.engines.virtio.clinic import Clinic, boot, qcow2_of
from tests.engines.virtio.conftest import Treated

pytestmark = pytest.mark.boot


def test_before_it_boots_from_ide_and_panics_on_virtio(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    ide = boot(image, "ide")
    assert (ide.ok, ide.root, ide.boot, ide.swap, ide.fail) == (True, "hda3", "hda1", "hda2", ""), ide
    virtio = boot(image, "virtio")
    assert not virtio.ok
    assert "panic" in virtio.why


def test_after_it_boots_from_virtio_with_all_its_file_systems_swap_and_card(treated: Treated) -> None:
    assert isinstance(treated.last, Finished), treated.last
    after = boot(treated.image, "virtio")
    assert (after.ok, after.root, after.boot, after.swap) == (True, "vda3", "vda1", "vda2"), after
    assert (after.eth0, after.fail) == ("virtio_net", "")


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


def test_a_guest_that_has_run_since_is_refused_and_gets_its_files_back_one_by_one(
    treated: Treated, clinic: Clinic
) -> None:
    kept = clinic.copy(treated.image)
    try:
        assert boot(treated.image, "virtio", keep=True).ok
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


def logs(path: Path) -> list[str]:
    return [entry.event.text for entry in journal.entries(path) if isinstance(entry.event, Log)]


def test_a_volume_group_behind_a_filter_that_knows_the_old_disk_only_boots(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["lvm-filter"])
    before = sha256(image)
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before


def test_tools_that_call_the_vsyscall_page_run_in_the_appliance(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["old-glibc"])
    _, last = clinic.run("virtio", image, boot_test=False)
    assert isinstance(last, Finished), last


def test_a_qcow2_guest_is_converted_and_taken_back(clinic: Clinic) -> None:
    image = clinic.guest(qcow2_of(DEFAULT))
    kept = clinic.copy(image)
    before = sha256(image)
    run, last = clinic.run("virtio", image, boot_test=False)
    assert isinstance(last, Finished), last
    assert clean(image)
    assert not same_disk(image, kept, ("qcow2", "qcow2"))
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before
    assert same_disk(image, kept, ("qcow2", "qcow2"))
    assert clean(image)


def test_a_disk_is_converted_in_place_and_taken_back(clinic: Clinic) -> None:
    """The patient's own disk under a live CD: a block device."""
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    with loop(image) as device:
        run, last = clinic.run("virtio", device, boot_test=False)
        assert isinstance(last, Finished), last
        assert isinstance(clinic.after(run, "undo"), Finished)
        assert sha256(device) == before


def test_a_stop_during_the_work_leaves_the_image_and_no_process(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    stop = Stop()

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, StepStarted) and entry.event.step == "initrd":
            stop.ask()

    _, last = clinic.run("virtio", image, listen, stop, boot_test=False)
    assert isinstance(last, RunStopped), last
    assert sha256(image) == before
    assert str(image) not in commands()


def commands() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return " ".join(found)


def test_a_file_that_is_left_alone_stays_and_is_warned_of(clinic: Clinic) -> None:
    image = clinic.guest(replace(DEFAULT, kudzu=False))
    before = sha256(image)
    first = clinic.plan("virtio", image)
    again = clinic.plan("virtio", image)
    assert first.digest == again.digest
    assert {choice.question for choice in first.choices} >= {"/etc/fstab", "/etc/modprobe.conf", "/boot/grub/grub.conf"}
    kept = clinic.plan("virtio", image, keep=["/etc/modprobe.conf"])
    assert "/etc/modprobe.conf" not in [change.target for change in kept.changes if isinstance(change, TextChange)]
    assert any("left alone on request: /etc/modprobe.conf" in warning for warning in kept.warnings)
    assert sha256(image) == before


def test_names_by_serial_number_become_lasting_ones_and_the_disks_name_is_found(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["by-id"])
    before = sha256(image)
    assert boot(image, "ide").fail == ""
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None
    assert plan.params["from_disk"] == "sda"
    fstab = next(change.after for change in plan.changes if isinstance(change, TextChange) and "fstab" in change.target)
    assert fstab is not None
    assert fstab.count("\nUUID=") + fstab.startswith("UUID=") == 3
    assert "by-id" not in fstab
    after = boot(image, "virtio")
    assert (after.ok, after.root, after.boot, after.swap, after.fail) == (True, "vda3", "vda1", "vda2", ""), after
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before


def test_a_guest_of_uefi_is_proved_by_uefi_without_its_machines_own_variables(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["uefi"])
    before = sha256(image)
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    assert "root is mounted from vda" in last.result["boot_test"]
    assert any("virtio, ovmf" in text for text in logs(run.journal))
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before


def test_a_second_disk_that_is_given_is_mapped_and_booted_with_and_never_written(clinic: Clinic) -> None:
    image = clinic.guest(replace(DEFAULT, data=True))
    data = data_disk(image.with_suffix(".data.img"))
    before, kept = sha256(image), sha256(data)
    run, last = clinic.run("virtio", image, also=[str(data)])
    assert isinstance(last, Finished), last
    plan = run.plan()
    assert plan is not None
    assert ("further disk", "hdb becomes vdb") in plan.facts
    assert sha256(data) == kept
    after = boot(image, "virtio", data)
    assert (after.ok, after.root, after.fail) == (True, "vda3", ""), after
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before


def test_a_guest_that_comes_up_without_what_it_had_is_not_committed(clinic: Clinic) -> None:
    """Its root is mounted and userland runs; /boot and swap, which it had on IDE, it has no more."""
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    run, last = clinic.run("virtio", image, keep=["/etc/fstab"])
    assert isinstance(last, RunFailed), last
    assert "comes up on virtio without what it had" in last.why
    assert "mounting the disk1 on /boot failed" in last.why
    assert any("boot as it was after" in text and "FIXTURE-BOOTED" in text for text in logs(run.journal))
    assert sha256(image) == before
