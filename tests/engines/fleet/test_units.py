"""systemd takes the units that are shipped, and each runs a verb that there is; a cluster's members are not root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.fleet import engine
from tests.absent import absent
from tests.engines.fleet.lab import ROOT

UNITS = sorted((ROOT / "packaging").glob("*.service"))
VERBS = {look.verb for look in engine.LOOKS}


def value(unit: Path, key: str) -> str:
    return next((line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{key}=")), "")


def test_each_member_of_a_fleet_has_its_unit() -> None:
    assert {value(unit, "ExecStart") for unit in UNITS} == {
        f"/usr/bin/crashcart fleet {verb}" for verb in ("serve", "scheduler", "worker")
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_one(unit: Path, tmp_path: Path) -> None:
    assert value(unit, "ExecStart").split()[-1] in VERBS
    root = value(unit, "ExecStart").endswith("serve")
    assert value(unit, "User") == ("" if root else "crashcart")
    if not shutil.which("systemd-analyze"):
        absent("systemd-analyze")
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/usr/bin/crashcart", sys.executable))
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True)
    assert (said.returncode, [line for line in said.stderr.splitlines() if unit.name in line]) == (0, [])


def test_the_user_of_the_units_is_made() -> None:
    lines = (ROOT / "packaging" / "crashcart.sysusers").read_text().splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith("#")] == [["u", "crashcart"]]
