"""Names that a bus is part of, second disks, and the files that the next update would undo a conversion by."""

from __future__ import annotations

import pytest

from engines.virtio.lines import bls, extlinux, grub1, grub2, lvmconf, tables, tools
from engines.virtio.lines.disks import NAMED, Disks

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
STABLE = {f"{DISK}-part3": "UUID=3333", f"{DISK}-part1": "UUID=1111", DISK: "/dev/vda"}
SDA = Disks("sda", "vda", more=(("sdb", "vdb"),), stable=STABLE)

# name of the file: editor, before, after
FILES = {
    "fstab": (
        tables.fstab,
        f"{DISK}-part3 / ext4 x 0 1\n{DISK}-part33 /a ext4 x 0 1\n/dev/sdb1 /b ext4 x 0 1\n/dev/sdc1 /c ext4 x 0 1\n",
        f"UUID=3333 / ext4 x 0 1\n{DISK}-part33 /a ext4 x 0 1\n/dev/vdb1 /b ext4 x 0 1\n/dev/sdc1 /c ext4 x 0 1\n",
    ),
    "crypttab": (tables.crypttab, f"c {DISK}-part1 none luks\n", "c UUID=1111 none luks\n"),
    "crypttab's keys": (
        tables.crypttab,
        "c /dev/sda3 none luks\nd UUID=1 none header=/dev/sda5\ne /dev/sda5 /key:/dev/sda6 luks\n",
        "c /dev/vda3 none luks\nd UUID=1 none header=/dev/vda5\ne /dev/vda5 /key:/dev/vda6 luks\n",
    ),
    "SUSE's grub_installdevice": (
        tools.words,
        f"{DISK}-part3\n/dev/sda\nactivate\ngeneric_mbr\n",
        "UUID=3333\n/dev/vda\nactivate\ngeneric_mbr\n",
    ),
    "lvmlocal.conf": (
        lvmconf.filters,
        'devices { filter = [ "a|^/dev/sda.*|", "r|.*|" ] }\ndevices/filter = [ "a|^/dev/sda|", "r|.*|" ]\n',
        'devices { filter = [ "a|^/dev/vda[0-9]*$|", "a|^/dev/sda.*|", "r|.*|" ] }\n'
        'devices/filter = [ "a|^/dev/vda[0-9]*$|", "a|^/dev/sda|", "r|.*|" ]\n',
    ),
    "mkinitcpio with comments": (
        tools.arch,
        "MODULES=(\n  ext4  # a root\n)\nHOOKS=(base)",
        "MODULES=(\n  ext4  # a root\n)\nHOOKS=(base)\nMODULES+=(virtio_blk virtio_pci)\n",
    ),
    "mkinitfs without quotes": (tools.alpine, "features=ata\n", 'features="ata virtio"\n'),
    "mdadm patterns of both": (tools.mdadm, "DEVICE /dev/[sh]d*\n", "DEVICE /dev/[sh]d* /dev/vd*\n"),
    "mdadm patterns of others": (tools.mdadm, "DEVICE /dev/dm-*\n", "DEVICE /dev/dm-*\n"),
    "device.map": (tables.device_map, f"(hd0)\t{DISK}\n(hd1)\t/dev/sdb\n", "(hd0)\t/dev/vda\n(hd1)\t/dev/vdb\n"),
    "default/grub": (
        tables.settings,
        f'GRUB_CMDLINE_LINUX="resume={DISK}-part1 quiet"\n# resume={DISK}-part1\n',
        f'GRUB_CMDLINE_LINUX="resume=UUID=1111 quiet"\n# resume={DISK}-part1\n',
    ),
    "initramfs resume": (tables.settings, "RESUME=/dev/sda5\n", "RESUME=/dev/vda5\n"),
    "kernel/cmdline": (tools.words, f"ro root={DISK}-part3 quiet\n", "ro root=UUID=3333 quiet\n"),
    "menu.lst": (
        grub1.magic,
        "## kopt=root=/dev/sda1\n# kopt=root=/dev/sda1 ro\n# kopt_2_6=root=/dev/sda1\n# groot=(hd0,0)\n# /dev/sda1\n",
        "## kopt=root=/dev/sda1\n# kopt=root=/dev/vda1 ro\n# kopt_2_6=root=/dev/vda1\n# groot=(hd0,0)\n# /dev/sda1\n",
    ),
    "sysconfig/kernel": (
        tools.suse,
        'INITRD_MODULES="ata_piix virtio-blk"\nX="y"\n',
        'INITRD_MODULES="ata_piix virtio-blk virtio_pci"\nX="y"\n',
    ),
    "mkinitcpio array": (tools.arch, "MODULES=()\nHOOKS=(base)\n", "MODULES=(virtio_blk virtio_pci)\nHOOKS=(base)\n"),
    "mkinitcpio words": (tools.arch, 'MODULES="ext4"\n', 'MODULES="ext4 virtio_blk virtio_pci"\n'),
    "mkinitcpio array of quoted words": (tools.arch, "MODULES=('ext4')\n", "MODULES=('ext4' virtio_blk virtio_pci)\n"),
    "mkinitcpio array with one of them": (
        tools.arch,
        "MODULES=('virtio-blk' \"ext4\")\n",
        "MODULES=('virtio-blk' \"ext4\" virtio_pci)\n",
    ),
    "mkinitcpio words in single quotes": (tools.arch, "MODULES='ext4'\n", "MODULES='ext4 virtio_blk virtio_pci'\n"),
    "mkinitfs with a comment": (tools.alpine, "features=ata # x\n", 'features="ata virtio" # x\n'),
    "mkinitfs in quotes with a comment": (tools.alpine, "features='ata' # x\n", "features='ata virtio' # x\n"),
    "sysconfig/kernel with a comment": (
        tools.suse,
        "INITRD_MODULES=ata # x\n",
        'INITRD_MODULES="ata virtio_blk virtio_pci" # x\n',
    ),
    "mkinitfs": (tools.alpine, 'features="ata base ext4"\n', 'features="ata base ext4 virtio"\n'),
    "mdadm patterns": (
        tools.mdadm,
        "DEVICE /dev/sd[ab]*\nARRAY /dev/md0 devices=/dev/sda1,/dev/sdb1\n",
        "DEVICE /dev/sd[ab]* /dev/vd*\nARRAY /dev/md0 devices=/dev/vda1,/dev/vdb1\n",
    ),
    "mdadm patterns of a second partition": (tools.mdadm, "DEVICE /dev/sd[a-z]2\n", "DEVICE /dev/sd[a-z]2 /dev/vd*\n"),
    "mdadm patterns of two": (tools.mdadm, "DEVICE /dev/sd?2 /dev/sd?3\n", "DEVICE /dev/sd?2 /dev/sd?3 /dev/vd*\n"),
    "mdadm patterns of a high number": (tools.mdadm, "dev /dev/sd?1[0-5]\r\n", "dev /dev/sd?1[0-5] /dev/vd*\r\n"),
    "mdadm patterns beside a name": (tools.mdadm, "DEVICE /dev/sda1 /dev/sd?2", "DEVICE /dev/vda1 /dev/sd?2 /dev/vd*"),
    "mdadm patterns of the new disk too": (tools.mdadm, "DEVICE /dev/[sv]d?2\n", "DEVICE /dev/[sv]d?2\n"),
    "mdadm patterns of a disk that is not given": (tools.mdadm, "DEVICE /dev/sd[c-z]2\n", "DEVICE /dev/sd[c-z]2\n"),
    "mdadm names": (tools.mdadm, "DEVICE /dev/sda1 /dev/sdb1\n", "DEVICE /dev/vda1 /dev/vdb1\n"),
    "mdadm all": (tools.mdadm, "DEVICE partitions\n", "DEVICE partitions\n"),
    "debconf": (
        tools.debconf,
        f"Name: grub-pc/install_devices\nTemplate: x\nValue: {DISK}, /dev/sdb\nOwners: grub-pc\n\n"
        "Name: x\nValue: /dev/sda\n",
        "Name: grub-pc/install_devices\nTemplate: x\nValue: /dev/vda, /dev/vdb\nOwners: grub-pc\n\n"
        "Name: x\nValue: /dev/sda\n",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gets_the_new_names_and_a_second_pass_changes_nothing(name: str) -> None:
    edit, before, after = FILES[name]
    assert edit(before, SDA) == after
    assert edit(after, SDA) == after


NVME = Disks("nvme0n1", "vda", more=(("nvme1n1", "vdb"),))
CCISS = Disks("cciss/c0d0", "vda", more=(("cciss/c0d1", "vdb"),))
NUMBERED = {
    "fstab of NVMe": (
        tables.fstab, NVME,
        "/dev/nvme0n1p3 / ext4 x 0 1\n/dev/nvme1n1p1 /b ext4 x 0 2\n/dev/nvme0n1p33 /c x\n/dev/nvme0n1 /d x\n",
        "/dev/vda3 / ext4 x 0 1\n/dev/vdb1 /b ext4 x 0 2\n/dev/vda33 /c x\n/dev/vda /d x\n",
    ),
    "fstab of names that are longer": (
        tables.fstab, NVME, *["/dev/nvme0n11p3 / x\n/dev/nvme0n1px / x\n/dev/nvme0n1p3-x / x\n/dev/nvme0n1p / x\n"] * 2,
    ),
    "fstab of HP's controller": (
        tables.fstab, CCISS,
        "/dev/cciss/c0d0p2 / ext3 x 1 1\n/dev/cciss/c0d1p1 /b ext3 x 1 2\n/dev/cciss/c0d10p1 /c x\n",
        "/dev/vda2 / ext3 x 1 1\n/dev/vdb1 /b ext3 x 1 2\n/dev/cciss/c0d10p1 /c x\n",
    ),
    "device.map": (tables.device_map, CCISS, "(hd0)     /dev/cciss/c0d0\n", "(hd0)     /dev/vda\n"),
    "sysconfig/grub": (tables.settings, CCISS, "boot=/dev/cciss/c0d0\n", "boot=/dev/vda\n"),
    "kernel/cmdline": (
        tools.words, NVME, "root=/dev/nvme0n1p3 resume=/dev/nvme0n1p2\n", "root=/dev/vda3 resume=/dev/vda2\n",
    ),
    "lvm.conf": (
        lvmconf.filters, CCISS,
        'filter = [ "a|/dev/cciss/.*|", "r|.*|" ]\n',
        'filter = [ "a|^/dev/vda[0-9]*$|", "a|/dev/cciss/.*|", "r|.*|" ]\n',
    ),
    "mdadm.conf": (tools.mdadm, CCISS, "DEVICE /dev/cciss/c*p*\n", "DEVICE /dev/cciss/c*p* /dev/vd*\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERED)
def test_a_disk_whose_name_ends_in_a_digit_loses_the_p_of_its_partitions(name: str) -> None:
    edit, disks, before, after = NUMBERED[name]
    assert edit(before, disks) == after
    assert edit(after, disks) == after


@pytest.mark.parametrize("name", ["hdp", "sdp", "vdp", "xvdp", "hda", "nvme0n1", "cciss/c0d0", "mmcblk0"])
def test_a_disks_own_letter_is_no_p_of_a_partition(name: str) -> None:
    disks = Disks(name, "vda")
    partition = f"/dev/{name}{'p' if name[-1].isdigit() else ''}3"
    assert disks.renamed(f"{partition} / x\n/dev/{name}\n") == "/dev/vda3 / x\n/dev/vda\n"
    assert (disks.whole(partition), disks.whole(f"/dev/{name}")) == ("/dev/vda3", "/dev/vda")


def test_any_disk_is_named_exactly() -> None:
    text = "/dev/nvme0n1p2 /dev/sda1 /dev/cciss/c0d0p12 /dev/sdab /dev/nvme0n1pp /dev/vdb /dev/mmcblk0p1 /dev/hda-x"
    assert NAMED.findall(text) == ["nvme0n1", "sda", "cciss/c0d0", "vdb", "mmcblk0"]
    assert tables.without("/dev/nvme1n1p2 /b ext4 x 0 2\n", ("/dev/nvme1n1",)).startswith("# ")


XEN = Disks("xvda", "vda")


def test_consoles_that_only_xen_has_go_with_it() -> None:
    line = "\tkernel /vmlinuz-2.6.18 ro root=/dev/xvda1 console=xvc0 console=tty0\n"
    assert grub1.spoken(XEN.booted(line)).count("console=") == 3
    assert XEN.booted(line) == "\tkernel /vmlinuz-2.6.18 ro root=/dev/vda1 console=tty0\n"
    assert SDA.booted(line) == line
    table = "1:2345:respawn:/sbin/mingetty tty1\nco:2345:respawn:/sbin/agetty xvc0 9600 vt100\n"
    assert tables.inittab(table, XEN) == table.replace("co:", "# co:")
    assert tables.inittab(tables.inittab(table, XEN), XEN) == tables.inittab(table, XEN)
    assert tables.inittab(table, SDA) == table


ENTRIES = "/boot/loader/entries"
SNIPPET = """\
title AlmaLinux (5.14.0-427.el9.x86_64) 9.4
version 5.14.0-427.el9.x86_64
linux /vmlinuz-5.14.0-427.el9.x86_64
initrd /initramfs-5.14.0-427.el9.x86_64.img $tuned_initrd
options $kernelopts $tuned_params
id alma-5.14.0-427.el9.x86_64
grub_class alma
"""
OPTIONS = "root=/dev/sda3 ro resume=/dev/sda2 quiet"
SNIPPETS = {
    f"{ENTRIES}/abc-5.14.0-70.el9.x86_64.conf": SNIPPET.replace("427", "70"),
    f"{ENTRIES}/abc-5.14.0-427.el9.x86_64.conf": SNIPPET,
}


def test_a_snippet_more_boots_from_virtio_and_the_stock_one_stays() -> None:
    latest, older = bls.entries(SNIPPETS, OPTIONS)
    assert (latest.version, older.version) == ("5.14.0-427.el9.x86_64", "5.14.0-70.el9.x86_64")
    assert "root=/dev/sda3" in "".join(latest.lines)
    path, text = bls.with_entry(SNIPPETS, latest, "own-custom.img", SDA, OPTIONS)
    assert path == f"{ENTRIES}/abc-5.14.0-427.el9.x86_64-crashcart-virtio.conf"
    fields = bls.values(text)
    assert fields["initrd"] == "/own-custom.img $tuned_initrd"
    assert fields["options"] == "root=/dev/vda3 ro resume=/dev/vda2 quiet $tuned_params"
    assert fields["title"].endswith("(virtio)")
    assert fields["id"] == "alma-5.14.0-427.el9.x86_64-crashcart-virtio"
    assert "$kernelopts" in bls.with_entry(SNIPPETS, latest, "x", SDA, "root=UUID=3333")[1]


def test_the_default_in_grubs_environment_keeps_its_size_and_its_other_variables() -> None:
    block = b"# GRUB Environment Block\nsaved_entry=old\nkernelopts=root=/dev/sda3 ro\nboot_success=1\n".ljust(
        1024, b"#"
    )
    made = bls.with_default(block, "new")
    assert len(made) == 1024
    assert made.startswith(b"# GRUB Environment Block\nsaved_entry=new\n")
    assert (bls.variable(made, "kernelopts"), bls.variable(made, "boot_success")) == ("root=/dev/sda3 ro", "1")
    assert bls.with_default(made, "new") == made
    assert bls.with_default(b"", "new").startswith(b"# GRUB Environment Block\nsaved_entry=new\n###")


def test_a_boot_does_not_wait_for_disks_that_are_not_there() -> None:
    text = "UUID=1 / ext4 x 0 1\n/dev/sdc1 /c ext4 x 0 2\n/dev/disk/by-id/ata-B-part1 /b ext4 x 0 2\n"
    text += "'/dev/sdc2' /d ext4 x 0 2\n/dev\\057sdc3 /e ext4 x 0 2\n"
    wanted = (
        text.replace("'/dev", "# '/dev")
        .replace("/dev\\", "# /dev\\")
        .replace("/dev/sdc1", "# /dev/sdc1")
        .replace("/dev/disk", "# /dev/disk")
    )
    assert tables.without(text, ("/dev/sdc", "/dev/disk/by-id/ata-B-part1")) == wanted


EXTLINUX = """\
# Generated by update-extlinux 6.04_pre1
DEFAULT {default}
PROMPT 0
TIMEOUT 10
LABEL lts
  MENU LABEL Linux lts
  LINUX vmlinuz-lts
  INITRD initramfs-lts
  APPEND root=/dev/sda3 modules=sd-mod,ext4 quiet

LABEL old
  {mark}
  kernel /boot/vmlinuz-old
  append initrd=/boot/ucode.img,/boot/initramfs-old root=/dev/sda3 ro"""


def test_a_label_more_boots_from_virtio_and_is_the_default() -> None:
    text = EXTLINUX.format(default="lts", mark="MENU LABEL old")
    first, second = extlinux.entries(text)
    assert (first.title, first.kernel, first.initrd) == ("lts", "vmlinuz-lts", "initramfs-lts")
    assert (second.kernel, second.initrd) == ("/boot/vmlinuz-old", "/boot/initramfs-old")
    assert extlinux.default(text) == 0
    made = extlinux.with_entry(text, first, "initramfs-lts-custom", SDA)
    made = extlinux.with_entry(made, second, "initramfs-old-custom", SDA)
    assert made.startswith(text)
    assert (
        "LABEL lts-virtio\n  MENU LABEL Linux lts (virtio)\n  LINUX vmlinuz-lts\n  INITRD initramfs-lts-custom\n"
        in made
    )
    assert "append initrd=/boot/ucode.img,/boot/initramfs-old-custom root=/dev/vda3 ro\n" in made
    assert extlinux.with_entry(made, first, "initramfs-lts-custom", SDA) == made
    number = extlinux.number_of(made, "initramfs-lts-custom")
    assert number == 2
    chosen = extlinux.with_default(made, number)
    assert "DEFAULT lts-virtio\n" in chosen and extlinux.default(chosen) == 2
    assert "console=ttyS0" in extlinux.for_serial(chosen) and "quiet" not in extlinux.for_serial(chosen)
    assert extlinux.entries(extlinux.without_entry(chosen, "initramfs-old-custom"))[-1].title == "lts-virtio"
    stock = extlinux.renamed(text, first.version, SDA)
    assert stock.count("/dev/vda3") == 1 and "root=/dev/vda3 modules=" in stock


def test_a_default_that_only_a_menu_marks_is_moved() -> None:
    text = EXTLINUX.format(default="menu.c32", mark="MENU DEFAULT")
    assert extlinux.default(text) == 1
    chosen = extlinux.with_default(text, 0)
    assert extlinux.default(chosen) == 0
    assert chosen.count("MENU DEFAULT") == 1 and "DEFAULT menu.c32" in chosen
    unmarked = text.replace("  MENU DEFAULT\n", "")
    assert extlinux.with_default(unmarked, 1).startswith("ONTIMEOUT old\n")
    assert extlinux.default(extlinux.with_default(unmarked, 1)) == 1


def test_a_label_is_copied_without_what_is_the_whole_menus() -> None:
    text = "DEFAULT a quiet\nLABEL a\n LINUX v\n INITRD i.img\n APPEND root=/dev/sda3\nMENU BEGIN\n{}MENU END\n"
    text = text.format("LABEL b\n LINUX w\n INITRD j.img\n APPEND root=/dev/sda3\n")
    first, second = extlinux.entries(text)
    made = extlinux.with_entry(extlinux.with_entry(text, first, "own.img", SDA), second, "other.img", SDA)
    assert made.count("MENU BEGIN") == made.count("MENU END") == 1
    chosen = extlinux.with_default(made, 2)
    assert chosen.startswith("DEFAULT a-virtio quiet\nLABEL a\n") and chosen.count("DEFAULT") == 1
    assert extlinux.default(chosen) == 2


def test_a_kernels_arguments_behind_the_last_default_name_the_new_disk() -> None:
    text = (
        "DEFAULT old\nLABEL a\n LINUX vmlinuz-1\n INITRD i.img\n APPEND root=/dev/sda3\nDEFAULT a root=/dev/sda3 ro\n"
    )
    text += "LABEL old\n LINUX vmlinuz-2\n INITRD j.img\n"
    assert extlinux.default(text) == 0
    first, second = extlinux.entries(text)
    chosen = extlinux.with_default(extlinux.with_entry(extlinux.given(text, SDA), first, "own.img", SDA), 2)
    assert "DEFAULT a-virtio root=/dev/vda3 ro\n" in chosen and "DEFAULT old" not in chosen
    assert extlinux.default(chosen) == 2
    stock = extlinux.renamed(text, first.version, SDA)
    assert "DEFAULT a root=/dev/vda3 ro\n" in stock and stock.count("/dev/vda3") == 2
    assert "DEFAULT a root=/dev/sda3 ro\n" in extlinux.renamed(text, second.version, SDA)


def test_microcode_in_front_of_an_initrd_is_not_taken_for_it() -> None:
    text = (
        "menuentry 'Arch' {\n\tlinux /vmlinuz-linux root=/dev/sda3\n\tinitrd /intel-ucode.img /initramfs-linux.img\n}\n"
    )
    entry = grub2.entries(text)[0]
    assert entry.initrd == "/initramfs-linux.img"
    assert "initrd /intel-ucode.img /i-custom.img\n" in grub2.with_entry(text, entry, "i-custom.img", SDA)
