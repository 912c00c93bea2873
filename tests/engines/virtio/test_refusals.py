"""What cannot be converted is refused by name, with the next action, and the image stays byte for byte."""

from __future__ import annotations

import gzip
import subprocess
from dataclasses import replace

import pytest

from engines.job.errors import BadParam, Refused
from engines.job.params import convert
from engines.rehearsal.guest.build import layout
from engines.rehearsal.guest.shape import DEFAULT, SHAPES, Shape
from engines.virtio import archive, inspect
from engines.virtio.edits import custom_name
from engines.virtio.initrd import Tool, missing
from engines.virtio.kernels import Kernel, dependencies, module_name, order
from engines.virtio.params import ConvertParams, InspectParams
from tests.engines.guest.images import qemu, sha256
from tests.engines.virtio.clinic import Clinic
from tests.engines.virtio.conftest import Treated

MENU_OLD = replace(DEFAULT, kernel="2.6.18-8.el5")
CASES: dict[str, tuple[Shape, dict[str, str], str]] = {
    "no virtio": (replace(DEFAULT, virtio=False), {}, "no kernel knows virtio"),
    "LILO": (replace(DEFAULT, lilo=True), {}, "LILO"),
    "too old": (MENU_OLD, {}, "too old for virtio"),
    "only xen": (replace(DEFAULT, names="xvd", kernel="2.6.18-398.el5xen"), {"from_disk": "xvda"}, "only Xen kernels"),
    "small /boot": (replace(DEFAULT, boot=14), {}, "/boot has"),
    "other disk": (SHAPES["centos6"], {"from_disk": "hda"}, "it names sda"),
    "unknown kernel": (DEFAULT, {"kernel": "9.9"}, "kernel 9.9 cannot be used"),
}
QUICK = ("small /boot",)


@pytest.mark.boot
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.soak]) for name in CASES]
)
def test_a_guest_that_cannot_be_converted_is_refused_by_name(name: str, clinic: Clinic) -> None:
    shape, params, said = CASES[name]
    image = clinic.guest(shape)
    before = sha256(image)
    with pytest.raises(Refused) as refused:
        clinic.plan("virtio", image, **params)
    assert said in refused.value.why
    assert refused.value.what_helps
    assert sha256(image) == before


def test_a_running_guest_is_refused_before_any_appliance(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    with qemu(f"file={image}", "format=raw", "if=ide"), pytest.raises(Refused, match="lock byte 101"):
        clinic.plan("virtio", image)


@pytest.mark.parametrize("params", [{"from_disk": "hda1"}, {"to_disk": "sda"}, {"format": "qed"}])
def test_parameters_out_of_bounds_are_named(params: dict[str, str]) -> None:
    with pytest.raises(BadParam) as bad:
        convert(ConvertParams, {"image": "/x.img", **params})
    assert next(iter(params)) in bad.value.why


def test_a_boot_test_that_cannot_show_the_disk_name_is_refused(clinic: Clinic) -> None:
    with pytest.raises(Refused, match="not as vdb"):
        clinic.plan("virtio", clinic.guest(DEFAULT), to_disk="vdb")


# ── kernels ─────────────────────────────────────────────────────────────────────────────────────────

AT = "/lib/modules/2.6.18-398.el5/kernel/drivers"
DEP_OLD = f"""\
{AT}/block/virtio_blk.ko: {AT}/virtio/virtio.ko \\
 {AT}/virtio/virtio_ring.ko
{AT}/virtio/virtio_pci.ko: {AT}/virtio/virtio.ko
{AT}/virtio/virtio.ko:
{AT}/virtio/virtio_ring.ko:
"""


def kernel(version: str, text: str = "", builtin: tuple[str, ...] = ()) -> Kernel:
    return Kernel(version, dependencies(text, version), frozenset(builtin))


@pytest.mark.parametrize(
    ("version", "old"),
    [
        *(("2.6.18-8.el5", True), ("2.6.18-92.1.22.el5", True), ("2.6.18-128.el5", False), ("2.6.18-398.el5", False)),
        *(
            ("2.6.18-53.1.4.el5.028stab053.14", True),
            ("2.4.21-4.EL", True),
            ("2.6.32-754.el6", False),
            ("6.1.0-56", False),
        ),
    ],
)
def test_kernels_from_before_virtio_are_known_by_their_version(version: str, old: bool) -> None:
    assert kernel(version).too_old is old


def test_modules_are_found_with_all_they_need_in_both_kinds_of_modules_dep() -> None:
    found = kernel("2.6.18-398.el5", DEP_OLD)
    assert found.virtio
    assert found.wanted(("virtio_blk", "virtio_pci")) == ["virtio", "virtio_blk", "virtio_pci", "virtio_ring"]
    later = kernel(
        "3.10",
        "kernel/drivers/block/virtio-blk.ko.xz: kernel/a/virtio.ko.xz\nkernel/a/virtio.ko.xz:\n",
        ("virtio_pci",),
    )
    assert later.virtio
    assert later.wanted(("virtio_blk", "virtio_pci")) == ["virtio", "virtio_blk"]
    assert not kernel("3.10").virtio
    assert module_name("a/b-c.ko.xz") == "b_c"


def test_versions_sort_as_people_do() -> None:
    found = ["2.6.18-8.el5", "2.6.18-398.el5", "2.6.18-92.1.22.el5"]
    assert sorted(found, key=lambda each: order(each)) == ["2.6.18-8.el5", "2.6.18-92.1.22.el5", "2.6.18-398.el5"]


@pytest.mark.parametrize(
    ("tool", "image", "command"),
    [
        (
            Tool("mkinitrd", "/sbin/mkinitrd"),
            "initrd-V-custom.img",
            "/sbin/mkinitrd -v -f --with=virtio_blk --with=virtio_pci --builtin=xenblk "
            "/boot/initrd-V-custom.img 2.6.18-398.el5",
        ),
        (
            Tool("dracut", "/sbin/dracut"),
            "initramfs-V-custom.img",
            "/sbin/dracut -f --add-drivers 'virtio_blk virtio_pci' /boot/initramfs-V-custom.img 2.6.18-398.el5",
        ),
        (Tool("debian", "/usr/sbin/mkinitramfs"), "i-custom", "/usr/sbin/mkinitramfs -o /boot/i-custom 2.6.18-398.el5"),
        (
            Tool("arch", "/usr/bin/mkinitcpio"),
            "i-custom.img",
            "/usr/bin/mkinitcpio -S autodetect -k 2.6.18-398.el5 -g /boot/i-custom.img",
        ),
        (Tool("alpine", "/sbin/mkinitfs"), "i-custom", "/sbin/mkinitfs -o /boot/i-custom 2.6.18-398.el5"),
        (
            Tool("suse", "/sbin/mkinitrd"),
            "i-custom",
            "/sbin/mkinitrd -k vmlinuz-2.6.18-398.el5 -i i-custom -m 'virtio_blk virtio_pci' -d /dev/vda2",
        ),
    ],
)
def test_each_distribution_gets_its_own_tools_words(tool: Tool, image: str, command: str) -> None:
    assert tool.command(kernel("2.6.18-398.el5", DEP_OLD), image, xen=True, root="/dev/vda2") == command


@pytest.mark.parametrize(
    ("stock", "name"),
    [
        ("/initrd-2.6.18.img", "initrd-2.6.18-custom.img"),
        ("/boot/initramfs-3.10.img", "initramfs-3.10-custom.img"),
        ("/boot/initrd.img-6.1.0-1-amd64", "initrd.img-6.1.0-1-amd64-custom"),
        ("/initrd-2.6.18-custom.img", "initrd-2.6.18-custom.img"),
    ],
)
def test_a_custom_initrd_is_named_after_the_stock_one(stock: str, name: str) -> None:
    assert custom_name(stock) == name


# ── initrds ─────────────────────────────────────────────────────────────────────────────────────────


def cpio(*names: str) -> bytes:
    made = b""
    for name in (*names, "TRAILER!!!"):
        fields = [0, 0o100644, 0, 0, 1, 0, 4, 0, 0, 0, 0, len(name) + 1, 0]
        entry = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        entry += b"\0" * (-len(entry) % 4)
        made += entry + b"data"
    return made[:-4] + b"\0" * (-(len(made) - 4) % 512)


def test_an_initrd_is_listed_behind_an_early_archive_and_its_compression() -> None:
    data = cpio("kernel/x86/microcode/GenuineIntel.bin") + gzip.compress(cpio("./init", "lib/virtio_blk.ko"))
    assert archive.names(data) == ["kernel/x86/microcode/GenuineIntel.bin", "init", "lib/virtio_blk.ko"]
    assert missing(archive.names(data), ["virtio_blk", "virtio_pci"]) == ["virtio_pci"]


@pytest.mark.parametrize("data", [b"nothing of the kind", cpio("a")[:60], b"\x1f\x8b\x08damaged", b"070701zzzz" * 20])
def test_what_is_no_initrd_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"initrd|cpio|compression"):
        archive.names(data)


