"""Who is on a host is told by two questions to one virsh and one report of LVM, with a reason for whoever cannot be
backed up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from engines.backup.guests.domains import guest
from engines.backup.guests.finding import find, fit
from engines.backup.guests.volumes import by_volumes, identity
from engines.backup.limits import libvirt as limits
from engines.backup.sources.lvm.report import LogicalVolume
from tests.engines.backup.guests.host import RUNNING, domain, node, raw, uuid

RBD = "<disk type='network' device='disk'><source protocol='rbd' name='pool/web'/><target dev='vdb'/></disk>"
AGENT = (
    "<channel type='unix'><source mode='bind' path='/run/agent.sock'/>"
    "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
)
WHY = {
    RBD: "rbd:pool/web is no file and no device of this host (network disks are not read)",
    "<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vda'/></disk>": "p/v is no file",
    "<disk type='file' device='disk'><source file='/a'/><target dev='vda'/><shareable/></disk>": "it is shared",
    "<disk type='file' device='disk'><source file='/a'/><target dev='vda'/><transient/></disk>": "it is transient",
    "<disk type='file' device='disk'><driver type='vmdk'/><source file='/a'/><target dev='vda'/></disk>": "its format",
    "<disk type='block' device='disk'><driver type='qcow2'/><source dev='/d'/><target dev='vda'/></disk>": "it is q",
}  # fmt: skip
LISTS = "*' list --all'*"  # a pattern of the shell for the words of virsh
TEMPLATE = dict.fromkeys(LogicalVolume.__struct_fields__, "") | {
    "vg_name": "vg", "lv_attr": "-wi-ao----", "lv_size": "1", "lv_kernel_major": "253", "lv_kernel_minor": "1",
}  # fmt: skip


def volume(name: str, **given: str) -> LogicalVolume:
    return msgspec.convert({**TEMPLATE, "lv_name": name, "lv_path": f"/dev/vg/{name}", **given}, LogicalVolume)


def wrapped(folder: Path, script: str, patch: pytest.MonkeyPatch) -> None:
    """A virsh that runs `script` in its shell before the real one."""
    virsh = folder / "virsh"
    virsh.write_text(f'#!/bin/sh\n{script}\nexec /usr/bin/virsh "$@"\n')
    virsh.chmod(virsh.stat().st_mode | stat.S_IXUSR)
    patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_host_with_400_guests_is_asked_by_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    wrapped(tmp_path, f"echo x >> {calls}", monkeypatch)
    uri = node(tmp_path / "host.xml", *(domain(n, f"web{n:03}", raw(f"/i/{n}.img")) for n in range(400)))
    found = find(uri)
    assert found.silent == ()
    assert [one.name for one in found.guests] == [f"web{n:03}" for n in range(400)]
    assert {one.uuid for one in found.guests} == {uuid(n) for n in range(400)}
    assert all(one.whole and not one.running for one in found.guests)
    assert calls.read_text().count("x") == 2


def test_a_list_that_fails_is_no_empty_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = 'echo "error: Failed to list domains" >&2; exit 1'
    wrapped(tmp_path, f'case "$*" in {LISTS}) {fails};; esac', monkeypatch)
    found = find(node(tmp_path / "host.xml", domain(1, "web1", raw("/a"))))
    assert found.guests == () and found.silent == ("libvirt: Failed to list domains",)


def test_who_is_listed_and_not_described_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = f'case "$*" in {LISTS}) ;; *) grep -v {uuid(2)} | /usr/bin/virsh "$@"; exit 0;; esac'
    wrapped(tmp_path, dumps, monkeypatch)
    odd = "<backup xmlns='urn:other'><domain>x</domain></backup>"
    more = domain(3, "web3", raw("/c")).replace("<memory>", f"<metadata>{odd}</metadata><memory>")
    found = find(node(tmp_path / "host.xml", domain(1, "web1", raw("/a")), domain(2, "web2", raw("/b")), more))
    assert [one.name for one in found.guests] == ["web1", "web3"] and found.guests[1].whole
    assert found.silent == (f"libvirt: guest {uuid(2)} is there and could not be read",)


def test_who_goes_while_the_host_is_asked_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = tmp_path / "host.xml"
    without = tmp_path / "without.xml"
    node(without, domain(1, "web1", raw("/a")))
    wrapped(tmp_path, f'case "$*" in {LISTS}) ;; *) cp {without} {host};; esac', monkeypatch)
    found = find(node(host, domain(1, "web1", raw("/a")), domain(2, "web2", raw("/b"))))
    assert [one.name for one in found.guests] == ["web1"] and found.silent == ()


def test_the_limit_of_the_last_of_400_guests_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "last.img"
    image.write_bytes(b"x")
    tuned = raw(image).replace("<target", "<iotune><read_bytes_sec>1048576</read_bytes_sec></iotune><target")
    uri = node(
        tmp_path / "host.xml", *(domain(n, f"web{n}", raw(f"/i/{n}")) for n in range(399)), domain(399, "z", tuned)
    )
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", uri)
    assert limits.limit(image) == (1048576.0, "libvirt's limit for VM z")


def test_a_renamed_guest_is_the_same_and_what_it_says_of_itself_is_heard(tmp_path: Path) -> None:
    before = find(node(tmp_path / "a.xml", domain(1, "old", raw("/a"), metadata="policy='gold' tags='db eu'")))
    after = find(node(tmp_path / "b.xml", domain(1, "new name", raw("/a"), metadata="skip='scratch'")))
    assert before.guests[0].uuid == after.guests[0].uuid
    assert (before.guests[0].policy, before.guests[0].tags) == ("gold", ("db", "eu"))
    assert (after.guests[0].name, after.guests[0].skip) == ("new name", "scratch")


@pytest.mark.parametrize("devices", WHY)
def test_who_cannot_be_backed_up_is_listed_with_the_reason(devices: str, tmp_path: Path) -> None:
    found = find(node(tmp_path / "host.xml", domain(1, "web1", devices)))
    assert found.guests[0].disks[0].why.startswith(WHY[devices])
    assert not found.guests[0].whole and WHY[devices] in found.guests[0].reason()


def test_discs_are_no_disks_and_a_guest_without_disks_is_told(tmp_path: Path) -> None:
    disc = "<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hdc'/></disk>"
    found = find(node(tmp_path / "host.xml", domain(1, "live", disc)))
    assert (found.guests[0].disks, found.guests[0].why) == ((), "it has no disk")


def test_the_file_of_a_running_guest_needs_somebody_who_holds_the_moment(tmp_path: Path) -> None:
    qmp = "<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:/run/q.sock,server=on'/></qemu:commandline>"
    told = [
        guest(domain(1, "web1", raw("/a") + AGENT, more=more).replace("'test'", "'test' id='1'", 1))
        for more in ("", qmp)
    ]
    torn, held = (one for one in told if one)
    assert torn.running and torn.agent == "/run/agent.sock"
    assert torn.disks[0].why.startswith("its guest runs and writes to the file")
    assert held.whole and held.qmp == "/run/q.sock"


def test_what_runs_is_told_from_what_is_off(tmp_path: Path) -> None:
    found = find(node(tmp_path / "host.xml", domain(1, "off"), domain(2, "on", state=RUNNING)))
    assert {one.name: one.running for one in found.guests} == {"off": False, "on": True}


def test_a_libvirt_that_does_not_answer_is_told_and_no_empty_host(tmp_path: Path) -> None:
    found = find(f"test://{tmp_path}/missing.xml")
    assert found.guests == () and "missing.xml" in found.silent[0]
    assert find(node(tmp_path / "empty.xml")).silent == ()


def test_volumes_are_guests_by_their_names_and_tags() -> None:
    known = [
        volume("vm-101-disk-0", lv_tags="cc_gold,other"),
        volume("vm-101-disk-1", lv_attr="-wi-------", lv_kernel_major="-1", lv_kernel_minor="-1"),
        volume("vm-102-disk-0", lv_path="/dev/vg/vm-102-disk-0"),
        volume("vm-103-disk-0"),
        volume("vm-104-snap", origin="vm-101-disk-0", lv_attr="swi-a-s---"),
        volume("data", lv_attr="twi-aotz--"),
        volume("root"),
    ]
    found = by_volumes(r"^(?P<vm>vm-\d+)-(?P<disk>.+)$", ["/dev/mapper/vg-vm--103--disk--0"], known)
    assert [one.name for one in found] == ["vm-101", "vm-102"]
    assert found[0].policy == "gold" and found[0].uuid == identity("vm-101")
    assert [disk.name for disk in found[0].disks] == ["disk-0", "disk-1"]
    assert "lvchange --activate y vg/vm-101-disk-1" in found[0].reason()
    assert found[1].whole and found[1].disks[0].source == "/dev/vg/vm-102-disk-0"


def test_a_volume_is_no_guest_of_its_own_where_a_guest_has_it_by_another_path(tmp_path: Path) -> None:
    (tmp_path / "dm-5").touch()
    for name in ("by-id", "lv"):
        (tmp_path / name).symlink_to("dm-5")
    known = [volume("vm-1-a", lv_path=f"{tmp_path}/lv"), volume("vm-2-a")]
    assert [one.name for one in by_volumes(r"^(?P<vm>vm-\d)-(?P<disk>.+)$", [f"{tmp_path}/by-id"], known)] == ["vm-2"]


def test_a_name_of_which_the_pattern_leaves_a_part_empty_is_no_guest() -> None:
    known = [volume("-a"), volume("b-"), volume("c"), volume("vm-a")]
    assert [one.name for one in by_volumes(r"^(?P<vm>\w+)?(-(?P<disk>.*))?$", [], known)] == ["vm"]


def test_two_disks_of_one_name_are_told_and_neither_is_taken_for_the_other() -> None:
    twice = [volume("vm-1-a"), volume("vm-1-a", vg_name="vg2", lv_path="/dev/vg2/vm-1-a"), volume("vm-1-b")]
    (guest,) = map(fit, by_volumes(r"^(?P<vm>vm-\d)-(?P<disk>.+)$", [], twice))
    assert [(disk.name, bool(disk.why)) for disk in guest.disks] == [("a", True), ("b", False), ("a", True)]
    assert "another disk of its is called a, too: /dev/vg2/vm-1-a" in guest.reason() and not guest.whole
