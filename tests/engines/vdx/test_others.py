"""A client that others made accepts the rehearsal switch, and the command line drives the whole task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from engines.cli.rehearse import one
from tests.engines.vdx.conftest import QUICK, Lab

Labs = Callable[..., Lab]


@pytest.mark.filterwarnings("ignore")
def test_netmiko_works_on_a_rehearsal_switch(lab: Labs) -> None:
    from netmiko import ConnectHandler

    here = lab()
    host, port = here.switches.address(here.a).split(":")
    with ConnectHandler(
        device_type="brocade_nos", host=host, port=int(port), username="admin", password=here.switches.password
    ) as client:
        assert client.find_prompt() == "sw1#"
        assert "line protocol is down (ISL DOWN)" in client.send_command("show interface TenGigabitEthernet 1/0/5")
        assert str(client.send_command("show running-config")).strip() == here.a.shown().strip()
        assert "syntax error" in client.send_command("show nonsense")
        here.a.running["snmp-server location elsewhere"] = None
        client.save_config()
        assert here.a.startup == here.a.running


def crashcart(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engines.cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **extra},
        check=False,
    )


def test_the_seeds_case_runs_from_a_job_file(lab: Labs, tmp_path: Path) -> None:
    here = lab()
    before = here.a.shown()
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text(here.switches.password + "\n")
    job = tmp_path / "job.yaml"
    params = {**here.switches.params(), **QUICK, "password_file": str(secret)}
    job.write_text(yaml.safe_dump({"task": "vdx", "params": params}))
    shown = crashcart("run", str(job), "--dry-run", "--json")
    assert shown.returncode == 0 and json.loads(shown.stdout)["confirm"] == "sw1"
    assert here.a.reboots == 0
    unconfirmed = crashcart("run", str(job))
    assert unconfirmed.returncode == 2 and here.a.reboots == 0
    done = crashcart("run", str(job), "--confirm", "sw1")
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.strip().splitlines()[-1])
    assert "both ends are up" in report.read_text()
    assert here.a.shown() == before and here.a.vcsid == 2
    assert here.switches.password not in shown.stdout + shown.stderr + done.stdout + done.stderr + report.read_text()


def test_diagnose_prints_one_json_object_or_words(lab: Labs, tmp_path: Path) -> None:
    here = lab()
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text(here.switches.password)
    words = ["vdx", "diagnose", "--switch", here.switches.address(here.a), "--user", "admin"]
    words += ["--interface", "te 1/0/5", "--password-file", str(secret), "--mate", here.switches.address(here.b)]
    stranger = crashcart(*words, "--json")
    keys = here.switches.params()["host_key"]
    assert stranger.returncode == 3 and f"--host-key {keys}" in stranger.stderr
    assert here.a.logins_failed == here.b.logins_failed == 0 and not here.a.commands
    words += ["--host-key", keys]
    found = crashcart(*words, "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["verdict"]["kind"] == "same-vcsid-isl-off"
    assert "sw1 and sw2 both have vcsid 1" in crashcart(*words).stdout
    refusal = crashcart(*words[:8])
    assert refusal.returncode == 2 and "password" in refusal.stderr


def test_the_rehearsal_mends_its_pair() -> None:
    rehearsed = one("vdx", as_json=True)
    assert (rehearsed.outcome, rehearsed.code) == ("done", 0), rehearsed.summary
    assert "both ends are up" in rehearsed.summary


def test_the_command_is_quick_to_load_without_ssh() -> None:
    probe = "import sys, engines.vdx.engine; print({'asyncssh', 'pexpect', 'netmiko', 'yaml'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "set()"
