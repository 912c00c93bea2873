"""Ways in that people have: keys, the agent, a config of their own, a jump, a console for looking too."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.job.errors import BadParam, Refused
from engines.job.params import Secret
from engines.vdx.line.access import Access, Ways
from engines.vdx.line.address import Remembered, address
from engines.vdx.line.login import ssh_argv
from tests.engines.vdx.conftest import Lab, knobs, mended

Labs = Callable[..., Lab]
BARE: dict[str, Any] = {"password": None, "mate": ""}


def a_key(folder: Path, phrase: str = "") -> tuple[Path, str]:
    """A new key and its SHA256."""
    path = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", path], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True).stdout
    return path, shown.split()[1]


def test_a_key_logs_in_without_a_password_through_a_whole_fix(lab: Labs, tmp_path: Path) -> None:
    path, mark = a_key(tmp_path)
    here = lab(knobs(keys=(mark,)), knobs(keys=(mark,)))
    with pytest.raises(BadParam, match="--key-file"):
        here.diagnose(**BARE)
    assert here.diagnose(password=None, key_file=str(path))["verdict"]["kind"] == "same-vcsid-isl-off"
    before = here.a.shown()
    mine = tmp_path / "mine"
    mine.mkdir()
    run = here.begin(password=None, key_file=str(path), copy_to=str(mine))
    mended(here, here.perform(run, plan=here.planned, secrets={}), before)
    (copy,) = mine.iterdir()
    assert copy.read_text() == before and copy.stat().st_mode & 0o077 == 0


def test_a_key_that_is_not_taken_or_is_locked_is_told(lab: Labs, tmp_path: Path) -> None:
    path, _ = a_key(tmp_path)
    with pytest.raises(Refused, match="Permission denied"):
        lab(knobs(keys=("SHA256:other",))).diagnose(**BARE, key_file=str(path))
    (tmp_path / "b").mkdir()
    locked, mark = a_key(tmp_path / "b", "a phrase")
    with pytest.raises(Refused, match="has a passphrase"):
        lab(knobs(keys=(mark,))).diagnose(**BARE, key_file=str(locked))


def test_the_agent_is_asked_only_where_it_is_said(lab: Labs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mark = a_key(tmp_path)
    here = lab(knobs(keys=(mark,)))
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    words = dict(part.strip().split("=", 1) for part in said.split(";") if "=" in part)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", words["SSH_AUTH_SOCK"])
        subprocess.run(["ssh-add", "-q", path], check=True)
        path.unlink()
        assert here.diagnose(**BARE, agent=True)["switch"]["hostname"] == "sw1"
    finally:
        os.kill(int(words["SSH_AGENT_PID"]), signal.SIGTERM)


def test_a_config_of_the_users_is_taken_only_where_it_is_named(lab: Labs, tmp_path: Path) -> None:
    here = lab()
    host, port = here.switches.address(here.a).split(":")
    config = tmp_path / "config"
    config.write_text(f"Host core-switch\n  HostName {host}\n  Port {port}\n")
    with pytest.raises(Refused, match="no login"):
        here.diagnose(switch="core-switch", mate="")
    assert here.diagnose(switch="core-switch", mate="", ssh_config=str(config))["switch"]["hostname"] == "sw1"


def test_a_jump_is_sshs_own(tmp_path: Path) -> None:
    access = Access("switch", address("switch", "sw1"), "admin", Secret("x"), "", Ways(jump="ops@gate:2200"))
    argv = ssh_argv(access, Remembered(access.where))
    shown = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout
    assert "proxyjump ops@gate:2200" in shown and "pubkeyauthentication false" in shown


@pytest.mark.parametrize("bad", ["-oProxyCommand=x", "host name", "a@b;c", "gate:port"])
def test_a_jump_that_could_become_an_option_is_refused(lab: Labs, bad: str) -> None:
    with pytest.raises(BadParam) as refusal:
        lab().params(jump=bad)
    assert refusal.value.name == "jump"


def test_a_diagnosis_goes_over_the_console_where_ssh_is_closed(lab: Labs) -> None:
    here = lab(knobs(console_asks="Username:"))
    here.switches.call(here.switches.hosts["sw1"].enter("down"))
    found = here.diagnose(console=here.switches.console(here.a))
    assert found["verdict"]["kind"] == "same-vcsid-isl-off" and found["switch"]["host_key"] == ""


def test_a_diagnosis_goes_over_the_console_where_all_sessions_are_taken(lab: Labs) -> None:
    here = lab(knobs(shut="Too many logins for 'admin'."))
    found = here.diagnose(console=here.switches.console(here.a))
    assert found["verdict"]["kind"] == "same-vcsid-isl-off"


@pytest.mark.parametrize("question", ["New password: ", "Do you accept the terms of use [Y/N]? ", "Token (8 digits)> "])
@pytest.mark.parametrize("way", ["ssh", "console"])
def test_what_is_asked_before_the_command_line_is_shown_and_not_answered(lab: Labs, way: str, question: str) -> None:
    here = lab(knobs(asks_first="Your password has expired.\n" + question))
    over: dict[str, Any] = {}
    if way == "console":
        here.switches.call(here.switches.hosts["sw1"].enter("down"))
        over["console"] = here.switches.console(here.a)
    with pytest.raises(Refused) as refusal:
        here.diagnose(mate="", **over)
    assert f"Your password has expired. {question.strip()}" in refusal.value.why
    assert "by hand" in refusal.value.what_helps and here.a.commands == []


@pytest.mark.parametrize("prompt", ["Verification code: ", "One-time password (OATH) for `admin': "])
def test_a_second_factor_is_no_wrong_password(lab: Labs, prompt: str) -> None:
    here = lab(knobs(kbdint=True, second_factor=prompt))
    with pytest.raises(Refused, match=re.escape(prompt.strip())) as refusal:
        here.diagnose(mate="")
    assert "not accepted" not in refusal.value.why and here.a.logins_failed == 0


def test_a_wrong_password_is_one_where_the_switch_asks_its_own_way(lab: Labs) -> None:
    here = lab(knobs(kbdint=True))
    with pytest.raises(Refused, match=r"not accepted|Permission denied") as refusal:
        here.diagnose(mate="", password=Secret("wrong"))
    assert "user or the password" in refusal.value.what_helps and here.a.logins_failed == 1


def test_a_folder_for_the_copy_that_is_none_is_refused_before_anything(lab: Labs, tmp_path: Path) -> None:
    here = lab()
    with pytest.raises(Refused, match="--copy-to"):
        here.plan(copy_to=str(tmp_path / "nowhere"))
    assert not here.a.commands
