"""Menus and tables as people and distributions write them: tabs, line ends, submenus, lines that go on, microcode."""

from __future__ import annotations

import pytest

from engines.virtio.lines import bls, grub1, grub2, lvmconf, modprobe, tables, tools
from engines.virtio.lines.disks import Disks, Edit

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
SDA = Disks("sda", "vda", more=(("sdb", "vdb"),), stable={f"{DISK}-part3": "UUID=3333", DISK: "/dev/vda"})
ENTRIES = "/boot/loader/entries"


def test_kernels_to_come_get_the_new_disk_in_their_arguments() -> None:
    block = b"# GRUB Environment Block\nsaved_entry=old\nkernelopts=root=/dev/sda3 ro resume=/dev/sda2\n".ljust(
        1024, b"#"
    )
    made = bls.with_options(block, SDA)
    assert len(made) == 1024
    assert bls.variable(made, "kernelopts") == "root=/dev/vda3 ro resume=/dev/vda2"
    assert bls.variable(made, "saved_entry") == "old"
    assert bls.with_options(made, SDA) == made
    longer = Disks("xvda", "vda")
    moved = bls.with_options(block.replace(b"/dev/sda", b"/dev/xvda")[:-2], longer)
    assert len(moved) == 1024 and moved.rstrip(b"#") == made.rstrip(b"#")
    assert bls.with_options(b"", SDA) == b""


TABBED = """\
title\tArch Linux
linux\t/vmlinuz-linux
initrd\t/intel-ucode.img
initrd  /initramfs-linux.img
options\troot=/dev/sda3 rw
"""


def test_a_snippet_with_tabs_and_microcode_is_read_as_one_with_spaces() -> None:
    snippets = {f"{ENTRIES}/arch.conf": TABBED}
    (entry,) = bls.entries(snippets)
    assert (entry.title, entry.kernel, entry.initrd) == ("Arch Linux", "/vmlinuz-linux", "/initramfs-linux.img")
    _, text = bls.with_entry(snippets, entry, "i-custom.img", SDA)
    assert "initrd\t/intel-ucode.img\ninitrd  /i-custom.img\noptions\troot=/dev/vda3 rw\n" in text
    assert "console=ttyS0" in bls.for_serial(text)


SUBMENUS = """\
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="1>1"
fi
menuentry 'A' { linux
\tlinux /vmlinuz-1 root=/dev/sda3
\tinitrd /i-1
}
submenu 'Advanced' {
\tmenuentry 'B' $menuentry_id_option 'gnulinux-b' {
\t\tlinux /vmlinuz-2 root=/dev/sda3
\t\tinitrd /i-2
\t}
\tmenuentry 'C' {
\t\tlinux /vmlinuz-3 root=/dev/sda3
\t\tinitrd /i-3
\t}
}
menuentry 'D' {
\tlinux /vmlinuz-4 root=/dev/sda3
\tinitrd /i-4
}
"""


@pytest.mark.parametrize(
    ("saved", "title"),
    [
        ("", "C"),
        ("0", "A"),
        ("1", "B"),
        ("1>0", "B"),
        ("1>1", "C"),
        ("2", "D"),
        ("Advanced>C", "C"),
        ("gnulinux-b", "B"),
        ("9", "A"),
    ],
)
def test_a_default_inside_a_submenu_is_the_one_that_grub_takes(saved: str, title: str) -> None:
    assert grub2.entries(SUBMENUS)[grub2.default(SUBMENUS, saved)].title == title


def test_a_default_of_one_boot_alone_is_none() -> None:
    assert grub2.default(SUBMENUS.replace('   set default="1>1"\n', "")) == 0
    assert grub2.default(SUBMENUS.replace('"1>1"', '"gnulinux-b"')) == 1


def test_a_title_of_one_word_goes_without_quotes() -> None:
    text = "set default=Rescue\nmenuentry Linux {\n\tlinux /v-1 root=/dev/sda3\n\tinitrd /i-1\n}\n"
    text += "menuentry Rescue --class x {\n\tlinux /v-2 root=/dev/sda3\n\tinitrd /i-2\n}\n"
    found = grub2.entries(text)
    assert [(each.title, each.kernel) for each in found] == [("Linux", "/v-1"), ("Rescue", "/v-2")]
    assert grub2.default(text) == 1
    added = grub2.with_entry(text, found[1], "i-2-custom", SDA)
    assert grub2.entries(added)[-1].title == "Rescue (virtio)"
    assert "menuentry 'Rescue (virtio)' --class x --id 'crashcart-virtio-" in added


@pytest.mark.parametrize(
    ("words", "title", "added"),
    [
        ("--class gnu 'Debian, 3.2'", "Debian, 3.2", "--class gnu 'Debian, 3.2 (virtio)'"),
        (
            "--class gnu --unrestricted --users=a Linux",
            "Linux",
            "--class gnu --unrestricted --users=a 'Linux (virtio)'",
        ),
        ("--id 'a b' --hotkey=x \"Linux\" --class y", "Linux", "--id 'a b' --hotkey=x \"Linux (virtio)\" --class y"),
        ('$"Linux"', "Linux", '"Linux (virtio)"'),
        ("$title --class x", "", "' (virtio)'$title --class x"),
        ("--unheard 'A'", "", "' (virtio)'--unheard 'A'"),
    ],
)
def test_a_title_is_found_behind_options(words: str, title: str, added: str) -> None:
    body = " {\n\tlinux /v-1 root=/dev/sda3\n\tinitrd /i-1\n}\n"
    text = f"menuentry 'First'{body}menuentry {words}{body}"
    first, found = grub2.entries(text)
    assert (first.title, found.title, found.kernel) == ("First", title, "/v-1")
    made = grub2.with_entry(text, found, "i-1-custom", SDA)
    assert f"menuentry {added} --id 'crashcart-virtio-" in made
    assert grub2.default(f'set default="1"\n{text}') == 1
    assert grub2.default(f'set default=""\n{text}') == 0