@pytest.mark.boot
@pytest.mark.soak
def test_an_encrypted_root_is_refused_by_name(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    root = layout(DEFAULT)[2]
    command = ["losetup", "--find", "--show", "--offset", str(root.offset), "--sizelimit", str(root.size), str(image)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        secret = ["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--iter-time", "10", "--key-file", "-", device]
        subprocess.run(secret, input=b"secret", check=True, capture_output=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    with pytest.raises(Refused, match="the root is encrypted"):
        clinic.plan("virtio", image)


@pytest.mark.boot
@pytest.mark.soak
def test_a_disk_without_a_linux_system_is_refused_with_what_is_on_it(clinic: Clinic) -> None:
    image = clinic.guest(DEFAULT)
    with image.open("r+b") as stream:
        stream.seek(layout(DEFAULT)[2].offset)
        stream.write(bytes(1 << 20))
    with pytest.raises(Refused, match="no Linux system is found on the disk") as refused:
        clinic.plan("virtio", image)
    assert "/dev/sda1 ext3" in refused.value.why


@pytest.mark.boot
@pytest.mark.soak
def test_a_converted_guest_is_neither_converted_again_nor_restocked_from_another_disk(
    treated: Treated, clinic: Clinic
) -> None:
    image = clinic.copy(treated.image)
    before = sha256(image)
    with pytest.raises(Refused, match="converted to vda already") as refused:
        clinic.plan("virtio", image)
    assert "virtio restock" in refused.value.what_helps
    with pytest.raises(Refused, match="the stock entry names hda, not sda"):
        clinic.plan("virtio-restock", image, from_disk="sda")
    assert sha256(image) == before


@pytest.mark.boot
@pytest.mark.soak
def test_what_a_guest_is_can_be_asked_without_a_plan(clinic: Clinic) -> None:
    image = clinic.guest(SHAPES["two-kernels"])
    before = sha256(image)
    with clinic.state():
        found = inspect.answer(convert(InspectParams, {"image": str(image)}))
    assert found["convertible"]
    assert found["disk names"] == ["hda"]
    assert found["its name"].startswith("hda (the root in ")
    assert found["network"] == ["eth0 stays: it is bound to 52:54:00:12:34:56, which the virtio card must have too"]
    assert found["kernels"] == {"2.6.18-398.el5": True, "2.6.18-371.el5": True}
    assert "disk names     hda" in inspect.table(found)
    assert sha256(image) == before
