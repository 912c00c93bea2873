"""Boot menus whose kernels take arguments from elsewhere in the menu: the added entry has them with the new disk."""

from __future__ import annotations

import pytest

from engines.virtio.lines import bls, extlinux, grub2
from engines.virtio.lines.disks import Disks

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
SDA = Disks("sda", "vda", stable={f"{DISK}-part3": "UUID=3333"})
XVDA = Disks("xvda", "vda")


@pytest.mark.parametrize(
    ("set_", "linux", "made"),
    [
        ('set opts="root=/dev/sda3 ro"', "/vmlinuz-5 $opts", "/vmlinuz-5 root=/dev/vda3 ro"),
        (f"set opts='root={DISK}-part3'", "/vmlinuz-5 ${opts} quiet", "/vmlinuz-5 root=UUID=3333 quiet"),
        ("set opts=root=/dev/sda3", "/vmlinuz-5 x=$optsx $opts", "/vmlinuz-5 x=$optsx root=/dev/vda3"),
        ('set opts="root=UUID=1 ro"', "/vmlinuz-5 $opts", "/vmlinuz-5 $opts"),
        ('set opts="root=/dev/sdb3"', "/vmlinuz-5 $opts root=/dev/sda3", "/vmlinuz-5 $opts root=/dev/vda3"),
        ('  set opts="root=803"', "/vmlinuz-5 ro $opts", "/vmlinuz-5 ro root=/dev/vda3"),
    ],
)
def test_a_variable_that_names_the_old_disk_is_written_out_in_the_added_entry(set_: str, linux: str, made: str) -> None:
    text = f"{set_}\nmenuentry 'A' {{\n\tlinux {linux}\n\tinitrd /i-5\n}}\n"
    (stock,) = grub2.entries(text)
    added = grub2.with_entry(text, stock, "i-5-custom", SDA)
    assert added.startswith(text)
    assert grub2.entries(added)[1].lines[1] == f"\tlinux {made}\n"
    assert f"\n\tlinux {made}\n" in grub2.renamed(text, "5", SDA)


SHARED = "default linux\nappend initrd=/i-5 root=/dev/sda3 ro\nlabel linux\n  kernel /vmlinuz-5\n"


def test_arguments_in_front_of_all_labels_are_those_of_a_label_without_its_own() -> None:
    other = "label old\n  kernel /vmlinuz-4\n  append -\n  initrd /i-4\n"
    first, second = extlinux.entries(SHARED + other)
    assert (first.initrd, second.initrd) == ("/i-5", "/i-4")
    added = extlinux.with_entry(SHARED + other, first, "i-5-custom", SDA)
    assert added == SHARED + other + (
        "label linux-virtio\n  kernel /vmlinuz-5\n\tappend initrd=/i-5-custom root=/dev/vda3 ro\n"
    )
    assert extlinux.with_entry(added, first, "i-5-custom", SDA) == added
    again = extlinux.with_entry(SHARED + other, second, "i-4-custom", SDA)
    assert again == SHARED + other + other.replace("old", "old-virtio").replace("i-4", "i-4-custom")
    assert extlinux.renamed(SHARED + other, "5", SDA) == (SHARED + other).replace("sda3", "vda3")
    assert extlinux.renamed(SHARED + other, "4", SDA) == SHARED + other


def test_arguments_behind_a_kernel_name_the_new_disk() -> None:
    text = "DEFAULT a\nLABEL a\n  LINUX /vmlinuz-5 root=/dev/sda3\n  INITRD /i-5\n"
    (stock,) = extlinux.entries(text)
    added = extlinux.with_entry(text, stock, "i-5-custom", SDA)
    assert added.endswith("LABEL a-virtio\n  LINUX /vmlinuz-5 root=/dev/vda3\n  INITRD /i-5-custom\n")
    assert extlinux.renamed(text, "5", SDA) == text.replace("sda3", "vda3")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (SHARED, ["append initrd=/i-5 root=/dev/sda3 ro"]),
        ("LABEL a\nLINUX /vmlinuz-5 root=/dev/sda3 quiet\n", ["LINUX /vmlinuz-5 root=/dev/sda3"]),
        ("LABEL a\nLINUX /v-5\nLABEL b\nLINUX /v-4\nAPPEND x\n", ["LINUX /v-5", "APPEND x"]),
    ],
)
def test_each_kernel_of_a_menu_speaks_once(text: str, spoken: list[str]) -> None:
    lines = [line for line in extlinux.for_serial(text).splitlines() if "console=ttyS0" in line]
    assert lines == [f"{line} console=tty0 console=ttyS0,115200" for line in spoken]


@pytest.mark.parametrize(
    "names",
    [
        ("a-5.14.0-70", "a-5.14.0-70~debug"),
        ("a-6.1.0", "a-6.1.0~rc1", "a-5.14.0-162", "a-5.14.0-70"),
        ("a-6.1.0.1", "a-6.1.0^git1", "a-6.1.0"),
        ("a-5.14-alpha", "a-5.14"),
        ("a-5.14-70.el9_1.x86_64", "a-5.14-70.el9.x86_64", "a-0-rescue"),
    ],
)
def test_snippets_stand_in_the_order_of_grubs_menu(names: tuple[str, ...]) -> None:
    snippets = {f"/boot/loader/entries/{name}.conf": f"title {name}\nlinux /vmlinuz-1\n" for name in sorted(names)}
    assert [each.title for each in bls.entries(snippets)] == list(names)


def test_a_xen_guests_kernel_of_any_menu_loses_the_console_that_only_xen_has() -> None:
    text = "LABEL a\nLINUX /v-5\nINITRD /i-5\nAPPEND console=tty0 console=hvc0 root=/dev/xvda1\n"
    (stock,) = extlinux.entries(text)
    assert extlinux.with_entry(text, stock, "i-c", XVDA).endswith("APPEND console=tty0 root=/dev/vda1\n")
