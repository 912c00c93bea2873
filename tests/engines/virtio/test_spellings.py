"""One disk by every spelling that a kernel, a table or a tool takes, and words that look like it and are left."""

from __future__ import annotations

import pytest

from engines.job.errors import Refused
from engines.virtio import naming
from engines.virtio.edits import EDITS
from engines.virtio.lines import bls, grub1, grub2, tables, tools
from engines.virtio.lines.disks import Disks, Edit
from tests.engines.virtio.test_by_bus import guest

DISK = "/dev/disk/by-id/ata-QEMU_HARDDISK_QM00001"
PLACE = "/dev/disk/by-path/pci-0000:00:01.1-ata-1-part3"
STABLE = {f"{DISK}-part3": "UUID=3333", f"{DISK}-part2": "UUID=2222", DISK: "/dev/vda", PLACE: "UUID=3333"}
SDA = Disks("sda", "vda", more=(("sdb", "vdb"),), stable=STABLE)
HDC = Disks("hdc", "vda", more=(("hda", "vdb"),))
XVDA = Disks("xvda", "vda")


@pytest.mark.parametrize(
    ("disks", "before", "after"),
    [
        (SDA, 'root="/dev/sda3"', 'root="/dev/vda3"'),
        (SDA, "root=block:/dev/sda3", "root=block:/dev/vda3"),
        (SDA, "root=/dev/ram0 real_root=/dev/sda3", "root=/dev/ram0 real_root=/dev/vda3"),
        (SDA, "root=803 ro", "root=/dev/vda3 ro"),
        (SDA, "root=0x0813", "root=/dev/vdb3"),
        (SDA, "root=8:3 resume=8:2", "root=/dev/vda3 resume=/dev/vda2"),
        (SDA, "root=800", "root=/dev/vda"),
        (SDA, "root=8:3:7", "root=8:3:7"),
        (SDA, "root=823", "root=823"),  # sdc is not given
        (SDA, "root=0302", "root=0302"),
        (SDA, "root=fe00", "root=fe00"),
        (SDA, "zfs-root=803 /root=803 x.root=803", "zfs-root=803 /root=803 x.root=803"),
        (SDA, "root=/dev/ram0 real_root=803", "root=/dev/ram0 real_root=/dev/vda3"),
        (HDC, "root=1603", "root=/dev/vda3"),
        (HDC, "root=303", "root=/dev/vdb3"),
        (XVDA, "root=ca01 console=hvc0", "root=/dev/vda1"),
        (SDA, "root=LABEL=/dev/sda3", "root=LABEL=/dev/sda3"),
        (SDA, "resume=swap:/dev/sda2", "resume=swap:/dev/vda2"),
        (SDA, "resume=/dev/sda2:0x1000 resume_offset=1", "resume=/dev/vda2:0x1000 resume_offset=1"),
        (SDA, f"resume={DISK}-part2", "resume=UUID=2222"),
        (SDA, "cryptkey=/dev/sda1:ext4:/key", "cryptkey=/dev/vda1:ext4:/key"),
        (SDA, "rd.luks.key=/keyfile:/dev/sda1", "rd.luks.key=/keyfile:/dev/vda1"),
        (SDA, "md=0,/dev/sda1,/dev/sdb1", "md=0,/dev/vda1,/dev/vdb1"),
        (SDA, "rootflags=logdev=/dev/sda5", "rootflags=logdev=/dev/vda5"),
        (SDA, "root=/dev/.static/dev/sda3", "root=/dev/.static/dev/sda3"),
    ],
)
def test_a_kernels_arguments_name_the_new_disk_however_they_named_the_old(
    disks: Disks, before: str, after: str
) -> None:
    assert disks.booted(f"\tkernel /v {before}\n") == f"\tkernel /v {after}\n"
    assert disks.booted(f" {after}\n") == f" {after}\n"


