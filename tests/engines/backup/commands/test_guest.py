"""A libvirt guest whole: its disks of one moment with its description, NVRAM and TPM state, and all of it back."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engines import tasks
from engines.backup.sources.guest import record
from engines.backup.sources.guest.domain import STATES
from engines.job.contract import Cancel, Finished, Plan, RunFailed
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from tests.absent import absent
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB

DISK = (
    "<disk type='{kind}' device='disk'><driver name='qemu' type='{form}'/>"
    "<source {source}/><target dev='{name}' bus='virtio'/></disk>"
)
XML = """<node><domain type='test'><name>web1</name><uuid>{uuid}</uuid><memory>{memory}</memory>
<os><type>hvm</type><loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
<nvram>{folder}/vars.fd</nvram></os><devices>{disks}
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices></domain></node>"""


@dataclass
class Guest:
    """A guest that libvirt's test driver has: two disks, NVRAM and TPM state."""

    folder: Path
    repo: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    disks: dict[str, str] = field(default_factory=dict)
    memory: int = 65536

    def add(self, name: str, form: str = "raw", kind: str = "file", source: str = "") -> None:
        source = source or f"file='{self.folder / name}'"
        self.disks[name] = DISK.format(kind=kind, form=form, source=source, name=name)

    @property
    def words(self) -> dict[str, Any]:
        """Parameters of a run."""
        text = XML.format(uuid=self.uuid, memory=self.memory, folder=self.folder, disks="".join(self.disks.values()))
        (self.folder / "libvirt.xml").write_text(text)
        return {"repo": self.repo, "guest": "web1", "libvirt": f"test://{self.folder}/libvirt.xml", "limit": "none"}

    def plan(self, **params: Any) -> Plan:
        engine = tasks.engine("backup")
        return engine.plan(convert(engine.params, {**self.words, **params}), Cancel())

    def points(self, **params: Any) -> list[str]:
        return [str(one["point"]) for one in lab.done("backup", **self.words, **params)["points"]]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    if shutil.which("virsh") is None:
        absent("virsh")
    found = Guest(tmp_path, lab.init(tmp_path / "repo"))
    lab.disk(tmp_path / "vda", {0: 1, 3: 2}, 5 * MIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "vdb"), "3M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 1M", str(tmp_path / "vdb")], check=True, capture_output=True)
    found.add("vda")
    found.add("vdb", "qcow2")
    (tmp_path / "vars.fd").write_bytes(b"variables")
    (STATES / found.uuid / "tpm2").mkdir(parents=True)
    (STATES / found.uuid / "tpm2" / "tpm2-00.permall").write_bytes(b"sealed")
    yield found
    shutil.rmtree(STATES / found.uuid)


def test_all_disks_of_a_guest_and_what_stands_beside_them_are_of_one_moment(guest: Guest) -> None:
    plan = guest.plan()
    facts = dict(plan.facts)
    assert facts["left out"] == "sda (cdrom)"
    assert facts["beside its disks"] == "its description, NVRAM, TPM state"
    found = lab.done("backup", **guest.words)
    points = [str(one["point"]) for one in found["points"]]
    assert [point.partition("@")[0] for point in points] == ["web1/vda", "web1/vdb", "web1/guest"]
    assert found["together"]
    assert lab.content(guest.repo, points[0]) == (guest.folder / "vda").read_bytes()
    assert lab.content(guest.repo, points[1]) == bytes(MIB) + b"\7" * MIB + bytes(MIB)
    kept = record.read(lab.content(guest.repo, points[2]))
    assert kept["nvram"] == b"variables"
    assert kept["tpm/tpm2/tpm2-00.permall"] == b"sealed"
    assert f"<uuid>{guest.uuid}</uuid>".encode() in kept["domain.xml"]


def test_an_unchanged_guest_stores_nothing_anew(guest: Guest) -> None:
    guest.points()
    assert lab.done("backup", **guest.words)["changed"] == 0


def test_a_disk_that_was_added_is_found_and_told_and_one_that_is_gone_too(guest: Guest) -> None:
    guest.points()
    lab.disk(guest.folder / "vdc", {0: 9}, MIB)
    guest.add("vdc")
    del guest.disks["vdb"]
    told = lab.warned("backup", **guest.words)
    assert any(text.startswith("vdc of web1 has no point yet") for text in told)
    assert any(text.startswith("vdb of web1 is no disk of the guest any more") for text in told)
    assert guest.plan().warnings == tuple(text for text in guest.plan().warnings if "vdb" in text)
    assert lab.content(guest.repo, "web1/vdc@latest") == lab.block(9)


def test_a_disk_that_cannot_be_read_refuses_the_guest_unless_it_is_left_out(guest: Guest) -> None:
    guest.add("vdc", kind="network", source="protocol='rbd' name='vms/web1'")
    with pytest.raises(Refused, match="network rbd vms/web1") as refused:
        guest.plan()
    assert "--leave vdc" in refused.value.what_helps
    plan = guest.plan(leave=["vdc"])
    assert any("vdc of web1 is left out" in text for text in plan.warnings)
    assert len(guest.points(leave=["vdc"])) == 3
    with pytest.raises(BadParam, match="vda"):
        guest.plan(leave=["vdz"])


