"""A domain by its name: its disks in the guest's order, and its description with everything on virtio."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.host.libvirt import parsed
from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from engines.virtio import domain
from engines.virtio.params import ConvertParams
from tests.absent import absent

XML = """\
<domain type='test'>
  <name>web1</name>
  <memory>65536</memory>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='cdrom'>
      <source file='/srv/cd.iso'/>
      <target dev='hdc' bus='ide'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/data.img'/>
      <target dev='hdb' bus='ide'/>
      <address type='drive' controller='0' bus='0' target='0' unit='1'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/root.img'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='{folder}/new.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:12:34:56'/>
      <source bridge='br0'/>
      <model type='rtl8139'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:12:34:57'/>
      <source bridge='br0'/>
    </interface>
  </devices>
</domain>
"""


@contextmanager
def libvirt(folder: Path) -> Iterator[None]:
    """libvirt's own test driver, which keeps its domains in this process's description of a node."""
    if shutil.which("virsh") is None:
        absent("needs virsh: apt-get install libvirt-clients")
    text = XML.replace("{folder}", str(folder))
    (folder / "node.xml").write_text(f"<node>{text}</node>")
    before = os.environ.get("LIBVIRT_DEFAULT_URI")
    os.environ["LIBVIRT_DEFAULT_URI"] = f"test://{folder}/node.xml"
    try:
        yield
    finally:
        os.environ.pop("LIBVIRT_DEFAULT_URI")
        if before is not None:
            os.environ["LIBVIRT_DEFAULT_URI"] = before


def test_disks_and_cards_move_and_all_else_stays() -> None:
    after = domain.moved(XML)
    found = parsed(after)
    assert found is not None
    assert [(disk.path.name, disk.target, disk.bus) for disk in found.disks] == [
        ("cd.iso", "hdc", "ide"),
        ("data.img", "vdc", "virtio"),  # after the root, as in the guest
        ("root.img", "vdb", "virtio"),
        ("new.img", "vda", "virtio"),
    ]
    assert after.count("<model type='virtio'/>") == 2
    assert "<address" not in after
    assert "52:54:00:12:34:56" in after
    assert domain.moved(after) == after


def test_a_new_image_takes_the_old_ones_place_in_the_description(tmp_path: Path) -> None:
    old, new = tmp_path / "root's.vmdk", tmp_path / "a&b.qcow2"
    old.touch()
    text = XML.replace("{folder}/root.img", str(old).replace("'", "&apos;")).replace("type='raw'", "type='vmdk'")
    found = parsed(domain.moved(text, domain.Replaced(old, new, "qcow2")))
    assert found is not None
    assert [(disk.path.name, disk.format) for disk in found.disks if disk.target in ("vdb", "vdc")] == [
        ("data.img", "vmdk"),
        ("a&b.qcow2", "qcow2"),
    ]


def test_a_domain_is_asked_of_libvirt_for_its_disks_in_order(tmp_path: Path) -> None:
    with libvirt(tmp_path):
        assert subprocess.run(["virsh", "dominfo", "web1"], capture_output=True).returncode == 0
        params = convert(ConvertParams, {"domain": "web1"}).found()
        assert Path(params.image).name == "root.img"
        assert [Path(each).name for each in params.also] == ["data.img"]
        with pytest.raises(Refused, match="knows no domain web2"):
            domain.disks("web2")


def test_neither_image_nor_domain_is_refused() -> None:
    with pytest.raises(BadParam, match="a disk image, or left out where --domain"):
        _ = convert(ConvertParams, {}).path


SCSI = """\
<domain type='kvm'><name>web1</name><devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source dev='{path}' index='1'>
        <seclabel model='dac' relabel='no'/>
      </source>
      <target dev='sda' bus='scsi' rotation_rate='7200'/>
      <serial>WD-1</serial>
      <wwn>5000c50015ea71ad</wwn>
      <vendor>SEAGATE</vendor>
      <product>ST3146807LC</product>
      <boot order='1'/>
      <address type='drive' controller='0' bus='0' target='0' unit='0'/>
    </disk>
    <controller type='scsi' index='0' model='lsilogic'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>
    </controller>
    <interface type='hostdev' managed='yes'>
      <source>
        <address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x0'/>
      </source>
    </interface>
    <interface type='network'>
      <source network='default'/>
      <model type='virtio-transitional'/>
    </interface>
</devices></domain>
"""


def test_what_only_a_scsi_disk_may_have_goes_and_a_card_of_the_hosts_stays() -> None:
    text = SCSI.replace("{path}", "/dev/vg0/web1")
    after = domain.moved(text)
    disk, rest = after.split("</disk>")
    assert "<target dev='vda' bus='virtio'/>" in disk
    assert not any(word in disk for word in ("<wwn", "<vendor", "<product", "<address", "rotation_rate"))
    assert all(word in disk for word in ("<serial>WD-1</serial>", "<boot order='1'/>", "discard='unmap'", "<seclabel"))
    assert rest == text.split("</disk>")[1]
    assert domain.moved(after) == after


def test_a_source_with_more_in_it_gets_the_new_image(tmp_path: Path) -> None:
    old, new = tmp_path / "lv", tmp_path / "web1.qcow2"
    old.touch()
    after = domain.moved(SCSI.replace("{path}", str(old)), domain.Replaced(old, new, "qcow2"))
    found = parsed(after)
    assert found is not None
    assert [(disk.path, disk.target, disk.format) for disk in found.disks] == [(new, "vda", "qcow2")]
    assert "<disk type='file' device='disk'>" in after
    assert f"<source file=\"{new}\" index='1'>" in after and "<seclabel" in after
