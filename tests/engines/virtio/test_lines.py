"""Line editors: exact, idempotent, and deaf to everything that does not name the disk."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.virtio.edits import with_modules
from engines.virtio.lines import bls, extlinux, grub1, grub2, lvmconf, modprobe, tables
from engines.virtio.lines.disks import Disks, Edit, split
from tests.fuzz.mutation import with_an_end

HDA = Disks("hda", "vda")
EDITS: dict[str, Edit] = {
    "fstab": tables.fstab,
    "crypttab": tables.crypttab,
    "device.map": tables.device_map,
    "settings": tables.settings,
    "modprobe.conf": modprobe.conf,
    "modprobe.d": modprobe.network,
    "lvm.conf": lvmconf.filters,
    "initramfs-tools": with_modules,
}
NAMING = ("fstab", "crypttab", "device.map", "settings")
PIECES = st.sampled_from(
    [
        *("/dev/hda", "/dev/hda3", "/dev/hdab", "/dev/hda3x", "LABEL=SWAP-hda2", "hda", "# ", "#", "\t", " ", "\n"),
        *(
            "\r\n",
            "\x85",
            "\x0c",
            "\xff",
            "\0",
            "(hd0)",
            "boot=",
            'GRUB_X="resume=/dev/hda2 quiet"',
            "title ",
            "kernel ",
        ),
        *("alias eth0 ", "alias scsi_hostadapter ", "8139cp", "xenblk", "default=", "default 3", "initrd /x.img", "/"),
        *('filter = [ "a|^/dev/hda|", "r|.*|" ]', "filter = [", '"a|(|"', "]", '"', "menuentry 'x' {", "}", "linux /v"),
        *("set default=", "root=/dev/hda3", "9" * 400, "²"),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=30).map("".join),
    st.binary(max_size=300).map(lambda content: content.decode("latin-1")),
)
each = pytest.mark.parametrize("name", EDITS)


@each
@given(text=TEXTS)
def test_an_editor_takes_any_bytes_and_a_second_pass_changes_nothing(name: str, text: str) -> None:
    once = EDITS[name](text, HDA)
    assert EDITS[name](once, HDA) == once


@pytest.mark.parametrize("name", NAMING)
@given(text=TEXTS)
def test_lines_that_do_not_name_the_disk_stay_byte_for_byte(name: str, text: str) -> None:
    before, after = split(text), split(EDITS[name](text, HDA))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        if old != new:
            assert HDA.named_in(old)
            assert new.replace("/dev/vda", "/dev/hda") == old.replace("/dev/vda", "/dev/hda")


@given(text=TEXTS)
def test_aliases_change_only_lines_of_cards_and_add_at_most_one_line(text: str) -> None:
    before, after = split(text), split(modprobe.conf(text, HDA))
    assert len(after) - len(before) in (0, 1)
    for old, new in zip(before, after, strict=False):
        if old != new and old + "\n" != new:
            assert modprobe.ALIAS.match(old)


@given(text=TEXTS)
def test_lvm_filters_only_gain_a_pattern(text: str) -> None:
    after = lvmconf.filters(text, HDA)
    pattern = '"a|^/dev/vda[0-9]*$|"'
    assert after.replace(f" {pattern},", "").replace(f"[ {pattern}, ", "").count("filter") == text.count("filter")
    if "filter" not in text:
        assert after == text


@given(text=TEXTS, number=st.integers(0, 40))
@example(text="default=" + "9" * 5000, number=0)
def test_boot_menus_of_any_bytes_are_read_and_written_without_a_fault(text: str, number: int) -> None:
    for loader in (grub1, grub2):
        loader.default(text)
        for entry in loader.entries(text):
            added = loader.with_entry(text, entry, "own-custom.img", HDA)
            if any(found.initrd.endswith("/own-custom.img") for found in loader.entries(added)):
                assert loader.with_entry(added, entry, "own-custom.img", HDA) == added
        loader.for_serial(text)
        loader.renamed(text, "1", HDA)
    assert grub1.with_default(grub1.with_default(text, number), number) == grub1.with_default(text, number)


@given(text=TEXTS)
def test_adding_a_boot_entry_keeps_every_stock_line(text: str) -> None:
    for entry in grub1.entries(text):
        assert grub1.with_entry(text, entry, "own-custom.img", HDA).startswith(text)


FSTAB = """\
/dev/hda3               /        ext3    defaults 1 1
# /dev/hda5             /old     ext2    noauto   0 0
LABEL=SWAP-hda2         swap     swap    defaults 0 0
/dev/hdab1\t/far ext3 defaults 0 0
/dev/hda2 swap swap defaults 0 0\r
"""


def test_fstab_is_matched_exactly_and_keeps_its_spacing() -> None:
    after = tables.fstab(FSTAB, HDA)
    assert after == FSTAB.replace("/dev/hda3 ", "/dev/vda3 ").replace("/dev/hda2 ", "/dev/vda2 ")


def test_device_map_crypttab_and_settings_change_their_column_only() -> None:
    assert tables.device_map("# /dev/hda\n(hd0)   /dev/hda\n", HDA) == "# /dev/hda\n(hd0)   /dev/vda\n"
    assert tables.crypttab("a\t/dev/hda4 /dev/hdb none\n", HDA) == "a\t/dev/vda4 /dev/hdb none\n"
    line = 'GRUB_CMDLINE_LINUX="resume=/dev/hda2 rhgb" # was /dev/hda2\n'
    assert tables.settings(line, HDA) == 'GRUB_CMDLINE_LINUX="resume=/dev/vda2 rhgb" # was /dev/hda2\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("alias eth0 8139cp\n", "alias eth0 virtio_net\nalias scsi_hostadapter virtio_blk\n"),
        ("alias scsi_hostadapter xenblk\n", "alias scsi_hostadapter virtio_blk\n"),
        ("alias scsi_hostadapter ata_piix", "alias scsi_hostadapter ata_piix\nalias scsi_hostadapter1 virtio_blk\n"),
        ("alias bond0 bonding\nalias scsi_hostadapter virtio_blk\n",) * 2,
    ],
)
def test_modprobe_conf_gets_the_seeds_aliases(before: str, after: str) -> None:
    assert modprobe.conf(before, HDA) == after


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ('    filter = [ "a|^/dev/hda[0-9]*$|", "r|.*|" ]\n', True),
        ('    filter = [ "a/dev/hd.*/", "r/.*/" ]\n', True),
        ('    filter = [ "a|/dev/hd.*|", "r|.*|" ]\n', True),
        ('    filter = [ "a/.*/" ]\n', False),
        ('    filter = "r|/dev/vd|"\n', True),
        ('    # filter = [ "a|^/dev/hda|", "r|.*|" ]\n', False),
        ('    filter = [ "a|/dev/vda|", "a|/dev/hda|", "r|.*|" ]\n', False),
        ('    global_filter = [\n        "a|^/dev/hda|",\n        "r|.*|"\n    ]\n', True),
    ],
)
def test_a_filter_is_opened_only_where_it_lets_the_old_disk_in_and_keeps_the_new_one_out(
    line: str, changed: bool
) -> None:
    assert (lvmconf.filters(line, HDA) != line) is changed


MENU = """\
default=1
timeout=5
title CentOS (2.6.18-398.el5xen)
\troot (hd0,0)
\tkernel /xen.gz-2.6.18-398.el5
\tmodule /vmlinuz-2.6.18-398.el5xen ro root=/dev/hda3
\tmodule /initrd-2.6.18-398.el5xen.img
title CentOS (2.6.18-398.el5)
\troot (hd0,0)
\tkernel /vmlinuz-2.6.18-398.el5 ro root=/dev/hda3 resume=/dev/hda2 rhgb quiet
\tinitrd /initrd-2.6.18-398.el5.img"""


def test_a_grub_menu_gets_one_entry_more_which_is_the_default() -> None:
    stock = grub1.entries(MENU)[grub1.default(MENU)]
    assert (stock.version, stock.xen) == ("2.6.18-398.el5", False)
    added = grub1.with_entry(MENU, stock, "own-custom.img", HDA)
    assert added.startswith(MENU)
    number = grub1.number_of(added, "own-custom.img")
    assert number == 2
    done = grub1.with_default(added, number)
    assert grub1.entries(done)[grub1.default(done)].initrd == "/own-custom.img"
    assert "root=/dev/vda3 resume=/dev/vda2 rhgb quiet" in done
    assert grub1.without_entry(done, "own-custom.img").replace("default=2", "default=1").rstrip() == MENU
    assert " rhgb quiet" not in grub1.for_serial(done)


GRUB2 = """\
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="${saved_entry}"
fi
menuentry 'CentOS 7' --class os $menuentry_id_option 'gnulinux-3.10.0-advanced' {
\tlinux16 /vmlinuz-3.10.0-1160.el7.x86_64 root=/dev/hda3 ro quiet
\tinitrd16 /initramfs-3.10.0-1160.el7.x86_64.img
}
submenu 'more' {
\tmenuentry 'CentOS 7 old' --id 'old' {
\t\tlinux /boot/vmlinuz-3.10.0-1062.el7.x86_64 root=/dev/hda3
\t\tinitrd /boot/initramfs-3.10.0-1062.el7.x86_64.img
\t}
}
"""


def test_a_grub2_menu_gets_one_entry_more_at_the_top_level() -> None:
    entries = grub2.entries(GRUB2)
    assert [entry.title for entry in entries] == ["CentOS 7", "CentOS 7 old"]
    assert grub2.default(GRUB2, "CentOS 7 old") == grub2.default(GRUB2, "old") == 1
    assert grub2.default(GRUB2, "more>old") == 1
    done = grub2.with_default(grub2.with_entry(GRUB2, entries[0], "own-custom.img", HDA), entries[0].version)
    assert 'set default="${next_entry}"' in done
    assert 'set default="crashcart-virtio-3.10.0-1160.el7.x86_64"' in done
    added = grub2.entries(done)[-1]
    assert added.initrd == "/own-custom.img"
    assert "root=/dev/vda3" in "".join(added.lines)
    assert added.lines[0].startswith("menuentry")
    assert grub2.default_to(grub2.without_entry(done, "own-custom.img"), "${saved_entry}") == GRUB2


def test_a_menu_made_to_do_harm_takes_no_more_than_its_length() -> None:
    """Each took minutes, or memory by the square of its length."""
    with with_an_end():
        alike = "default a\n" + "label a\n menu default\n" * 9000
        assert extlinux.with_default(alike, 1).count("MENU DEFAULT") == 9000
        assert extlinux.default("default nobody\n" * 9000 + "label a\n" * 9000) == 0
    nested = "submenu a {\n" * 4000 + "menuentry b {\n}\n" * 4000
    opened = {f"/boot/loader/entries/{number}.conf": "options " + "$kernelopts " * 600 for number in range(100)}
    tracemalloc.start()
    try:
        assert grub2.default("set default=7\n" + nested) == 0
        assert len(bls.entries(opened, "x" * 1000)) == 100
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
