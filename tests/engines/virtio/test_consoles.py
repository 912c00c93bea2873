"""Consoles of guests that lost something on the way, held against the guest as it was: the verdict is what is new."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.boot.dead_ends import DOWN
from engines.boot.watch import UP, Signs
from engines.boot.watch import _Up as Watch
from engines.virtio import complaints, reporter, trial
from engines.virtio.reporter import Report

# A guest that stops half-way, as each init says it; the words behind come from the same screen.
STOPPED = {
    "systemd of CentOS 7": """\
[  OK  ] Started Emergency Shell.
[  OK  ] Reached target Emergency Mode.
Welcome to emergency mode! After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or ^D to
try again to boot into default mode.
Give root password for maintenance
(or type Control-D to continue): """,
    "systemd of Debian 12": """\
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.

Cannot open access to console, the root account is locked.
See sulogin(8) man page for more details.

Press Enter to continue.""",
    "CentOS 5's rc.sysinit": """\
*** An error occurred during the file system check.
*** Dropping you to a shell; the system will reboot
*** when you leave the shell.
Give root password for maintenance
(or type Control-D to continue): """,
    "SLES 10's boot.localfs": "fsck failed.  Please repair manually and reboot.\nGive root password to login: ",
    "dracut": 'Generating "/run/initramfs/rdsosreport.txt"\n\nEntering emergency mode. Exit the shell to continue.\n',
    "initramfs-tools": "ALERT!  /dev/sda1 does not exist.  Dropping to a shell!\n\n(initramfs) ",
    "SUSE's mkinitrd": "Waiting for device /dev/sda2 to appear: .....not found -- exiting to /bin/sh\n$ ",
    "mkinitcpio of old": "You are being dropped to a recovery shell\n    Type 'exit' to try and continue booting\n",
    "genkernel": "!! Block device /dev/sda3 is not a valid root device...\n!! Could not find the root in .\n",
    "util-linux's sulogin": "Give root password for login: ",
    "rescue": "Welcome to rescue mode! Type \"systemctl default\" or ^D to enter default mode.\n",
}  # fmt: skip


@pytest.mark.parametrize("name", STOPPED)
def test_a_guest_that_stops_half_way_is_down_whatever_its_init(name: str) -> None:
    assert DOWN.search(STOPPED[name])
    assert not trial.UP.search(STOPPED[name])
    assert not UP.search(STOPPED[name])


QUIET = "INIT: Entering runlevel: 3\nMounting local filesystems:  [  OK  ]\nBringing up interface eth0:  [  OK  ]\n"
LOST = {  # what only the second console says, and what of it is told
    "a mount": ("[FAILED] Failed to mount /data.\n", "Failed to mount /data"),
    "a mount of old": (
        "Mounting local filesystems:  mount: special device /dev/hda5 does not exist\n[FAILED]\n",
        "mount: special device the disk5 does not exist",
    ),
    "a mount of OpenRC": (" * Some local filesystem failed to mount\n [ !! ]\n", "[ !! ]"),
    "a service of OpenRC": (" * ERROR: localmount failed to start\n", "localmount failed to start"),
    "a mount of SUSE": ("Activating remaining swap-devices in /etc/fstab...  failed\n", "swap-devices"),
    "a swap": ("swapon: /dev/sda2: stat failed: No such file or directory\n", "stat failed"),
    "a device": ("[ TIME ] Timed out waiting for device dev-sda5.device - /dev/sda5.\n", "Timed out waiting"),
    "a dependency": ("[DEPEND] Dependency failed for data.mount - /data.\n", "Dependency failed"),
    "a service": ("[FAILED] Failed to start mysqld.service - MySQL.\n", "Failed to start mysqld"),
    "a service of sysvinit": ("Starting mysqld:  [FAILED]\n", "Starting mysqld"),
    "the network": ("Bringing up interface eth0:  [FAILED]\n", "Bringing up interface eth0"),
    "its card": (
        "Device eth0 does not seem to be present, delaying initialization.\n", "Device eth0 does not seem to be present"
    ),
    "its address": ("Determining IP information for eth0... failed.\n", "Determining IP information"),
    "the network of Debian": ("Configuring network interfaces...failed.\n", "Configuring network interfaces"),
    "its card in Debian": ("SIOCSIFADDR: No such device\n", "SIOCSIFADDR"),
    "its card under ip": ('Cannot find device "enp0s3"\n', "Cannot find device"),
    "its card in OpenRC": (" * ERROR: net.eth0 failed to start\n", "net.eth0 failed to start"),
    "a question of upstart": (
        "The disk drive for /data is not ready yet or not present.\n", "The disk drive for /data is not ready"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_what_fails_anew_is_told_and_what_failed_before_is_not(name: str) -> None:
    said, told = LOST[name]
    before, after = complaints.said(QUIET), complaints.said(QUIET + said)
    assert before == []
    new = complaints.anew(before, after)
    assert any(told in each for each in new), new
    as_before = complaints.said(QUIET + said.replace("/dev/sda", "/dev/hda").replace("dev-sda", "dev-hda"))
    assert complaints.anew(as_before, complaints.said(QUIET + said.replace("sda", "vda"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "[    4.133] ata2: SRST failed (errno=-16) [FAILED]\n",
        "[    4.2] i8042: probe of i8042 failed with error -5\n[    4.3] platform: network probe failed!\n",
        "Starting sshd:  [  OK  ]\nMounting filesystems ... done\n * Mounting local filesystems ... [ ok ]\n",
        "fsck from util-linux 2.38\n/dev/vda3: clean, 1200/65536 files\n",
    ],
)
def test_what_a_kernel_or_a_good_service_says_is_no_complaint(text: str) -> None:
    assert complaints.said(text) == []


HAS = Report({"/": "/dev/sda3", "/data": "/dev/sda5"}, ("/dev/sda2",), (), (("eth0", "e1000", True),), 1, ("10.0.0.5",))
FSTAB = "/dev/sda3 / ext4 x 0 1\n/dev/sda5 /data ext4 nofail 0 2\n/dev/sda2 none swap sw 0 0\n"


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ({"mounts": {"/": "/dev/vda3"}}, ["/data is not mounted"]),
        ({"swaps": ()}, ["0 of 1 swaps are in use"]),
        ({"failed": ("dev-vda2.swap",)}, ["the disk2.swap failed"]),
        ({"failed": ("mysqld.service",)}, ["mysqld.service failed"]),
        ({"cards": (("ens3", "virtio_net", False),)}, ["no network card is up"]),
        ({"cards": ()}, ["no network card is up"]),
        ({"addresses": 0}, ["no network card has an address"]),
        ({"addresses": None}, []),
        ({"own": ("10.0.2.15",)}, ["no network card has the address 10.0.0.5"]),
        ({"own": ()}, ["no network card has the address 10.0.0.5"]),
        ({"own": None}, []),
    ],
)
def test_a_report_that_lacks_what_the_guest_had_is_held_against_it(lost: dict[str, object], told: list[str]) -> None:
    before = complaints.lacking(HAS, FSTAB, network=True, addresses=("10.0.0.5",))
    has = replace(HAS, **lost)  # type: ignore[arg-type]  # fields of a report
    after = complaints.lacking(has, FSTAB, network=True, addresses=("10.0.0.5",))
    assert before == []
    assert complaints.anew(before, after) == told
    assert complaints.anew(after, after) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("web1 login: ", trial.LINGER),
        ("[  OK  ] Started Getty on tty1.\nweb1 login: ", trial.REPORTS),  # its network may still be waited for
        ("web1 login: \ncrashcart-report: begin\n", trial.REPORTS),
        ("[  OK  ] Started Getty on tty1.\nweb1 login: \ncrashcart-report: end\n", 0.0),
    ],
)
def test_a_login_prompt_is_not_the_end_of_a_boot_that_has_more_to_tell(text: str, seconds: float) -> None:
    assert trial.linger(text) == seconds


def test_a_guest_that_came_up_late_is_up_at_the_deadline_without_its_report() -> None:
    signs = Signs(up=trial.UP, down=trial.HOPELESS, within=900.0, linger=trial.linger)
    late, said = Watch(), ("", "[  OK  ] Started Getty on tty1.\nweb1 login: ")
    assert late.look(signs, said, 600.0, True) is None  # watched on for the report
    seen = late.at_last(signs, "")
    assert (seen.how, seen.seconds) == ("boots", 600.0)
    assert Watch().at_last(signs, "").how == "unsure"


def test_units_named_by_the_disk_are_the_same_ones_on_both() -> None:
    before = complaints.lacking(replace(HAS, failed=("dev-sda9.device",)), FSTAB, network=True)
    after = complaints.lacking(replace(HAS, failed=("dev-vda9.device",)), FSTAB, network=True)
    assert complaints.anew(before, after) == []


def test_a_swap_that_came_back_is_no_loss() -> None:
    before, after = ["0 of 2 swaps are in use"], ["1 of 2 swaps are in use"]
    assert complaints.anew(before, after) == []
    assert complaints.anew(after, before) == before


def test_the_report_counts_addresses() -> None:
    text = "crashcart-report: begin\ncrashcart-report: address 10.0.0.5\ncrashcart-report: addresses 2\n"
    text += "crashcart-report: end\n"
    report = reporter.read(text)
    assert report is not None and report.addresses == 2 and report.own == ("10.0.0.5",)
    old = reporter.read(text.replace("crashcart-report: addresses 2\n", ""))
    assert old is not None and old.addresses is None
