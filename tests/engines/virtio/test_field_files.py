"""Files as distributions and their administrators leave them: what would break the next boot or update is edited."""

from __future__ import annotations

import pytest

from engines.virtio.edits import EDITS
from engines.virtio.lines import lvmconf, modprobe, tables, tools
from engines.virtio.lines.disks import Disks, Edit

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
STABLE = {f"{DISK}-part3": "UUID=3333", f"{DISK}-part2": "UUID=2222", DISK: "/dev/vda"}
SDA = Disks("sda", "vda", more=(("sdb", "vdb"),), stable=STABLE)
ALONE = Disks("sda", "vda", stable={f"{DISK}-part3": "UUID=3333"})
UNSURE = Disks("sda", "vda", more=(("sdb", "vdb"),), stable={f"{DISK}-part3": "UUID=3333"})
XVDA = Disks("xvda", "vda")
UUID = "/dev/disk/by-uuid/3333"


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        # what opens a path knows no UUID=, and udev makes no link by it for an array's member
        (tools.mdadm, f"DEVICE {DISK}-part3\n", "DEVICE /dev/vda3\n"),
        (tools.mdadm, f"ARRAY /dev/md0 devices={DISK}-part3,/dev/sdb3\n",
         "ARRAY /dev/md0 devices=/dev/vda3,/dev/vdb3\n"),
        (EDITS["/etc/default/grub_installdevice"], f"{DISK}-part3\n{DISK}\nactivate\n",
         "/dev/vda3\n/dev/vda\nactivate\n"),
        (EDITS["/etc/uswsusp.conf"], f"resume device = {DISK}-part2\n", "resume device = /dev/vda2\n"),
        (EDITS["/etc/sysconfig/rawdevices"], f"/dev/raw/raw1 {DISK}-part3\n", "/dev/raw/raw1 /dev/vda3\n"),
        (tools.debconf, f"Name: grub-pc/install_devices\nValue: {DISK}-part3, {DISK}\n",
         "Name: grub-pc/install_devices\nValue: /dev/vda3, /dev/vda\n"),
        (tables.fstab, f"UUID=1 /a xfs logdev={DISK}-part3 0 0\n", "UUID=1 /a xfs logdev=/dev/vda3 0 0\n"),
        (tables.fstab, f"UUID=1 /a btrfs device={DISK}-part3,device=/dev/sdb3\n",
         "UUID=1 /a btrfs device=/dev/vda3,device=/dev/vdb3\n"),
        (tables.crypttab, f"c UUID=1 none luks,header={DISK}-part3\n", "c UUID=1 none luks,header=/dev/vda3\n"),
        (tools.dracut, f'add_device+=" {DISK}-part3 "\nkernel_cmdline="resume={DISK}-part2"\n',
         'add_device+=" /dev/vda3 "\nkernel_cmdline="resume=UUID=2222"\n'),
        # drivers that an initrd leaves out
        (tools.dracut, 'omit_drivers+=" virtio_blk floppy virtio-net "\n', 'omit_drivers+=" floppy "\n'),
        (tools.dracut, 'add_drivers+=" virtio_blk "\n#omit_drivers+=" virtio "\n',
         'add_drivers+=" virtio_blk "\n#omit_drivers+=" virtio "\n'),
        (tools.dracut, 'omit_drivers+=" virtio.* floppy "\n', 'omit_drivers+=" floppy "\n'),
        (tools.dracut, 'omit_drivers+=" virtio_[bp].* "\n', 'omit_drivers+=" "\n'),
        (tools.dracut, 'omit_drivers+=" floppy \\\n virtio_blk"\n', 'omit_drivers+=" floppy \\\n "\n'),
        (tools.dracut, 'omit_drivers="virtio_console.*"\n', 'omit_drivers="virtio_console.*"\n'),
        (tools.dracut, 'omit_drivers="virtio_balloon"\n', 'omit_drivers="virtio_balloon"\n'),
        # a kernel's arguments, wherever they are kept
        (EDITS["/etc/update-extlinux.conf"], 'default_kernel_opts="resume=8:2"\nroot=803\n',
         'default_kernel_opts="resume=/dev/vda2"\nroot=/dev/vda3\n'),
        (tables.settings, 'EXTLINUX_PARAMETERS="ro root=803"\nEXTLINUX_ROOT="root=8:3"\n',
         'EXTLINUX_PARAMETERS="ro root=/dev/vda3"\nEXTLINUX_ROOT="root=/dev/vda3"\n'),
        (tables.settings, 'GRUB_CMDLINE_LINUX="root=803 \\\nresume=802"\n',
         'GRUB_CMDLINE_LINUX="root=/dev/vda3 \\\nresume=/dev/vda2"\n'),
        # lists of an initrd tool
        (tools.suse, 'INITRD_MODULES="ata_piix \\\n ext3"\n',
         'INITRD_MODULES="ata_piix \\\n ext3 virtio_blk virtio_pci"\n'),
        (tools.suse, 'INITRD_MODULES="ata_piix\n ext3"\n', 'INITRD_MODULES="ata_piix ext3 virtio_blk virtio_pci"\n'),
        (tools.suse, 'INITRD_MODULES=ata_piix\n', 'INITRD_MODULES="ata_piix virtio_blk virtio_pci"\n'),
        (tools.suse, 'INITRD_MODULES=$MORE" ext3"\n', 'INITRD_MODULES=$MORE" ext3"\n'),
        (tools.arch, "MODULES+=(ata_piix)\n", "MODULES+=(ata_piix)\nMODULES+=(virtio_blk virtio_pci)\n"),
        (tools.arch, "MODULES=ext4 # one\n", 'MODULES="ext4 virtio_blk virtio_pci" # one\n'),
        (tools.arch, "MODULES=\n", 'MODULES="virtio_blk virtio_pci"\n'),
        (tools.arch, "MODULES=virtio_blk\n", 'MODULES="virtio_blk virtio_pci"\n'),
        (tools.arch, "COMPRESSION=zstd\n", "COMPRESSION=zstd\n"),
        (tools.alpine, 'features="$features ata"\n', 'features="$features ata virtio"\n'),
        (modprobe.network, "alias eth0 e1000\nalias eth1 off\n", "alias eth0 virtio_net\nalias eth1 off\n"),
    ],
)  # fmt: skip
def test_what_would_break_the_next_boot_is_edited_once(edit: Edit, before: str, after: str) -> None:
    assert edit(before, SDA) == after
    assert edit(after, SDA) == after


