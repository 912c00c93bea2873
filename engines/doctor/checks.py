"""The examinations behind `crashcart doctor`: each tries the thing itself, in a child where it could hang."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engines.host import child
from engines.job import runs
from engines.job.errors import Refused

APPLIANCE = """
import guestfs, sys
g = guestfs.GuestFS(python_return_dict=True)
g.set_backend("direct")
if sys.argv[1] == "tcg":
    g.set_backend_setting("force_tcg", "1")
g.add_drive_scratch(1048576)
g.launch()
print("version", g.version()["major"], g.version()["minor"])
g.shutdown()
"""
MOUNT = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, 0x44000, None):  # CLONE_NEWNS; MS_REC | MS_PRIVATE
    sys.exit(os.strerror(ctypes.get_errno()))
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
if libc.mount(b"crashcart", sys.argv[1].encode(), b"fuse", 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


@dataclass(frozen=True)
class Outcome:
    """What one examination found; `mend` where it knows better than the general command."""

    works: bool
    says: str
    mend: str = ""


def _try(argv: list[str], seconds: float = 20.0) -> tuple[bool, str]:
    """Whether a command ends with 0, and the first line it says (the last of stderr where it fails)."""
    if not shutil.which(argv[0]):
        return False, f"{argv[0]} is not installed"
    try:
        ran = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=child.ROOT,
            env=child.environment(),
            timeout=seconds,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return False, f"{argv[0]} did not answer within {seconds:.0f} s"
    said = (ran.stdout.strip().splitlines()[:1] if ran.returncode == 0 else []) or ran.stderr.strip().splitlines()[-1:]
    return ran.returncode == 0, said[0] if said else f"{argv[0]} ended with {ran.returncode}"


def _version(*argv: str) -> Outcome:
    works, says = _try(list(argv))
    return Outcome(works, says)


def run_folder() -> Outcome:
    """The folder of runs takes a file, and has room for a run's reserve."""
    try:
        home = runs.home()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as trial:
            os.posix_fallocate(trial.fileno(), 0, 1024 * 1024)
    except Refused as refused:
        return Outcome(False, refused.why)
    except OSError as error:
        return Outcome(False, f"{error.filename or home}: {error.strerror}")
    return Outcome(True, f"{home} takes files")


def outlives_login() -> Outcome:
    """Whether logind would end a detached run when its login ends, and whether a scope of its own is to be had."""
    if not Path("/run/systemd/system").is_dir():
        return Outcome(True, "no systemd here: a session of its own is enough")
    asked = ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"]
    works, says = _try([*asked, "org.freedesktop.login1.Manager", "KillUserProcesses"])
    if works and says.endswith("false"):
        return Outcome(True, "logind leaves processes alone at logout")
    scope = ["systemd-run", "--quiet", "--collect", "--scope"] + ([] if os.geteuid() == 0 else ["--user"])
    works, why = _try([*scope, "true"])
    if not works:
        return Outcome(False, f"logind may end runs at logout, and no scope is to be had: {why}")
    if os.geteuid() == 0:
        return Outcome(True, "runs get a systemd scope of their own")
    works, says = _try(["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"])
    return Outcome(
        works and says == "yes", "runs get a user scope; it " + ("lingers" if says == "yes" else "ends with the login")
    )


def _python() -> str:
    """The interpreter that Debian's python3-guestfs belongs to."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else child.INTERPRETER


def guestfs_binding() -> Outcome:
    """The python binding loads."""
    loads = "import guestfs, sys; print('loads with', sys.version.split()[0])"
    works, says = _try([_python(), "-I", "-c", loads])
    return Outcome(works, says)


def guestfs_appliance() -> Outcome:
    """The appliance boots: with KVM where that truly works, else emulated."""
    how = "kvm" if kvm().works else "tcg"
    works, says = _try([_python(), "-I", "-c", APPLIANCE, how], seconds=180.0)
    return Outcome(works, f"boots with {how}, {says}" if works else says)


def qemu() -> Outcome:
    """QEMU answers."""
    return _version("qemu-system-x86_64", "--version")


def qemu_img() -> Outcome:
    """qemu-img answers."""
    return _version("qemu-img", "--version")


def kvm() -> Outcome:
    """A guest runs under KVM, which an open /dev/kvm does not prove."""
    from engines.boot.accel import tried

    try:
        accelerator = tried()
    except Refused as refused:
        return Outcome(False, refused.why, refused.what_helps)
    return Outcome(accelerator.name == "kvm", accelerator.why)


def isolinux() -> Outcome:
    """The boot loader's files are there."""
    needed = (
        Path("/usr/lib/ISOLINUX/isolinux.bin"),
        Path("/usr/lib/syslinux/memdisk"),
        Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    )
    missing = [str(path) for path in needed if not path.is_file()]
    return Outcome(not missing, "missing: " + ", ".join(missing) if missing else "isolinux.bin, ldlinux.c32, memdisk")