@pytest.mark.parametrize(
    ("root", "name"),
    [('"/dev/hde3"', "hde"), ("803", "sda"), ("3:3", "hda"), ("/dev/ram0 real_root=/dev/hdg3", "hdg"), ("fe03", "sda")],
)
def test_the_disk_is_found_by_any_of_them(root: str, name: str) -> None:
    assert naming.of(guest("LABEL=x / ext4 x 0 1\n", root=root), "", "vda").disks.old == name


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (tables.fstab, '"/dev/sda3" / ext4 x 0 1\n', '"/dev/vda3" / ext4 x 0 1\n'),
        (tables.fstab, "/dev\\057sda3\t/\text4\tx\t0\t1\n", "/dev/vda3\t/\text4\tx\t0\t1\n"),
        (tables.fstab, "\t/dev/sda3\t/a\\040b\text4\tx\n", "\t/dev/vda3\t/a\\040b\text4\tx\n"),
        (tables.fstab, 'LABEL="/dev/sda3" /a ext4 x\n', 'LABEL="/dev/sda3" /a ext4 x\n'),
        (tables.fstab, "/dev/sda3:/dev/sdb1 /a bcachefs x\n", "/dev/vda3:/dev/vdb1 /a bcachefs x\n"),
        (tables.fstab, f"{PLACE} / ext4 x 0 1\n", "UUID=3333 / ext4 x 0 1\n"),
        (tables.fstab, "nas:/dev/sda3 /a nfs x\n", "nas:/dev/sda3 /a nfs x\n"),
        (tables.fstab, "UUID=1 / ext4 x-systemd.after=dev-sda2.device,x-systemd.requires=dev-sdc1.device\n",
         "UUID=1 / ext4 x-systemd.after=dev-vda2.device,x-systemd.requires=dev-sdc1.device\n"),
        (tables.fstab, "/dev/sda3 / ext4 # /dev/sda3\n", "/dev/vda3 / ext4 # /dev/sda3\n"),
        (tables.crypttab, "c /dev/sda3 /dev/sdb1:/a/key:5 keyscript=passdev\n",
         "c /dev/vda3 /dev/vdb1:/a/key:5 keyscript=passdev\n"),
        (tables.crypttab, f"c UUID=1 {DISK}-part2:/key luks\n", "c UUID=1 /dev/disk/by-uuid/2222:/key luks\n"),
        (tables.crypttab, "c UUID=1 /dev/sdb1 luks,keyfile-size=512\n", "c UUID=1 /dev/vdb1 luks,keyfile-size=512\n"),
        (tables.crypttab, "c UUID=1 /dev/sdb luks,keyfile-size=512\n", "c UUID=1 /dev/vdb luks,keyfile-size=512\n"),
        (tables.crypttab, "c UUID=1 /dev/urandom swap\n", "c UUID=1 /dev/urandom swap\n"),
        (tables.crypttab, f"c UUID=1 {DISK}-part2 luks\n", "c UUID=1 /dev/disk/by-uuid/2222 luks\n"),
        (tables.crypttab, f"c UUID=1 {DISK} luks\n", "c UUID=1 /dev/vda luks\n"),
        (tools.raw, "/dev/raw/raw1 /dev/sdb1\n# /dev/raw/raw2 8 5\n/dev/raw/raw2\t8 17 # x\n/dev/raw/raw3 8 33\n",
         "/dev/raw/raw1 /dev/vdb1\n# /dev/raw/raw2 8 5\n/dev/raw/raw2\t/dev/vdb1 # x\n/dev/raw/raw3 8 33\n"),
        (EDITS["/etc/sysconfig/rawdevices"], "/dev/raw/raw1 8 0\n/dev/raw/raw2 253 0\n",
         "/dev/raw/raw1 /dev/vda\n/dev/raw/raw2 253 0\n"),
        (tables.crypttab, "c UUID=1 /keys/dev/sdb1 luks\n", "c UUID=1 /keys/dev/sdb1 luks\n"),
        (tables.crypttab, "c\t/dev/sda3\t/k:/dev/sdb1\tluks,tcrypt-keyfile=/dev/sdb2\n",
         "c\t/dev/vda3\t/k:/dev/vdb1\tluks,tcrypt-keyfile=/dev/vdb2\n"),
        (tables.fstab, "/dev/sda1:/dev/a\\040b /a bcachefs x\n", "/dev/vda1:/dev/a\\040b /a bcachefs x\n"),
        (tables.fstab, "/dev/sda3 / # was /dev/sda1 there\n", "/dev/vda3 / # was /dev/sda1 there\n"),
        (tables.crypttab, "c /dev/sda3 # /dev/sda1 /dev/sda1\n", "c /dev/vda3 # /dev/sda1 /dev/sda1\n"),
        (tables.unit, "Description = Bob's disk\n# /dev/sda1\n; /dev/sda1\nWhat=/dev/sda5 # x\n",
         "Description = Bob's disk\n# /dev/sda1\n; /dev/sda1\nWhat=/dev/vda5 # x\n"),
        (tables.unit, "[Unit]\nRequires=dev-sda5.device\n", "[Unit]\nRequires=dev-vda5.device\n"),
        (tables.settings, 'GRUB_CMDLINE_LINUX="root=803 ro"\n', 'GRUB_CMDLINE_LINUX="root=/dev/vda3 ro"\n'),
        (EDITS["/etc/kernel/cmdline"], "root=803 ro\n", "root=/dev/vda3 ro\n"),
        (tables.settings, "[Mount]\nWhat = /dev/sda5\n", "[Mount]\nWhat = /dev/vda5\n"),
        (tables.settings, "readonly X=/dev/sda\ndeclare -x Y='/dev/sda'\n",
         "readonly X=/dev/vda\ndeclare -x Y='/dev/vda'\n"),
        (grub1.magic, "# kopt=root=803 ro\n# kopt_2_6_18=root=/dev/sda1\n",
         "# kopt=root=/dev/vda3 ro\n# kopt_2_6_18=root=/dev/vda1\n"),
        (grub1.magic, "# defoptions=quiet resume=/dev/sda2\n## defoptions=resume=/dev/sda2\n",
         "# defoptions=quiet resume=/dev/vda2\n## defoptions=resume=/dev/sda2\n"),
        (tools.mdadm, "DEVICE /dev/sd*1 # only these\n", "DEVICE /dev/sd*1 /dev/vd* # only these\n"),
        (tools.mdadm, "DEVICE\n  /dev/sd[ab]1\nARRAY /dev/md0 UUID=1\n",
         "DEVICE\n  /dev/sd[ab]1 /dev/vd*\nARRAY /dev/md0 UUID=1\n"),
        (tools.mdadm, "DEVICE /dev/sd*\n# and\n\n\t/dev/hd*\n", "DEVICE /dev/sd*\n# and\n\n\t/dev/hd* /dev/vd*\n"),
        (tools.mdadm, "DEVICE /dev/sd*\n  partitions\n", "DEVICE /dev/sd*\n  partitions\n"),
        (tools.mdadm, "DEVICE /dev/sda1\n  /dev/sd?2\n", "DEVICE /dev/vda1\n  /dev/sd?2 /dev/vd*\n"),
        (tools.mdadm, "ARRAY /dev/md0\n\tdevices=/dev/sd[ab]1 # two\n",
         "ARRAY /dev/md0\n\tdevices=/dev/sd[ab]1,/dev/vda1,/dev/vdb1 # two\n"),
        (tools.mdadm, "ARRAY /dev/md0 devices=/dev/sdc1\n # /dev/sda\n",
         "ARRAY /dev/md0 devices=/dev/sdc1\n # /dev/sda\n"),
        (tools.mdadm, '  # first\nDEVICE "/dev/sd?1"\n', '  # first\nDEVICE "/dev/sd?1" /dev/vd*\n'),
    ],
)  # fmt: skip
def test_a_file_that_names_it_gets_the_new_name(edit: Edit, before: str, after: str) -> None:
    assert edit(before, SDA) == after
    assert edit(after, SDA) == after