@pytest.mark.parametrize(("disks", "node"), [(SDA, "/dev/vda3"), (ALONE, "/dev/vda3"), (UNSURE, UUID)])
def test_a_path_of_one_of_several_disks_is_known_by_its_whole_disk(disks: Disks, node: str) -> None:
    assert disks.node(f"{DISK}-part3") == node
    assert disks.paths(f"x={DISK}-part3:y /dev/sda1") == f"x={node}:y /dev/vda1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('GRUB_CMDLINE_LINUX="console=hvc0 quiet"\n', 'GRUB_CMDLINE_LINUX="quiet"\n'),
        ("GRUB_CMDLINE_LINUX='quiet console=xvc0,115200'\n", "GRUB_CMDLINE_LINUX='quiet'\n"),
        ('GRUB_CMDLINE_LINUX="console=hvc0"\n', 'GRUB_CMDLINE_LINUX=""\n'),
        ('GRUB_CMDLINE_LINUX="root=/dev/xvda1 console=tty0 console=ttyS0"\n',
         'GRUB_CMDLINE_LINUX="root=/dev/vda1 console=tty0 console=ttyS0"\n'),
        ('GRUB_SERIAL_COMMAND="console=hvc0"\n', 'GRUB_SERIAL_COMMAND="console=hvc0"\n'),
    ],
)  # fmt: skip
def test_the_next_menu_has_no_console_that_only_xen_has(before: str, after: str) -> None:
    assert tables.settings(before, XVDA) == after
    assert tables.settings(before, SDA) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("console=hvc0 root=ca01 ro\n", "root=/dev/vda1 ro\n"),
        ("quiet root=/dev/xvda1\tconsole=hvc0\n", "quiet root=/dev/vda1\n"),
        ("# root=/dev/xvda1 console=hvc0\nro\nconsole=hvc0\n", "# root=/dev/xvda1 console=hvc0\nro\n\n"),
    ],
)
def test_a_file_of_arguments_alone_has_the_new_disk_and_no_console_that_only_xen_has(before: str, after: str) -> None:
    assert tools.arguments(before, XVDA) == after


@pytest.mark.parametrize(
    "listed",
    [
        '\n        # the disk\n        "a|^/dev/sda[0-9]+$|",\n        "r|.*|"\n    ',
        ' "a|^/dev/sda[0-9]+$|", # "a|/dev/vda|", it was\n  "r|.*|" ',
        ' "a|^/dev/sda[0-9]+$|",\n# ] it ends below = here\n "r|.*|" ',
    ],
)
def test_a_filter_with_remarks_between_its_patterns_lets_the_new_disk_in(listed: str) -> None:
    before = f"devices {{\n    filter = [{listed}]\n    types = [ 1 ]\n}}\n"
    after = lvmconf.filters(before, SDA)
    assert after == before.replace("filter = [", 'filter = [ "a|^/dev/vda[0-9]*$|",', 1)
    assert lvmconf.filters(after, SDA) == after


def test_a_filter_without_an_end_is_no_list() -> None:
    text = 'filter = [ "a|^/dev/sda|", "r|.*|"\n# more\ntypes = [ "virtblk", 16 ]\n'
    assert lvmconf.filters(text, SDA) == text
