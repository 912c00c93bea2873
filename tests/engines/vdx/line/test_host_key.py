"""A host key is agreed to by its fingerprint before a password is sent, once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engines.job.errors import Refused
from engines.rehearsal.switches.serve import host_key
from engines.vdx.line.address import Address, Remembered
from tests.engines.vdx.conftest import Lab, finished

Labs = Callable[..., Lab]


def test_a_first_host_key_is_asked_about_once_and_shown_in_plan_and_report(lab: Labs) -> None:
    here = lab()
    keys = f"{host_key(here.a)},{host_key(here.b)}"
    with pytest.raises(Refused, match="met for the first time") as refusal:
        here.diagnose(host_key="")
    assert f"--host-key {keys}" in refusal.value.what_helps and not here.a.commands
    with pytest.raises(Refused, match="met for the first time"):
        here.diagnose(host_key=keys.replace("SHA256:", "SHA256:A"))
    assert here.diagnose(host_key=keys)["switch"]["host_key"] == host_key(here.a)
    assert here.diagnose(host_key="")["mate"]["host_key"] == host_key(here.b)
    plan = here.plan(host_key="")
    assert ("sw1's key", f"ssh host key {host_key(here.a)}") in plan.facts
    word = finished(here.fix(host_key=""))
    assert any(line.endswith(host_key(here.b)) for line in word.result["host_keys"])


def test_a_run_that_meets_a_key_for_the_first_time_asks(lab: Labs) -> None:
    here = lab()
    here.diagnose()
    run = here.begin(method="edge-port", out_of_band=False, host_key="")
    for switch in (here.a, here.b):
        host, port = here.switches.address(switch).split(":")
        Remembered(Address(host, int(port))).forget_key()
    finished(here.perform(run, "yes", "yes", plan=here.planned))
    assert "for the first time: SHA256:" in here.questions[0]
