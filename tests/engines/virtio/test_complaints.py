"""What a console and a report tell of a boot, and what of it is new."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engines.boot.dead_ends import DOWN
from engines.virtio import complaints, reporter, trial

REPORT = """\
[    9.1] random: crng init done
crashcart-report: begin
crashcart-report: failed data.mount
crashcart-report: mount / /dev/vda3 ext4
crashcart-report: mount /boot /dev/vda1 ext4
crashcart-report: swap /dev/vda2
crashcart-report: card eth0 virtio_net down 52:54:00:12:34:56
crashcart-report: end
"""
FSTAB = """\
UUID=1 / ext4 defaults 0 1
/dev/vda1 /boot ext4 defaults 0 2
/dev/disk/by-id/ata-X-part5 /data ext4 nofail 0 2
/dev/vda9 /old ext4 noauto 0 0
/dev/vda2 none swap sw 0 0
/dev/vda6 none swap sw 0 0
tmpfs /tmp tmpfs defaults 0 0
nas:/x /x nfs defaults 0 0
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
"""


def test_a_report_is_held_against_the_guests_own_tables() -> None:
    report = reporter.read(REPORT)
    assert report is not None
    assert report.mounts == {"/": "/dev/vda3", "/boot": "/dev/vda1"}
    assert complaints.lacking(report, FSTAB, network=True) == [
        "data.mount failed",
        "/data is not mounted",
        "1 of 2 swaps are in use",
        "no network card is up",
    ]
    for spec in ('"/dev/vda7"', "/dev\\057vda7", 'UUID="7"'):
        assert "/more is not mounted" in complaints.lacking(report, f"{spec} /more ext4 defaults\n", network=True)
    assert reporter.read(REPORT.replace("report: end", "report: e")) is None


@pytest.mark.parametrize(
    "line",
    [
        "[FAILED] Failed to mount data.mount - /data.",
        "[DEPEND] Dependency failed for data.mount - /data.",
        "[ TIME ] Timed out waiting for device dev-disk-by\\x2did-ata.device.",
        "mount: special device /dev/hda5 does not exist",
        "swapon: cannot stat /dev/hda2: No such file or directory",
        "Mounting local filesystems:  [FAILED]",
        "mount: mounting /dev/hda5 on /data failed: No such file or directory",
        "The disk drive for /data is not ready yet or not present.",
    ],
)
def test_a_complaint_of_any_init_is_heard_and_the_disks_name_left_out(line: str) -> None:
    before = complaints.said(f"x\n{line}\ny\n")
    after = complaints.said(f"x\n{line.replace('hda', 'vda')}\ny\n")
    assert len(before) == 1
    assert complaints.anew(before, after) == []
    assert complaints.anew([], after) == after


def test_a_quiet_boot_has_no_complaints() -> None:
    text = "[  OK  ] Mounted data.mount - /data.\nEXT4-fs (vda3): mounted filesystem\nMounting filesystems: [  OK  ]\n"
    assert complaints.said(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "[    1.2] virtio_blk virtio0: [vda] 99 512-byte logical blocks\nEXT4-fs (md0): mounted filesystem",
        " vda: vda1 vda2\n[    3.0] XFS (md127): Ending clean mount",
        " vda: vda1 vda2\n[    3.0] BTRFS info (device vda2): disk space caching is enabled",
        "[    3.0] BTRFS info (device vda2): using crc32c algorithm",
        " vda: vda1\nbtrfs: disk space caching is enabled",
        " vda: vda1\nVFS: Mounted root (ext3 filesystem) readonly.",
        "[    1.0] EXT4-fs (vda1): mounted filesystem with ordered data mode",
    ],
)
def test_a_root_on_anything_that_lies_on_the_disk_is_seen(text: str) -> None:
    assert trial.mounted_pattern("vda").search(text + "\n")
    assert not trial.mounted_pattern("vdb").search(text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "You are in emergency mode. After logging in, type",
        "Press Enter for maintenance",
        "Cannot open access to console, the root account is locked.",
        "[  OK  ] Reached target emergency.target - Emergency Mode.",
        "*** An error occurred during the file system check.",
        "initramfs emergency recovery shell launched",
        "Entering emergency mode. Exit the shell to continue.",
    ],
)
def test_a_guest_that_stops_half_way_is_down_and_not_up(text: str) -> None:
    assert DOWN.search(text)
    assert not trial.UP.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "web1 login: ",
        "[  OK  ] Started getty@tty1.service - Getty on tty1.",
        "[  OK  ] Started Serial Getty on ttyS0.",
        "[  OK  ] Reached target Multi-User System.",
        "[  OK  ] Reached target graphical.target - Graphical Interface.",
    ],
)
def test_a_guest_that_is_up_says_so(text: str) -> None:
    assert trial.UP.search(text)
    assert not DOWN.search(text)


def test_an_initrds_welcome_is_no_userland() -> None:
    text = "Welcome to CentOS Linux 7 (Core) dracut-033-554.el7 (Initramfs)!"
    assert not trial.UP.search(text)
    assert not trial.USERLAND.search(text)


def machine() -> tuple[dict[str, str], int, set[str], set[str]]:
    """What this machine itself has: devices by mount point, swaps, IPv4 addresses that lead out of it, cards."""
    rows = [text.split() for text in Path("/proc/mounts").read_text().splitlines()]
    swaps = sum(row.startswith("/") for row in Path("/proc/swaps").read_text().splitlines())
    told = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True, check=True).stdout
    cards = {card.name for card in Path("/sys/class/net").iterdir() if (card / "device").exists()}
    addresses = {line.split()[3].partition("/")[0] for line in told.splitlines()}
    return {row[1]: row[0] for row in rows if row[0][0] == "/"}, swaps, addresses, cards


@pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"]])
def test_the_program_runs_in_any_shell_and_is_understood(shell: list[str], tmp_path: Path) -> None:
    """Others on this machine mount and unmount beside it: held against what was there before it and after."""
    line = tmp_path / "line"
    program = tmp_path / "report"
    program.write_text(reporter.SCRIPT.replace("/dev/ttyS0", str(line)).replace("/run/systemd/system", "/nowhere"))
    before = machine()
    done = subprocess.run([*shell, program], capture_output=True, text=True, check=True, timeout=300)
    after = machine()
    assert done.stderr == ""
    report = reporter.read(line.read_text())
    assert report is not None
    assert report.mounts.items() >= before[0].items() & after[0].items()
    assert len(report.swaps) in range(min(before[1], after[1]), max(before[1], after[1]) + 1)
    assert report.own is not None
    assert set(report.own) >= before[2] & after[2]
    assert {name for name, _, _ in report.cards} >= before[3] & after[3]


def test_what_a_boot_loader_can_do_without_is_no_death() -> None:
    """GRUB goes on behind a font, a module or a hint that is not there; only its prompt is its end."""
    for text in ("error: file `/grub2/fonts/unicode.pf2' not found.", "error: no such device: 5ca1ab1e."):
        assert not DOWN.search(text)
        assert trial.LOADER.search(text)
    assert DOWN.search("error: you need to load the kernel first.")
    assert DOWN.search("Minimal BASH-like line editing is supported.\n\ngrub> ")
