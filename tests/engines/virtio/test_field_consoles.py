"""Words of consoles from the field, each init's and initrd's own: what stops a guest, what it lost, what is no loss."""

from __future__ import annotations

import pytest

from engines.boot.console import spoken, unbroken
from engines.boot.dead_ends import DOWN
from engines.boot.watch import UP
from engines.virtio import complaints, trial

STOPS = {
    "CentOS 5 repair shell": "(Repair filesystem) 1 # ",
    "CentOS 5, no root": "mount: could not find filesystem '/dev/root'\nsetuproot: moving /dev failed: No such file\n",
    "Linux 2.4": 'VFS: Cannot open root device "301" or 03:01\nKernel panic: VFS: Unable to mount root fs on 03:01\n',
    "no init": "No working init found.  Try passing init= option to kernel.\n",
    "Ubuntu 8.04": "fsck died with exit status 4\nA maintenance shell will now be started.\n"
    "CONTROL-D will terminate this shell and resume system boot.\n",
    "Ubuntu 10.04": "General error mounting filesystems.\nCONTROL-D will terminate this shell and reboot the system.\n",
    "Ubuntu 14.04's initrd": "Gave up waiting for root device.  Common problems:\n - Boot args (cat /proc/cmdline)\n",
    "Debian 10's initrd": "Gave up waiting for root file system device.  Common problems:\n",
    "Debian's initrd without a system": "Target filesystem doesn't have requested /sbin/init.\n",
    "Debian's initrd without an init": "No init found. Try passing init= bootarg.\n",
    "sulogin of Debian 8": "Press Control-D to continue boot or give root password: ",
    "sulogin of Debian 11": "Press Enter for maintenance\n(or press Control-D to continue): ",
    "sulogin of util-linux 2.40": "Press Enter for system maintenance (or press Control-D to continue):",
    "sulogin of old": "Type Control-D to proceed with normal startup,\n(or give root password for system maintenance):",
    "dracut of CentOS 6": 'dracut Warning: Boot has failed. To debug this issue add "rdshell" to the command line.\n',
    "dracut of Fedora 20": 'Generating "/run/initramfs/rdsosreport.txt"\n',
    "dracut's switch": "[FAILED] Failed to start Switch Root.\n",
    "SUSE asks": "Could not find /dev/sda2.\nWant me to fall back to /dev/sda3? (Y/n) ",
    "SUSE's shell": "invalid root filesystem -- exiting to /bin/sh\n$ ",
    "Arch": "ERROR: Failed to mount '/dev/sda3' on real root\n",
    "Alpine": " * Mounting root: failed.\n",
    "Gentoo": ">> Determining root device ...\n!! Could not find the root block device in UUID=1.\n",
    "OpenRC": " * Filesystem couldn't be fixed :(\n * rc: Aborting!\n",
    "Slackware": "*** An error occurred during the root filesystem check. ***\n",
    "Slackware's initrd": "ERROR:  No /sbin/init found on rootdev (or not mounted).  Trouble ahead.\n",
    "systemd's emergency unit": "[  OK  ] Started emergency.service - Emergency Shell.\n",
    "systemd's rescue": "[  OK  ] Reached target rescue.target - Rescue Mode.\n",
    "systemd through the kernel": "[    9.912345] systemd[1]: Reached target Emergency Mode.\n",
    "systemd that froze": "[!!!!!!] Failed to mount API filesystems, freezing.\n",
    "systemd 219 that froze": "[    5.123456] systemd[1]: Freezing execution.\n",
    "sysvinit without gettys": "INIT: no more processes left in this runlevel\n",
    "GRUB 0.97's stage 1.5": "GRUB loading, please wait...\nError 22\n",
    "LILO": "L 99 99 99 99 99 99\n",
    "SYSLINUX": "No DEFAULT or UI configuration directive found!\nboot: ",
    "UEFI": "UEFI Interactive Shell v2.2\nEDK II\nShell> ",
    "words that the kernel broke": "Give root pass[   12.345678] random: crng init done\nword for maintenance\n",
    "colours": "\x1b[0m\x1b[1;31mYou are in \x1b[0memergency mode. After\r\n",
}


@pytest.mark.parametrize("name", STOPS)
def test_a_guest_that_stops_is_never_up(name: str) -> None:
    text = spoken(STOPS[name].encode())
    assert trial.HOPELESS.search(text)
    assert not trial.UP.search(text)
    assert not UP.search(text)


@pytest.mark.parametrize(
    "text",
    [
        '  Volume group "web1-vg" not found\n  Cannot process volume group web1-vg\n',  # until its disks are there
        "Gave up waiting for suspend/resume device\n",
        "[FAILED] Failed to start Kernel Dump Emergency Capture.\n",
        "Control D is a key\n",
        "Press Ctrl-D to log out\n",
        "Welcome to web1. Type Control-D to leave.\n",
        "Press Control-D to continue\n",
        "[ *** ] A start job is running for dev-sda5.device (1min 20s / 1min 30s)\n",
    ],
)
def test_a_guest_that_goes_on_is_not_down(text: str) -> None:
    assert not DOWN.search(text)