@pytest.mark.parametrize(
    ("path", "before"),
    [
        ("/etc/crypttab.initramfs", "c /dev/sda3 none luks\n"),
        ("/etc/cmdline", "rd.luks.key=/k:/dev/sda1 resume=/dev/sda2\n"),
        ("/etc/kdump.conf", "#raw /dev/sdc5\next4 /dev/sda5\npath /crash\n"),
        ("/etc/sysconfig/kdump", 'KDUMP_SAVEDIR="file:///x"\nKDUMP_COMMANDLINE="root=/dev/sda3"\n'),
        ("/etc/sysconfig/rawdevices", "/dev/raw/raw1 /dev/sdb1\n/dev/raw/raw2 8 33\n"),
        ("/etc/mkinitrd.conf", 'ROOT_DEV="/dev/sda3"\nRESUMEDEV="/dev/sda2"\n'),
        ("/etc/conf.d/dmcrypt", "target=home\nsource='/dev/sda3'\n# source='/dev/sdc5'\n"),
        ("/etc/default/kexec", 'LOAD_KEXEC=true\nAPPEND="root=/dev/sda3 ro"\n'),
        ("/etc/default/kdump-tools", 'KDUMP_CMDLINE_APPEND="root=/dev/sda3"\n'),
        ("/etc/conf.d/kexec", 'ROOTPART="/dev/sda3"\n'),
        ("/etc/genkernel.conf", 'REAL_ROOT="/dev/sda3"\n'),
    ],
)
def test_files_that_a_service_or_an_initrd_reads_its_disks_from_are_edited(path: str, before: str) -> None:
    assert EDITS[path](before, SDA) == before.replace("/dev/sda", "/dev/vda").replace("/dev/sdb", "/dev/vdb")


