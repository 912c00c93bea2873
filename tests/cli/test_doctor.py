"""The doctor tries things: what works is told, what is taken away is missed, each with what mends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.crashcart import ROOT, crashcart


@pytest.mark.boot
def test_the_doctor_tries_everything_and_names_what_mends_it() -> None:
    ran = crashcart("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(ran.stdout)}
    assert ran.returncode == 0
    assert findings["libguestfs appliance"]["works"], findings["libguestfs appliance"]
    assert findings["qemu"]["works"]
    assert findings["run folder"]["core"]
    for finding in findings.values():
        assert finding["says"]
        assert finding["needed_for"]
        assert finding["mend"]


def test_what_is_not_there_is_missed_without_a_traceback() -> None:
    from engines.doctor import checks

    code = "import sys\nfrom engines.doctor import checks as c\no = getattr(c, sys.argv[1])()\nprint(o.works, o.says)"
    names = ("qemu", "kvm", "qemu_img", "nasm", "mtools", "ssh", "lvm", "namespaces", "nftables", "chromium", "firefox")
    for name in names:
        assert hasattr(checks, name)
        ran = subprocess.run(
            [sys.executable, "-c", code, name],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PATH": "/nowhere"},
        )
        assert ran.stdout.startswith("False "), (name, ran.stdout)
        assert "not installed" in ran.stdout


def test_a_state_folder_that_cannot_be_written_makes_the_doctor_fail(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    code = "from engines.doctor import checks as check; o = check.run_folder(); print(o.works, o.says)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(blocked)},
    )
    assert ran.stdout.startswith("False ")
    assert str(blocked) in ran.stdout
