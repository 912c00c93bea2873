"""What a guest writes into its own configuration takes its editors no longer than any other text."""

from __future__ import annotations

import pytest

from engines.boot import dead_ends, watch
from engines.boot.console import spoken
from engines.guest.texts import BLANKS, LINE, LINES, unfit
from engines.virtio import cards, complaints, trial
from engines.virtio.by_bus import DEBCONF
from engines.virtio.lines import bls, extlinux, grub1, grub2, lvmconf, modprobe, tables, tools
from engines.virtio.lines.disks import Disks
from tests.fuzz.mutation import with_an_end

HDA = Disks("hda", "vda")
SIZE = 200_000


def filled(piece: str, until: int = SIZE) -> str:
    """As many of them as there may be lines."""
    return piece * min(until // len(piece), LINES // max(piece.count("\n"), 1))


LONG = LINE - 100
TEXTS = (
    filled("\n" * (BLANKS - 1) + "x"),
    filled(" " * (BLANKS - 1) + "x\n"),
    filled("initrd " + "a" * LONG + "/\n"),
    filled("append initrd=" + "a" * LONG + "/\n"),
    filled("KEY=" + "\\" * LONG + "x\n"),
    filled("KEY=x" + " #" * (LONG // 2) + "'\n"),
    filled("filter=[\n"),
    filled("filter = [ " + '"a", ' * (LONG // 5) + "\n"),
    filled("menuentry 'x' {\n"),
    "title x\nmenuentry 'x' {\nkernel /v root=/dev/hda \\\n" + filled("x initrd=/dev/hda \\\n"),
    "DEVICE\n" + filled(" /dev/hd?1 devices=/dev/hd[ab]1,x\n", 20_000),
    filled("menuentry '" + "'" * LONG + "\n"),
    filled("menuentry" + " " * (BLANKS - 1) + "'\n"),
    filled("alias eth0 " + "a" * LONG + "\n"),
    filled("/dev/hda" * (LONG // 8) + "\n"),
    filled("INITRD_MODULES=" + "a" * LONG + "\n"),
    filled("DEVICE " + "/dev/hda " * (LONG // 9) + "\n"),
    "x='\n" + filled("cmdline" * (LONG // 7) + "\n"),
    filled("After=" + "dev-" * (LONG // 4) + "\n"),
    filled("match: {" + "driver:" * (LONG // 7) + "\n"),
    filled("set x=" + "a " * (LONG // 2) + "\n"),
    filled("filter = [\n#" + "a" * LONG + "\n"),
    filled("omit_drivers+=" + "virtio_" * (LONG // 7) + "\n"),
    filled('SUBSYSTEM=="net", NAME="' + 'KERNELS=="0000:' * (LONG // 15) + "\n"),
)
EDITS = (
    tables.fstab, tables.crypttab, tables.settings, tables.inittab, tables.device_map, modprobe.conf, modprobe.network,
    lvmconf.filters, tools.words, tools.suse, tools.arch, tools.alpine, tools.mdadm, tools.debconf,
    tools.dracut, tools.raw, tools.paths, tools.arguments, tables.unit, tables.needing,
    lambda text, disks: grub2.renamed(text, "1", disks), lambda text, disks: extlinux.renamed(text, "1", disks),
    cards.rules, cards.drivers, cards.by_driver, lambda text, disks: disks.booted(text), extlinux.given,
)  # fmt: skip
READS = (
    grub1.entries, grub1.default, grub2.entries, grub2.default, extlinux.entries, extlinux.default, bls.values,
    lambda text: grub2.variable(text, "kernelopts"), lambda text: bls.variable(text.encode(), "saved_entry"),
    lambda text: grub2.with_default(text, "1"), extlinux.for_serial,
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_editor_comes_to_an_end(text: str) -> None:
    assert unfit(text.encode()) == ""
    for edit in EDITS:
        with with_an_end():
            edit(text, HDA)
    for read in READS:
        with with_an_end():
            read(text)


@pytest.mark.parametrize(
    "pattern",
    ["((.*)*)*x", "(/?.?)+x$", "(.|.)*x", ".*" * 30 + "x", "(a{1,99}){1,99}x", "(.?){60}x", "(" * 200 + ")" * 200],
)
def test_a_filter_of_lvm_that_would_take_for_ever_is_passed_over(pattern: str) -> None:
    text = f'devices {{\n    filter = [ "a|{pattern}|", "a|^/dev/hda|", "r|.*|" ]\n}}\n'
    with with_an_end():
        assert '"a|^/dev/vda[0-9]*$|"' in lvmconf.filters(text, HDA)


def test_what_no_person_and_no_tool_writes_is_not_looked_into() -> None:
    assert unfit(b"x" * (LINE + 1)) and unfit(b"\n" * (BLANKS + 1)) and unfit(b"x\n" * (LINES + 1))
    assert not unfit(b"") and not unfit(b"x" * LINE) and not unfit(b"\n" * BLANKS)


def test_the_line_of_all_locales_in_debconfs_words_is_looked_into() -> None:
    content = b"Name: locales/locales_to_be_generated\nChoices: " + b"aa_DJ ISO-8859-1, " * 3000 + b"\n\n"
    assert unfit(content) and not unfit(content, DEBCONF)
    assert unfit(b"x" * 65537, DEBCONF)


def test_debconfs_words_are_changed_line_by_line_however_long() -> None:
    text = "Name: grub-pc/install_devices\nChoices: " + "x, " * 20_000 + "\nValue: /dev/hda\n"
    assert tools.debconf(text, HDA).endswith("\nValue: /dev/vda\n")
    with with_an_end():
        tools.debconf("Name: grub-pc/install_devices\n" * LINES, HDA)
        tools.debconf(("Name: grub-pc/install_devices\nValue: " + "/dev/hda, " * 6000 + "\n\n") * 20, HDA)


# Each piece begins what a judge of a console looks for, over and over, and never ends it.
SAID = (
    "x", " ", "\t", "dracut", "ALERT!", "Volume group ", "Reached target ", "Started ", "Welcome to ", "mount: ",
    "swapon: ", " * ERROR: ", "The disk drive for ", "EXT4-fs", "EXT4-fs(vda1)", "XFS (dm-0)", "BTRFS", "REISERFS(vda)",
    "vda: vda1 ", "vda: vda1\n", "[vda] 1 512-byte ", "Swap mount network ", "[FAILED] ", "[ ", "login: ", "Device ",
    "Mounting root on ", "\x1b[", "\x1b[0 ", "\x1b]", "Begin: Mounting root file system...\n",
    "[    1.000000] ", "x[    1.000000] y\n", "\r", "\r\x1b[80C", "Started Reached target ", "ERROR: Failed to mount ",
    "L 99 99 ",
    "error ", "/dev/", "FIXTURE-BOOTED ", "failed\n", "eth0: cannot", "(1) ", "0x0 ", "00:00:00:00:00:",
)  # fmt: skip


@pytest.mark.parametrize("piece", SAID)
def test_a_console_line_without_an_end_is_judged(piece: str) -> None:
    text = spoken((piece * (SIZE // len(piece))).encode())
    looks = (
        watch.UP,
        dead_ends.DOWN,
        trial.UP,
        trial.USERLAND,
        trial.LOADER,
        trial.KERNEL,
        trial.mounted_pattern("vda"),
    )
    with with_an_end():
        for look in looks:
            look.search(text + "!")
    with with_an_end():
        complaints.said(text + "!")