# One complaint a line, as each says it; name, then the words.
LOST = """\
CentOS 5|Bringing up interface eth0:  8139cp device eth0 does not seem to be present, delaying initialization.
CentOS 5|Determining IP information for eth0... failed; no link present.  Check cable?
CentOS 5|fsck.ext3: Unable to resolve 'LABEL=/data'
CentOS 5|/dev/hda5: The superblock could not be read or does not describe a correct ext2
CentOS 5|Couldn't find matching filesystem: LABEL=/data
CentOS 5|swapon: cannot find the device for LABEL=SWAP-hda2
CentOS 5|mount: mount point /data does not exist
CentOS 5|mdadm: /dev/md1 assembled from 1 drive - not enough to start the array.
CentOS 6|Bringing up interface eth0:  Error: No suitable device found: no device found for connection 'System eth0'.
CentOS 6|Device eth0 has different MAC address than expected, ignoring.
CentOS 6|Error, some other host (52:54:00:12:34:56) already uses address 10.0.0.5.
CentOS 6|/dev/vda5: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.
Ubuntu 8.04| * Mounting local filesystems...       [fail]
Ubuntu 8.04| * Configuring network interfaces...  Ignoring unknown interface eth0=eth0.
Ubuntu 10.04|mountall: Filesystem could not be mounted: /data
Ubuntu 10.04|mountall: mount /data [345] terminated with status 32
Ubuntu 10.04|mountall: fsck /data [345] terminated with status 8
Ubuntu 12.04|An error occurred while mounting /data.
Ubuntu 12.04|Serious errors were found while checking the disk drive for /data.
Ubuntu 12.04|Booting system without full network configuration...
Ubuntu 14.04|init: networking main process (345) terminated with status 1
Ubuntu 14.04|[   12.3] init: network-interface (eth0) pre-start process (345) terminated with status 1
Ubuntu 14.04| * Starting mysql ...fail!
Debian 5|Mounting local filesystems...mount: special device /dev/hda5 does not exist
Debian 7|[FAIL] Not activating swap on swapfile. ... failed!
Debian 7|[FAIL] startpar: service(s) returned failure: mysql ... failed!
Debian|eth0: ERROR while getting interface flags: No such device
Debian|ifup: failed to bring up eth0
Debian|RTNETLINK answers: No such device
Debian|No DHCPOFFERS received.
Debian|SIOCADDRT: Network is unreachable
Debian|run-parts: /etc/network/if-pre-up.d/bridge exited with return code 1
busybox|ip: can't find device 'eth0'
busybox|eth0: error fetching interface information: Device not found
busybox|udhcpc: no lease, forking to background
Alpine| * Some local filesystem failed to mount
Alpine|swapon: /dev/sda2: No such file or directory
Gentoo| * ERROR: interface eth0 does not exist
Gentoo| * ERROR: cannot start netmount as net.eth0 would not start
SLES 10|Setting up service network  .  .  .  .  .  .  .  .  .  .  .  .failed
SLES 11|    eth0      No interface found
SLES 11|Mount local file systems in /etc/fstab                                            failed
SLES 11|Failed services in runlevel 3:  network smartd
SLES 11|fsck failed. Mounting root device read-only.
Slackware|/etc/rc.d/rc.inet1:  eth0 not found
Arch of old|:: Mounting Local Filesystems    [FAIL]
Arch of old|:: Activating Swap    [BUSY] [FAIL]
Arch|[FAILED] Failed to start Remount Root and Kernel File Systems.
systemd|[DEPEND] Dependency failed for Local File Systems.
systemd|[ TIME ] Timed out waiting for device /dev/sda5.
systemd|A dependency job for local-fs.target failed. See 'journalctl -xe' for details.
systemd|[FAILED] Failed to start Wait for Network to be Configured.
systemd|[FAILED] Failed to start Network Manager Wait Online.
systemd|[FAILED] Failed to activate swap /dev/sda2.
systemd, quiet|systemd[1]: dev-sda5.device: Job dev-sda5.device/start timed out.
systemd, quiet|[   95.123456] systemd[1]: Timed out waiting for device /dev/sda5.
systemd, quiet|[   95.123456] systemd[1]: Dependency failed for /data.
systemd, quiet|<27>[   95.1] systemd[1]: Failed to mount /data.
systemd, quiet|<30>systemd[1]: Failed to start Network Service.
systemd, quiet|systemd-fsck[245]: Failed to stat '/dev/disk/by-uuid/1': No such file or directory
systemd, quiet|systemd-networkd-wait-online[300]: Timeout occurred while waiting for network connectivity.
systemd, quiet|NetworkManager[345]: <warn> device (eth0): failed
systemd, quiet|mount[345]: mount: /data: can't find UUID=123.
systemd, quiet|network[345]: Bringing up interface eth0:  ERROR    : Device eth0 does not seem to be present
util-linux|mount: /data: wrong fs type, bad option, bad superblock on /dev/sda5, missing codepage
util-linux|mount: unknown filesystem type 'xfs'
util-linux|swapon[345]: swapon: cannot open /dev/sda2: No such file or directory
busybox|findfs: unable to resolve 'UUID=1'
wicked|eth0            device-not-running
sysvinit|INIT: Id "co" respawning too fast: disabled for 5 minutes
initramfs-tools|Gave up waiting for suspend/resume device
dracut|[  184.1] dracut-initqueue[245]: Warning: /dev/disk/by-uuid/1234 does not exist
"""