def test_another_guest_of_that_name_is_told(guest: Guest) -> None:
    guest.points()
    shutil.move(STATES / guest.uuid, STATES / (other := str(uuid.uuid4())))
    guest.uuid = other
    assert any("is it the same disk?" in text and other in text for text in lab.warned("backup", **guest.words))


def test_its_description_comes_back_as_a_file_and_as_a_diff(guest: Guest) -> None:
    points = guest.points()
    guest.memory = 131072
    found = lab.done(
        "backup-guest",
        repo=guest.repo,
        point="web1@latest",
        into=str(guest.folder / "out"),
        libvirt=guest.words["libvirt"],
    )
    assert found["point"] == points[2]
    assert (guest.folder / "out" / "nvram").read_bytes() == b"variables"
    assert (guest.folder / "out" / "tpm" / "tpm2" / "tpm2-00.permall").read_bytes() == b"sealed"
    lines = (guest.folder / "out" / "domain.diff").read_text().splitlines()
    assert "-  <memory unit='KiB'>131072</memory>" in lines
    assert "+  <memory unit='KiB'>65536</memory>" in lines
    assert any(points[0] in text and str(guest.folder / "vda") in text for text in found["restore"])
    assert any("qemu-img convert -f raw -O qcow2" in text and points[1] in text for text in found["restore"])
    defined = subprocess.run(
        ["virsh", "-c", "test:///default", "define", str(guest.folder / "out" / "domain.xml")], capture_output=True
    )
    assert defined.returncode == 0, defined.stderr


def test_a_guest_that_is_not_defined_any_more_comes_back_all_the_same(guest: Guest) -> None:
    guest.points()
    found = lab.done(
        "backup-guest", repo=guest.repo, point="web1@latest", into=str(guest.folder / "out"), libvirt="test:///default"
    )
    assert found["state"] == "is not defined here now"
    assert (guest.folder / "out" / "domain.xml").exists()


@pytest.mark.parametrize("there", [False, True])
def test_taking_it_back_leaves_what_was_there_before(there: bool, guest: Guest) -> None:
    guest.points()
    words = {"repo": guest.repo, "point": "web1@latest", "into": str(guest.folder / "out")}
    if there:
        (guest.folder / "out").mkdir()
    run, last = lab.perform_job("backup-guest", **words)
    assert isinstance(last, Finished)
    (guest.folder / "out" / ".nvram.4711.0123abcd").write_bytes(b"of a killed run")
    _, last = lab.perform_job("backup-guest", mode="undo", earlier=run.id, **words)
    assert isinstance(last, Finished)
    assert (guest.folder / "out").exists() == there
    assert not there or not any((guest.folder / "out").iterdir())


def test_taking_it_back_leaves_what_others_put_beside_it(guest: Guest) -> None:
    guest.points()
    out, far = guest.folder / "out", guest.folder / "far"
    words = {"repo": guest.repo, "point": "web1@latest", "into": str(out)}
    run, _ = lab.perform_job("backup-guest", **words)
    (out / "web1" / "notes").mkdir(parents=True)
    (out / "web1" / "notes" / "a.txt").write_text("mine")
    (out / "web1" / "nvram").write_text("mine")
    (out / "empty").mkdir()
    far.mkdir()
    (far / "domain.xml").write_text("mine")
    (out / "tpm" / "far").symlink_to(far)
    (out / "far").symlink_to(far)
    _, last = lab.perform_job("backup-guest", mode="undo", earlier=run.id, **words)
    assert isinstance(last, Finished) and "stays" in last.summary
    assert (out / "web1" / "notes" / "a.txt").read_text() == (out / "web1" / "nvram").read_text() == "mine"
    assert (far / "domain.xml").read_text() == "mine"
    assert sorted(each.name for each in out.iterdir()) == ["empty", "far", "tpm", "web1"]
    assert not (out / "tpm" / "tpm2").exists()


def test_a_disk_is_no_record(guest: Guest) -> None:
    guest.points()
    _, last = lab.perform_job("backup-guest", repo=guest.repo, point="web1/vda@latest", into=str(guest.folder / "out"))
    assert isinstance(last, RunFailed) and "no guest's record" in last.why
    assert not (guest.folder / "out").exists()


@pytest.mark.parametrize("name", ["/etc/x", "../x", "tpm/../../x", "other"])
def test_a_record_that_was_made_by_another_leads_nowhere(name: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("domain.xml"))
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(Refused, match="which no guest's record has"):
        record.read(stream.getvalue())


def test_a_guest_or_disks_and_not_both(guest: Guest) -> None:
    with pytest.raises(BadParam, match="not both"):
        guest.plan(source=str(guest.folder / "vda"))
    engine = tasks.engine("backup")
    with pytest.raises(BadParam, match="--guest NAME"):
        engine.plan(convert(engine.params, {"repo": guest.repo, "vm": "web1"}), Cancel())
    with pytest.raises(BadParam, match="--vm VM"):
        engine.plan(convert(engine.params, {"repo": guest.repo, "source": str(guest.folder / "vda")}), Cancel())
    with pytest.raises(Refused, match="libvirt"):
        guest.plan(guest="nobody")
    assert not [*Path(guest.repo, "points").iterdir()]
