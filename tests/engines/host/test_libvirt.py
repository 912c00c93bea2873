"""A domain's description: every disk is named, wherever it lies, and what else the guest keeps beside its disks."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.host.libvirt import parsed
from engines.host.virsh import VirshFailed, virsh

XML = """\
<domain type='kvm' id='3'>
  <name>web1</name>
  <uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
  <metadata><x:y xmlns:x='http://example.org/x'><disk><source file='/not/a/disk'/></disk></x:y></metadata>
  <os><type>hvm</type><nvram>/var/lib/libvirt/qemu/nvram/web1_VARS.fd</nvram></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/srv/root.qcow2'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='block' device='disk'><source dev='/dev/vg/data'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <disk type='volume' device='disk'><source pool='fast' volume='swap'/><target dev='vdc' bus='virtio'/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='vms/web1'/><target dev='vdd' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <channel type='unix'><source mode='bind' path='/run/agent'/><target name='org.qemu.guest_agent.0'/></channel>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>
"""


def test_every_disk_of_a_domain_is_named_with_its_kind_and_place() -> None:
    found = parsed(XML)
    assert found is not None
    assert [(disk.target, str(disk.path), disk.format, disk.readonly) for disk in found.disks] == [
        ("vda", "/srv/root.qcow2", "qcow2", False),
        ("vdb", "/dev/vg/data", "", True),
    ]
    assert [(disk.target, disk.device, disk.words, disk.volume) for disk in found.elsewhere] == [
        ("vdc", "disk", "volume swap of pool fast", ("fast", "swap")),
        ("vdd", "disk", "network rbd vms/web1", ("", "")),
        ("sda", "cdrom", "no medium", ("", "")),
    ]


def test_what_a_guest_keeps_beside_its_disks_is_known() -> None:
    found = parsed(XML)
    assert found is not None
    assert found.uuid == "6695eb01-f6a4-8304-79aa-97f2502e193f"
    assert found.nvram == Path("/var/lib/libvirt/qemu/nvram/web1_VARS.fd")
    assert (found.tpm, found.agent) == ("emulator", Path("/run/agent"))


def test_a_domain_without_any_of_it_has_none() -> None:
    found = parsed("<domain><name>old</name><devices/></domain>")
    assert found is not None
    assert (found.disks, found.elsewhere, found.uuid, found.nvram, found.tpm, found.agent) == (
        (),
        (),
        "",
        None,
        "",
        None,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Puts a shell script where virsh is looked for."""

    def put(script: str) -> None:
        (tmp_path / "virsh").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "virsh").chmod(0o755)

    os.environ["PATH"], before = f"{tmp_path}:{os.environ['PATH']}", os.environ["PATH"]
    yield put
    os.environ["PATH"] = before


def test_an_answer_without_an_end_is_given_up(stand_in: Callable[[str], None]) -> None:
    """Whoever may define a domain writes its description."""
    stand_in("exec yes '<domain>'")
    with pytest.raises(VirshFailed, match="more than 64 MiB"):
        virsh("list", within=300.0)


def test_an_answer_is_whole_where_no_temporary_file_can_be_made(stand_in: Callable[[str], None]) -> None:
    """virsh ends with 0 whether or not what it prints finds room."""
    stand_in("cat; head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")
    commands = "dumpxml 6695eb01\n" * 20000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # a full disk: no byte of a file is written
        said = virsh(within=300.0, commands=commands)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert said == commands + "x" * 3_000_000


def test_no_is_said_in_its_own_words(stand_in: Callable[[str], None]) -> None:
    stand_in("echo 'error: one' >&2; echo 'error: Cannot recv data' >&2; exit 1")
    with pytest.raises(VirshFailed, match=r"^Cannot recv data$"):
        virsh("list", within=300.0, commands="list\n" * 100_000)  # to which it does not listen


def test_one_that_cannot_be_started_is_told(tmp_path: Path, stand_in: Callable[[str], None]) -> None:
    stand_in("")
    (tmp_path / "virsh").write_bytes(b"\x7fELF")
    os.environ["PATH"] = str(tmp_path)
    with pytest.raises(VirshFailed, match="virsh cannot be asked: Exec format error"):
        virsh("list")
    (tmp_path / "virsh").unlink()
    with pytest.raises(VirshFailed, match="not installed") as absent:
        virsh("list")
    assert absent.value.missing


def test_an_answer_that_does_not_come_is_not_waited_for(stand_in: Callable[[str], None]) -> None:
    stand_in("exec sleep 600")
    with pytest.raises(VirshFailed, match="did not answer within 0 s"):
        virsh("list", within=0.2)


def test_what_it_leaves_behind_holds_nothing_up(tmp_path: Path, stand_in: Callable[[str], None]) -> None:
    """As an ssh that stays for the next question, with virsh's own complaints as its own."""
    stand_in(f"sleep 600 >/dev/null & echo $! >{tmp_path}/left; echo web1")
    try:
        assert virsh("list", within=300.0) == "web1\n"
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