SNIPPET = "title X\nlinux (hd0,gpt2)/vmlinuz-5.14\ninitrd {}\noptions {}\n"
PATH = "/boot/loader/entries/x.conf"


@pytest.mark.parametrize(
    ("initrd", "options", "made"),
    [
        ("/i.img $tuned_initrd", "${kernelopts} $x", ("/own.img $tuned_initrd", "root=/dev/vda3 ro $x")),
        ("$tuned_initrd /i.img", "$kernelopts", ("$tuned_initrd /own.img", "root=/dev/vda3 ro")),
        ("/ucode.img /i.img", "$kernelopts_of_mine quiet", ("/ucode.img /own.img", "$kernelopts_of_mine quiet")),
        ("/i.img", 'root="/dev/sda3" ${tuned_params}', ("/own.img", 'root="/dev/vda3" ${tuned_params}')),
        ("/i.img", "root=803", ("/own.img", "root=/dev/vda3")),
    ],
)  # fmt: skip
def test_a_snippets_variables_are_known_in_both_spellings(initrd: str, options: str, made: tuple[str, str]) -> None:
    snippets = {PATH: SNIPPET.format(initrd, options)}
    (entry,) = bls.entries(snippets, "root=/dev/sda3 ro")
    assert (entry.kernel, entry.version, entry.initrd) == ("/vmlinuz-5.14", "5.14", "/i.img")
    fields = bls.values(bls.with_entry(snippets, entry, "own.img", SDA, "root=/dev/sda3 ro")[1])
    assert (fields["initrd"], fields["options"]) == made


def test_grubs_environment_keeps_its_warning_and_all_other_variables() -> None:
    head = "# GRUB Environment Block\n# WARNING: Do not edit this file by tools other than grub-editenv!!!\n"
    rest = "kernelopts=root=/dev/sda3 ro\ntuned_params=resume=/dev/sda2\nboot_success=0\n"
    block = f"{head}saved_entry=old\n{rest}".encode().ljust(1024, b"#")
    made = bls.with_default(block, "new")
    assert made == f"{head}saved_entry=new\n{rest}".encode().ljust(1024, b"#")
    assert bls.with_options(made, SDA) == made.replace(b"/dev/sda", b"/dev/vda")


def test_remarks_in_grubs_environment_give_way_and_a_full_one_is_told() -> None:
    block = b"# GRUB Environment Block\n# WARNING: x\nsaved_entry=o\n" + b"a=" + b"x" * 960 + b"\n"
    made = bls.with_default(block.ljust(1024, b"#"), "a-longer-name-of-it")
    assert len(made) == 1024 and bls.variable(made, "saved_entry") == "a-longer-name-of-it"
    assert made.startswith(b"# GRUB Environment Block\nsaved_entry=")
    with pytest.raises(Refused, match="no room for saved_entry="):
        bls.with_default(block, "x" * 100)


