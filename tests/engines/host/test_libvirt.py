"""A domain's description: every disk is named, wherever it lies, and what else the guest keeps beside its disks."""

from __future__ import annotations

import os
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


def test_an_answer_without_an_end_is_given_up(tmp_path: Path) -> None:
    """Whoever may define a domain writes its description."""
    (tmp_path / "virsh").write_text("#!/bin/sh\nexec yes '<domain>'\n")
    (tmp_path / "virsh").chmod(0o755)
    os.environ["PATH"], before = f"{tmp_path}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        with pytest.raises(VirshFailed, match="more than 64 MiB"):
            virsh("list", within=300.0)
    finally:
        os.environ["PATH"] = before
