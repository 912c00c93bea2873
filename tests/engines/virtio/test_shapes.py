"""Guests of different shapes in different containers: each boots before (UEFI aside) and after, and is undone whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.job.contract import Finished, TextChange
from engines.rehearsal.guest.build import data_disk
from engines.rehearsal.guest.shape import DEFAULT, SHAPES
from tests.engines.guest.images import clean, loop, same_disk, sha256
from tests.engines.virtio.clinic import Clinic, boot, logs, qcow2_of, told
from tests.engines.virtio.conftest import Proven

pytestmark = pytest.mark.boot


def test_names_by_serial_number_become_lasting_ones_on_a_disk_that_is_converted_in_place(
    clinic: Clinic, proven: Proven
) -> None:
    """The patient's own disk under a live CD: a block device. Its name is found."""
    image = clinic.guest(SHAPES["by-id"])
    before, row = sha256(image), proven.row("by-id")
    with loop(image) as device:
        assert boot(device, "ide").fail == ""
        run, last = clinic.run("virtio", device)
        assert isinstance(last, Finished), last
        row["plan"] = row["boots before"] = row["convert"] = True
        plan = run.plan()
        assert plan is not None
        assert plan.params["from_disk"] == "sda"
        files = {change.target: change.after for change in plan.changes if isinstance(change, TextChange)}
        fstab = next(text for path, text in files.items() if "fstab" in path)
        assert fstab is not None
        assert fstab.count("\nUUID=") + fstab.startswith("UUID=") == 3
        assert "by-id" not in fstab
        after = told(run)
        assert (after.ok, after.root, after.boot, after.swap, after.fail) == (True, "vda3", "vda1", "vda2", ""), after
        row["boots after"] = True
        assert isinstance(clinic.after(run, "undo"), Finished)
        assert sha256(device) == before
    row["undo"] = sha256(image) == before
    assert row["undo"]


def test_a_volume_group_behind_a_filter_that_knows_the_old_disk_only_boots_from_a_qcow2(
    clinic: Clinic, proven: Proven
) -> None:
    image = clinic.guest(qcow2_of(SHAPES["lvm-filter"]))
    kept = clinic.copy(image)
    before, row = sha256(image), proven.row("lvm-filter")
    ide = boot(image, "ide", form="qcow2")
    assert (ide.root, ide.fail) == ("dm-0", ""), ide
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    row["plan"] = row["boots before"] = row["convert"] = True
    after = told(run)
    assert (after.root, after.boot, after.eth0, after.fail) == ("dm-0", "vda1", "virtio_net", ""), after
    row["boots after"] = True
    assert clean(image)
    assert not same_disk(image, kept, ("qcow2", "qcow2"))
    assert isinstance(clinic.after(run, "undo"), Finished)
    row["undo"] = sha256(image) == before
    assert row["undo"]
    assert same_disk(image, kept, ("qcow2", "qcow2"))
    assert clean(image)


def test_a_second_disk_is_mapped_and_booted_with_and_never_written(clinic: Clinic, proven: Proven) -> None:
    """The guest's tools call the vsyscall page, too: they run in the appliance."""
    image = clinic.guest(replace(DEFAULT, data=True, old_glibc=True))
    data = data_disk(image.with_suffix(".data.img"))
    before, kept, row = sha256(image), sha256(data), proven.row("two-disks")
    ide = boot(image, "ide", data)
    assert (ide.ok, ide.root, ide.fail) == (True, "hda3", ""), ide
    run, last = clinic.run("virtio", image, also=[str(data)])
    assert isinstance(last, Finished), last
    row["plan"] = row["boots before"] = row["convert"] = True
    plan = run.plan()
    assert plan is not None
    assert ("further disk", "hdb becomes vdb") in plan.facts
    assert sha256(data) == kept
    after = told(run)
    assert (after.ok, after.root, after.fail) == (True, "vda3", ""), after
    row["boots after"] = True
    assert isinstance(clinic.after(run, "undo"), Finished)
    row["undo"] = sha256(image) == before
    assert row["undo"]


def test_a_guest_that_names_all_by_uuid_lacks_an_initrd_only(clinic: Clinic, proven: Proven) -> None:
    image = clinic.guest(SHAPES["all-uuid"])
    before, row = sha256(image), proven.row("all-uuid")
    ide = boot(image, "ide")
    assert (ide.ok, ide.fail) == (True, ""), ide
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    row["plan"] = row["boots before"] = row["convert"] = True
    after = told(run)
    assert (after.ok, after.root, after.boot, after.eth0, after.fail) == (True, "vda3", "vda1", "virtio_net", ""), after
    row["boots after"] = True
    assert isinstance(clinic.after(run, "undo"), Finished)
    row["undo"] = sha256(image) == before
    assert row["undo"]


def test_a_guest_of_uefi_is_proved_by_uefi_without_its_machines_own_variables(clinic: Clinic, proven: Proven) -> None:
    image = clinic.guest(SHAPES["uefi"])
    before, row = sha256(image), proven.row("uefi")
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    row["plan"] = row["convert"] = True
    assert "root is mounted from vda" in last.result["boot_test"]
    assert any("virtio, ovmf" in text for text in logs(run.journal))
    row["boots after"] = True
    assert isinstance(clinic.after(run, "undo"), Finished)
    row["undo"] = sha256(image) == before
    assert row["undo"]