@pytest.mark.parametrize("row", LOST.splitlines())
def test_a_loss_is_heard_and_is_the_same_one_at_another_time_and_on_another_disk(row: str) -> None:
    line = row.partition("|")[2]
    found = complaints.said(f"Starting udev:  [  OK  ]\n{line}\nStarting sshd:  [  OK  ]\n")
    assert len(found) == 1
    later = line.replace("345]", "1399]").replace("(345)", "(7)").replace("95.1", "195.1").replace("sda", "vda")
    assert complaints.anew(found, complaints.said(f"{later}\n")) == []


@pytest.mark.parametrize(
    "line",
    [
        "EXT4-fs (vda3): re-mounted. Opts: errors=remount-ro",
        "[    4.133456] ata2.00: failed to IDENTIFY (I/O error, err_mask=0x4)",
        "[    2.512345] e1000: probe of 0000:00:03.0 failed with error -2",
        "Kernel command line: root=/dev/vda3 ro failed=no error",
        "FIXTURE-BOOTED root=[vda3] boot=vda1 swap=vda2 eth0=virtio_net fail=[] cmdline=[ro root=/dev/vda3]",
        "DEBIAN-BOOTED root=/dev/vda1 names=/dev/vda1 failed=[]",
        "crashcart-report: failed data.mount",
        "[  OK  ] Reached target Local File Systems.",
        "Bringing up interface eth0:  [  OK  ]",
        "Determining if ip address 10.0.0.5 is already in use for device eth0...",
        "Setting up (localfs) network interfaces:",
        "[ *** ] A start job is running for dev-sda5.device (1min 20s / 1min 30s)",
        "Activating swapfile swap...done.",
        "/dev/vda3: clean, 1200/65536 files, 9/262144 blocks",
        "   eth0 ... [ ok ]",
        "web1 login: ",
    ],
)
def test_what_a_good_boot_says_is_no_loss(line: str) -> None:
    assert complaints.said(f"{line}\n") == []


def test_a_line_that_is_half_written_is_not_yet_read() -> None:
    said = "FIXTURE-BOOTED root=[vda3] boot=vda1 swap=vda2 eth0=virtio_net fail=[] cmdline=[ro"
    assert trial.UP.search(said)
    assert not trial.UP.search(said[:40])


def test_a_status_alone_on_its_line_belongs_to_the_line_before() -> None:
    """Another service's lost mark must not hide this one's."""
    before = complaints.said("Setting clock:  hwclock is not there\n[FAILED]\n")
    after = complaints.said("Setting clock:  hwclock is not there\n[FAILED]\nStarting mysqld:\n[FAILED]\n")
    assert complaints.anew(before, after) == ["Starting mysqld: [FAILED]"]


@pytest.mark.parametrize(
    "kernels",
    [
        "ide-floppy driver 0.99.newide",
        "8139cp: 10/100 PCI Ethernet driver v1.2 (Mar 22, 2004)",
        "hda: ATAPI 4X DVD-ROM drive, 512kB Cache",
        "EXT3 FS on vda3, internal journal",
        "[    9.912345] random: crng init done",
        "[    9.912345][    T1] random: crng init done",
    ],
)
def test_a_status_alone_on_its_line_is_not_the_kernels(kernels: str) -> None:
    before = complaints.said("Starting mysqld:\n[FAILED]\n")
    assert before == ["Starting mysqld: [FAILED]"]
    assert complaints.anew(before, complaints.said(f"Starting mysqld:\n{kernels}\n[FAILED]\n")) == []
    if not kernels.startswith("["):  # with a time it has a line of its own by now
        assert complaints.anew(before, complaints.said(f"Starting mysqld:  {kernels}\n[FAILED]\n")) == []
    other = complaints.said(f"Starting sshd:\n{kernels}\n[FAILED]\n")
    assert complaints.anew(before, other) == ["Starting sshd: [FAILED]"]