def nasm() -> Outcome:
    """The assembler of the boot probe answers."""
    return _version("nasm", "-v")


def mtools() -> Outcome:
    """mtools answer."""
    return _version("mformat", "--version")


def samba() -> Outcome:
    """The SMB server answers; Debian keeps it where only root's PATH looks."""
    return _version(shutil.which("smbd") or "/usr/sbin/smbd", "--version")


def ssh() -> Outcome:
    """ssh answers, and which old algorithms it could still be asked for."""
    works, says = _try(["ssh", "-Q", "kex"])
    if not works:
        return Outcome(False, says)
    listed = subprocess.run(["ssh", "-Q", "kex"], capture_output=True, text=True, check=False).stdout.split()
    old = "diffie-hellman-group1-sha1" in listed
    return Outcome(True, "answers; old switches' key exchange is " + ("compiled in" if old else "NOT compiled in"))


def fuse() -> Outcome:
    """A FUSE file system mounts, tried in a mount namespace that ends with the trial."""
    if os.geteuid() != 0:
        works, says = _try(["fusermount3", "--version"])
        return Outcome(works and os.access("/dev/fuse", os.R_OK | os.W_OK), says)
    with tempfile.TemporaryDirectory(prefix="crashcart-doctor-") as folder:
        works, says = _try(child.code(MOUNT, folder))
    return Outcome(works, "mounts" if works else says)


def lvm() -> Outcome:
    """lvm answers and the kernel's device-mapper takes requests."""
    works, says = _try(["lvm", "version"])
    if not works:
        return Outcome(False, says)
    works, _ = _try(["dmsetup", "version"])
    mapper = works and Path("/dev/mapper/control").exists()
    return Outcome(
        mapper,
        "lvm and device-mapper answer" if mapper else "lvm is here; this kernel has no device-mapper",
        "modprobe dm-mod",
    )


def cgroup_io() -> Outcome:
    """A cgroup that can limit reading: v2 with the io controller, or v1 blkio, tried by making one."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists() and "io" in unified.read_text().split():
        return _makes_group(unified.parent, "v2 io.max")
    for line in Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup" and "blkio" in fields[3].split(","):
            return _makes_group(Path(fields[1]), "v1 blkio.throttle")
    return Outcome(False, "no cgroup with io limits; a token bucket does it instead")


def _makes_group(root: Path, words: str) -> Outcome:
    trial = root / f"crashcart-doctor-{os.getpid()}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        return Outcome(False, f"{words} is there, but {error.strerror}; a token bucket does it instead", "run as root")
    return Outcome(True, words)


def namespaces() -> Outcome:
    """A network namespace of our own with its loopback up: as root, or through a user namespace."""
    prefix = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urnm"]
    works, says = _try([*prefix, "ip", "link", "set", "lo", "up"])
    return Outcome(works, "to be had" if works else says)


def nftables() -> Outcome:
    """The packet filter takes a table, in a network namespace that ends with the trial."""
    prefix = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Urn"]
    works, says = _try([*prefix, "nft", "add", "table", "inet", "crashcart-doctor"])
    return Outcome(works, "takes a table" if works else says)


def asyncssh() -> Outcome:
    """The library of the rehearsal switches loads."""
    works, says = _try(child.code("import asyncssh; print('loads,', asyncssh.__version__)"))
    return Outcome(works, says)


def chromium() -> Outcome:
    """Chromium answers."""
    return _version("chromium", "--version")


def firefox() -> Outcome:
    """Firefox answers."""
    return _version("firefox-esr", "--version")
