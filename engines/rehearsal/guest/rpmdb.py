"""An rpm database that owns the guest's kernels, for converters that ask it; the guest's own `rpm` only lists files."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from engines.job.errors import Refused
from engines.rehearsal.guest.shape import Shape

SPEC = """\
Name: kernel
Version: {version}
Release: {release}
Summary: The Linux kernel
License: GPLv2
%description
A kernel.
%install
mkdir -p %{{buildroot}}/boot %{{buildroot}}/lib/modules/{whole}
touch {touched}
%files
/boot/*
/lib/modules/{whole}
"""


def make(shape: Shape, tree: Path) -> None:
    """Register every kernel of the tree, and give the guest an `rpm -ql`. Raises Refused without rpmbuild."""
    for version in (shape.version, *shape.kernels):
        _register(version, tree)
    settings = tree / "usr/lib/rpm"
    settings.mkdir(parents=True)
    (settings / "rpmrc").write_text("arch_canon: x86_64: x86_64 1\nbuildarchtranslate: x86_64: x86_64\n")
    (settings / "macros").write_text("%_dbpath /var/lib/rpm\n%_db_backend sqlite\n")
    (tree / ".rpmdb").symlink_to("var/lib/rpm")  # where Debian's librpm looks without a home
    listing = tree / "bin/rpm"
    listing.write_text(
        '#!/bin/sh\n[ "$1" = -ql ] || exit 0\nver=${2#kernel-}\n'
        "ls -d /boot/*$ver* /lib/modules/$ver; find /lib/modules/$ver\n"
    )
    listing.chmod(0o755)


def _register(version: str, tree: Path) -> None:
    number, _, release = version.partition("-")
    names = [path.relative_to(tree) for path in (tree / "boot").glob(f"*{version}*")]
    touched = " ".join(f"%{{buildroot}}/{name}" for name in names)
    with tempfile.TemporaryDirectory(prefix="crashcart-rpm-") as folder:
        spec = Path(folder, "kernel.spec")
        spec.write_text(SPEC.format(version=number, release=release, whole=version, touched=touched))
        _run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", "--target", "x86_64", str(spec)])
        package = next(Path(folder).glob("RPMS/*/*.rpm"))
        rpm = ["rpm", "--root", str(tree), "--dbpath", "/var/lib/rpm"]
        _run([*rpm, "--initdb"])
        _run([*rpm, "-i", "--justdb", "--nodeps", "--noscripts", "--ignorearch", str(package)])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not installed", "apt-get install rpm") from None
    if done.returncode:
        raise Refused(f"{command[0]}: {done.stderr.strip()[-200:]}", "build the guest without an rpm database")