def test_a_menu_by_hand_that_sets_no_default_gets_one() -> None:
    text = "timeout=5\nmenuentry 'A' {\n\tlinux /vmlinuz-1 root=/dev/sda3\n\tinitrd /i-1\n}\n"
    assert grub2.with_default(text, "1").startswith('set default="crashcart-virtio-1"\ntimeout=5\n')
    assert grub2.with_default(f"default=0\n{text}", "1").startswith('default="crashcart-virtio-1"\ntimeout=5\n')


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (tables.settings, 'X+=" resume=/dev/sda2"\n', 'X+=" resume=/dev/vda2"\n'),
        (tables.settings, 'X="a \\\nresume=/dev/sda2 \\\nb"\n# /dev/sda2\n',
         'X="a \\\nresume=/dev/vda2 \\\nb"\n# /dev/sda2\n'),
        (tables.settings, "X='a\n# resume=/dev/sda2'\n# /dev/sda2\n", "X='a\n# resume=/dev/vda2'\n# /dev/sda2\n"),
        (tables.settings, "export X=/dev/sda\r\n", "export X=/dev/vda\r\n"),
        (tables.settings, "What=/dev/sda5\nDescription=about /dev/sdab\n",
         "What=/dev/vda5\nDescription=about /dev/sdab\n"),
        (tables.fstab, "/dev/sda3\t/ xfs\tlogdev=/dev/sda5,ro 0 0\r\n",
         "/dev/vda3\t/ xfs\tlogdev=/dev/vda5,ro 0 0\r\n"),
        (tables.fstab, "UUID=x / btrfs device=/dev/sda2,device=/dev/sdb2 0 0\n",
         "UUID=x / btrfs device=/dev/vda2,device=/dev/vdb2 0 0\n"),
        (tables.fstab, 'LABEL=my\\040data /dev/sda3 auto x 0 0\n', 'LABEL=my\\040data /dev/sda3 auto x 0 0\n'),
        (modprobe.network, "blacklist virtio-net\nblacklist virtio_balloon\ninstall virtio_blk /bin/true\n",
         "# blacklist virtio-net\nblacklist virtio_balloon\n# install virtio_blk /bin/true\n"),
        (modprobe.network, "install virtio_balloon /bin/true\nblacklist virtio_blk # why\n",
         "install virtio_balloon /bin/true\n# blacklist virtio_blk # why\n"),
        (modprobe.network, "install virtio_net /sbin/modprobe -i virtio_net\n#blacklist virtio_net\n",
         "install virtio_net /sbin/modprobe -i virtio_net\n#blacklist virtio_net\n"),
        (tools.words, f"cryptdevice={DISK}-part3:root x\n", "cryptdevice=UUID=3333:root x\n"),
        (tools.arch, "MODULES=(ext4\n  vfat)\n", "MODULES=(ext4 vfat virtio_blk virtio_pci)\n"),
        (tools.debconf, "Name: grub-pc/install_devices_disks_changed\nTemplate: x\nValue: /dev/sda,/dev/sdb\n",
         "Name: grub-pc/install_devices_disks_changed\nTemplate: x\nValue: /dev/vda,/dev/vdb\n"),
        (grub1.magic, "# groot=(hd0,0)\n#kopt=root=/dev/sda1\n", "# groot=(hd0,0)\n#kopt=root=/dev/vda1\n"),
    ],
)  # fmt: skip
def test_files_as_people_write_them(edit: Edit, before: str, after: str) -> None:
    assert edit(before, SDA) == after
    assert edit(after, SDA) == after


def test_options_of_a_kernel_line_are_not_its_kernel() -> None:
    text = "title=A\n\troot (hd0,0)\n\tkernel --no-mem-option (hd0,0)/vmlinuz-2.6.9 root=LABEL=/\n\tinitrd /i\n"
    (entry,) = grub1.entries("splashimage=(hd0,0)/grub/splash.xpm.gz\n" + text)
    assert (entry.kernel, entry.version) == ("/vmlinuz-2.6.9", "2.6.9")


BY_SERIAL = '    filter = [ "a|^/dev/disk/by-id/ata-.*|", "r|.*|" ]\n'


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        (BY_SERIAL, True),
        ('    filter = [ "a|/dev/disk/by-path/pci.*|", "r|.*|" ]\n', True),
        ('    filter = [ "a|^/dev/md.*|", "r|.*|" ]\n', False),
        ('    filter = [ "r|/dev/sr.*|", "a|.*|" ]\n', False),
        ('    filter = [ "a/sd.*|hd.*|md.*|cciss.*|emcpower.*/", "r/.*/" ]\n', True),
        ('    filter = [ "a|^/dev/sd[a-z]([0-9])*$|", "r|.*|" ]\n', True),
        ('    filter = [ "r|^/dev/vd[a-z]([0-9])*$|", "a|.*|" ]\n', True),
        ('    filter = [ "a|^/dev/vd|", "a|^/dev/sd[a-z]([0-9])*$|", "r|.*|" ]\n', False),
        ('    filter = [ "a|^/dev/md|", "r|.*|", "a|^/dev/sd[a-z]([0-9])*$|" ]\n', False),
    ],
)
def test_a_filter_by_serial_number_lets_the_new_disk_in(line: str, changed: bool) -> None:
    after = lvmconf.filters(line, SDA)
    assert (after != line) is changed
    assert lvmconf.filters(after, SDA) == after