@pytest.mark.parametrize("name", ["sda3", "xvda3", "vda3", "nvme0n1p3", "mmcblk0p3"])
@pytest.mark.parametrize(
    "line",
    [
        "VFS: Can't find ext3 filesystem on dev hda3.",
        "FAT: unable to read boot sector of the filesystem on hda3",
        "XFS: Filesystem hda3 cannot be mounted",
        "EXT3-fs error (device hda3): filesystem failed",
        "SELinux: (dev=hda3) filesystem not mounted, error",
    ],
)
def test_a_disk_that_an_old_kernel_names_without_dev_is_the_same_one(line: str, name: str) -> None:
    before, after = complaints.said(f"{line}\n"), complaints.said(f"{line.replace('hda3', name)}\n")
    assert len(before) == 1 and complaints.anew(before, after) == []
    assert complaints.anew(before, complaints.said(f"{line.replace('hda3', 'hda5')}\n")) != []


def test_a_kernel_that_tells_its_caller_is_heard_as_any_other() -> None:
    assert complaints.said("[    4.133456][    T1] ata2: SRST failed (errno=-16) [FAILED]\n") == []
    said = "[   95.123456][   {}] systemd[1]: Failed to mount /data.\n"
    assert complaints.said(said.format("T1")) == ["systemd: Failed to mount /data."]
    assert complaints.said(said.format("C0")) == complaints.said("systemd[1]: Failed to mount /data.\n")


def test_a_try_more_or_another_time_is_not_another_loss() -> None:
    tries = (
        "2026-11-30 12:00:0{0},12{0} - url_helper.py[WARNING]: Calling 'http://169.254.169.254/' failed [{0}/120s]: "
        "Network is unreachable\n"
    )
    assert complaints.anew(complaints.said(tries.format(1)), complaints.said(tries.format(7))) == []
    lost = "Bringing up interface eth{}: [FAILED]\n"
    assert complaints.anew(complaints.said(lost.format(1)), complaints.said(lost.format(0))) != []


def test_a_step_and_its_status_that_suse_writes_with_a_cursor_are_one_line() -> None:
    text = spoken(b"Setting up service network\r\x1b[80C\x1b[10D\x1b[1;31mfailed\x1b[m\r\nweb1 login: ")
    assert text == "Setting up service networkfailed\nweb1 login: " or complaints.said(text)
    assert len(complaints.said(text)) == 1


def test_each_second_that_systemd_counts_is_a_line() -> None:
    said = b"\r\x1b[K[ \x1b[0;31m*\x1b[0m ] A start job is running for /data (5s / 1min)" * 50
    text = spoken(said + b"\r\x1b[K[\x1b[0;1;33m TIME \x1b[0m] Timed out waiting for device /dev/vda5.\r\n")
    assert complaints.said(text) == ["[ TIME ] Timed out waiting for device the disk5."]


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("A[    1.000000] B\nC\n", "[    1.000000] B\nAC\n"),
        ("A[    1.000000] B\n[    2.000000] D\nC\nE", "[    1.000000] B\n[    2.000000] D\nAC\nE"),
        ("A[    1.000000] B", "[    1.000000] B\nA"),
        ("[    1.000000] B\nC\n", "[    1.000000] B\nC\n"),
        ("no kernel [1.0] here\n", "no kernel [1.0] here\n"),
        ("A[    1.000000][    T1] B\nC\n", "[    1.000000][    T1] B\nAC\n"),
        ("A<4>[    1.000000][  C11] B\nC\n", "<4>[    1.000000][  C11] B\nAC\n"),
        ("", ""),
    ],
)
def test_a_line_that_the_kernel_broke_is_whole_again(broken: str, whole: str) -> None:
    assert unbroken(broken) == whole


@pytest.mark.parametrize(
    ("complaint", "old"),
    [
        ("Starting smartd: [FAILED]", True),
        ("smartd.service failed", True),
        ("[FAILED] Failed to start Self Monitoring and Reporting Technology (SMART) Daemon.", True),
        ("[FAILED] Failed to start LSB: Tune IDE hard disks: hdparm.", True),
        ("vmtoolsd.service failed", True),
        ("/dev/vda: HDIO_DRIVE_CMD(identify) failed: Inappropriate ioctl for device", True),
        ("Starting VMware Tools services in the virtual machine: [FAILED]", True),
        ("[FAILED] Failed to mount /srv/vmware.", False),
        ("Starting mysqld: [FAILED]", False),
        ("Bringing up interface eth0: [FAILED]", False),
        ("/data is not mounted", False),
    ],
)
def test_what_was_about_the_old_machine_only_is_told_and_no_loss(complaint: str, old: bool) -> None:
    assert complaints.of_old_hardware(complaint) is old