def test_the_new_disk_that_finds_no_room_in_grubs_environment_is_told() -> None:
    """A further disk's name may be longer than the old one was; the remarks give way first."""
    longer = Disks("sda", "vda", stable={f"{DISK}-part3": "UUID=" + "3" * 80})
    block = f"# GRUB Environment Block\n# WARNING: x\nkernelopts=root={DISK}-part3\na=".encode()
    made = bls.with_options(block + b"x" * (1024 - 140) + b"\n", longer)
    assert len(made) == 1024 and bls.variable(made, "kernelopts") == "root=UUID=" + "3" * 80
    assert b"WARNING" not in made and bls.variable(made, "a") == "x" * (1024 - 140)
    with pytest.raises(Refused, match="no room for the new disk's name in kernelopts") as refused:
        bls.with_options(block + b"x" * (1024 - 129) + b"\n", longer)
    assert "grub-editenv" in refused.value.what_helps
    assert bls.with_options(block, Disks("hda", "vda")) == block


@pytest.mark.parametrize(
    ("menu", "made"),
    [
        ("title A\n\tkernel /vmlinuz-2.6.18 root=/dev/sda3 \\\n\t\tresume=/dev/sda2\n\tinitrd /i.img\n",
         "\tkernel /vmlinuz-2.6.18 root=/dev/vda3 \\\n\t\tresume=/dev/vda2{}\n\tinitrd /own.img\n"),
        ("title=A\nkernel=/vmlinuz-2.6.18 root=/dev/sda3\ninitrd=/i.img\n",
         "kernel=/vmlinuz-2.6.18 root=/dev/vda3{}\ninitrd=/own.img\n"),
        ("title A\nkernel /vmlinuz-2.6.18 root=/dev/sda3\ninitrd /i.img \\\n\n",
         "kernel /vmlinuz-2.6.18 root=/dev/vda3{}\ninitrd /own.img\n"),
        ("title A\nkernel = /vmlinuz-2.6.18 root=803\ninitrd = (hd0,0)/i.img\n",
         "kernel = /vmlinuz-2.6.18 root=/dev/vda3{}\ninitrd = (hd0,0)/own.img\n"),
        ("title A\nkernel \\\n  /vmlinuz-2.6.18 root=/dev/sda3 quiet\ninitrd /i.img",
         "kernel \\\n  /vmlinuz-2.6.18 root=/dev/vda3 quiet{}\ninitrd /own.img\n"),
    ],
)  # fmt: skip
def test_a_line_of_grub_goes_on_and_may_have_an_equals_sign(menu: str, made: str) -> None:
    (stock,) = grub1.entries(menu)
    assert (stock.version, stock.initrd) == ("2.6.18", "/i.img")
    added = grub1.with_entry(menu, stock, "own.img", SDA)
    assert added.endswith(made.format(""))
    assert grub1.number_of(added, "own.img") == 1
    spoken = " console=tty0 console=ttyS0,115200"
    assert grub1.for_serial(added).endswith(made.format(spoken).replace(" quiet", ""))
    assert grub1.renamed(menu, "2.6.18", SDA).count("/dev/vda") == menu.count("/dev/sda") + menu.count("803")


def test_a_line_of_grub_2_goes_on() -> None:
    menu = "menuentry 'A' {\n\tlinux /vmlinuz-6.1 \\\n\t\troot=/dev/sda3 \\\n\t\tresume=/dev/sda2\n"
    menu += "\tinitrd \\\n\t\t/i.img\n}\n"
    (stock,) = grub2.entries(menu)
    assert (stock.version, stock.initrd) == ("6.1", "/i.img")
    added = grub2.with_entry(menu, stock, "own.img", SDA)
    assert added.endswith("root=/dev/vda3 \\\n\t\tresume=/dev/vda2\n\tinitrd \\\n\t\t/own.img\n}\n")
    assert grub2.for_serial(menu).count("\t\tresume=/dev/sda2 console=tty0 console=ttyS0,115200\n") == 1
