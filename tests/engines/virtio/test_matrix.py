"""Every kind of guest: boots from IDE and not from virtio before, from virtio after, and is the same after an undo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.job import runs
from engines.job.contract import Finished, StepEnded, StepStarted
from engines.job.jobfile import Job
from engines.job.journal import Entry
from engines.job.params import convert
from engines.job.perform import perform
from engines.rehearsal.guest.build import data_disk
from engines.rehearsal.guest.shape import DEFAULT, SHAPES
from engines.virtio import inspect
from engines.virtio.convert import Convert
from engines.virtio.params import InspectParams
from tests.agreed import AGREED
from tests.engines.guest.images import clean, loop, same_disk, sha256
from tests.engines.virtio.clinic import Clinic, boot, qcow2_of, told
from tests.engines.virtio.conftest import Proven

pytestmark = [pytest.mark.boot, pytest.mark.soak]


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name: str, clinic: Clinic, proven: Proven) -> None:
    """Inspect, plan, boot before, convert with its boot test, boot after, undo: a row of the matrix."""
    shape = SHAPES[name]
    image = clinic.guest(shape)
    more = [data_disk(image.with_suffix(".data.img"))] if shape.data else []
    before = sha256(image)
    row = proven.row(name)
    with clinic.state():
        row["inspect"] = inspect.answer(convert(InspectParams, {"image": str(image)}))["convertible"]
    if not shape.uefi:  # its loader is where blank firmware variables do not look; the boot test puts it there
        ide = boot(image, "ide", *more)
        assert ide.ok, ide
        assert ide.fail == ("eth0" if shape.nic == "xennet" else ""), ide  # no kernel here has a driver of that name
        assert bool(ide.eth0) is (shape.nic not in ("xennet", "vmxnet3")), ide
        row["boots before"] = ide.ok
    run, last = clinic.run("virtio", image, also=[str(each) for each in more])
    assert isinstance(last, Finished), last
    row["plan"] = run.plan() is not None
    row["convert"] = "root is mounted from vda" in last.result["boot_test"]
    assert row["convert"], last.result
    if not shape.uefi:
        after = told(run)
        assert (after.ok, after.boot, after.eth0, after.fail) == (True, "vda1", "virtio_net", ""), after
        assert after.root == ("dm-0" if shape.root == "lvm" else "vda3")
        row["boots after"] = after.ok
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(image) == before
    row["undo"] = True


@pytest.mark.parametrize("form", ["vmdk", "vdi", "vpc", "vhdx"])
def test_container(form: str, clinic: Clinic, proven: Proven) -> None:
    """Another hypervisor's image: the result is a new one, and undo removes it."""
    raw = clinic.guest(DEFAULT)
    image = raw.with_suffix(f".{form}")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, raw, image], check=True)
    before, row = sha256(image), proven.row(form)
    ide = boot(raw, "ide")  # the same disk in a container that QEMU writes as well
    assert (ide.ok, ide.fail) == (True, ""), ide
    row["boots before"] = ide.ok
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    row["plan"] = row["convert"] = True
    new = Path(last.result["new_image"])
    assert boot(new, "virtio", form="qcow2").fail == ""
    row["boots after"] = True
    assert sha256(image) == before
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert not new.exists()
    row["undo"] = sha256(image) == before


@pytest.mark.parametrize("name", ["default", "lvm", "centos7"])
def test_block(name: str, clinic: Clinic, proven: Proven) -> None:
    image = clinic.guest(SHAPES[name])
    before, row = sha256(image), proven.row(f"block {name}")
    with loop(image) as device:
        row["boots before"] = boot(device, "ide").ok
        run, last = clinic.run("virtio", device)
        assert isinstance(last, Finished), last
        row["plan"] = row["convert"] = True
        after = boot(device, "virtio")
        assert (after.ok, after.fail) == (True, ""), after
        row["boots after"] = True
        assert isinstance(clinic.after(run, "undo"), Finished)
    row["undo"] = sha256(image) == before
    assert row["boots before"] and row["undo"]


@pytest.mark.parametrize("name", ["default", "uuid", "centos6"])
def test_qcow2(name: str, clinic: Clinic, proven: Proven) -> None:
    image = clinic.guest(qcow2_of(SHAPES[name]))
    kept = clinic.copy(image)
    before, row = sha256(image), proven.row(f"qcow2 {name}")
    row["boots before"] = boot(image, "ide", form="qcow2").ok
    run, last = clinic.run("virtio", image)
    assert isinstance(last, Finished), last
    row["plan"] = row["convert"] = True
    assert clean(image)
    after = boot(image, "virtio", form="qcow2")
    assert (after.ok, after.fail) == (True, ""), after
    row["boots after"] = True
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert same_disk(image, kept, ("qcow2", "qcow2"))
    assert clean(image)
    row["undo"] = sha256(image) == before
    assert row["boots before"] and row["undo"]


def test_qcow2_with_a_backing_file(clinic: Clinic) -> None:
    base = clinic.guest(DEFAULT)
    top = base.with_suffix(".top.qcow2")
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.name, "-F", "raw", top], check=True, cwd=base.parent
    )
    below, before = sha256(base), sha256(top)
    run, last = clinic.run("virtio", top)
    assert isinstance(last, Finished), last
    assert sha256(base) == below
    assert boot(top, "virtio", form="qcow2").ok
    assert isinstance(clinic.after(run, "undo"), Finished)
    assert sha256(top) == before


@pytest.mark.parametrize("mode", ["resume", "undo"])
@pytest.mark.parametrize("step", ["edit", "initrd", "save", "commit", "commit's end"])
def test_a_run_killed_at_a_step_is_finished_or_taken_back(step: str, mode: str, clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    job = Job(task="virtio", params={"image": str(image), "boot_test": False})
    with clinic.state():
        run = runs.create(job, str(image))
        child = os.fork()
        if child == 0:

            def listen(entry: Entry) -> None:
                begun = isinstance(entry.event, StepStarted) and entry.event.step == step
                ended = isinstance(entry.event, StepEnded) and f"{entry.event.step}'s end" == step
                if begun or ended:
                    os.kill(os.getpid(), signal.SIGKILL)

            perform(run, Convert(), listen=listen, confirm=AGREED)
            os._exit(7)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert run.status() == "interrupted"
    last = clinic.after(run, mode)
    assert isinstance(last, Finished), last
    if mode == "undo":
        assert sha256(image) == before
    else:
        assert sha256(image) != before
        assert boot(image, "virtio").ok


def test_the_command_line_does_the_whole_job(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    with clinic.state():
        command = [sys.executable, "-m", "engines.cli", "virtio", "convert", str(image), "--no-boot-test"]
        dry = subprocess.run([*command, "--dry-run", "--json"], capture_output=True, text=True, check=True)
        assert '"task":"virtio"' in dry.stdout.replace(" ", "")
        assert sha256(image) == before
        assert subprocess.run(command, capture_output=True, check=False).returncode == 2
        subprocess.run([*command, "--confirm", image.name], check=True, capture_output=True)
        assert sha256(image) != before
        subprocess.run([sys.executable, "-m", "engines.cli", "undo", "last"], check=False, capture_output=True)
