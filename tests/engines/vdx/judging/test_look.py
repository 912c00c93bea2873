"""Diagnosis and plan: what is seen at both ends, what is refused, and what the technician reads first."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.job.contract import CommandChange, TextChange
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret
from engines.rehearsal.switches import Knobs
from engines.rehearsal.switches.factory import UPLINK
from engines.vdx.line.address import Address, Remembered
from tests.engines.vdx.conftest import Lab, knobs

Labs = Callable[..., Lab]
SHORT = ["no fabric isl", "no fabric trunk", "switchport", "no shutdown"]


def kind(found: dict[str, Any]) -> str:
    assert found["verdict"]["lines"], "a verdict stands beside the switches' own lines"
    return str(found["verdict"]["kind"])


def test_the_seeds_case_is_told_in_plain_words_beside_the_raw_lines(lab: Labs) -> None:
    here = lab()
    found = here.diagnose()
    assert kind(found) == "same-vcsid-isl-off" and found["verdict"]["fixable"]
    assert "both have vcsid 1" in found["verdict"]["words"]
    said = {(line["who"], line["line"]) for line in found["verdict"]["lines"]}
    assert ("sw1", "TenGigabitEthernet 1/0/5 is up, line protocol is down (ISL DOWN)") in said
    assert ("sw2", "no fabric isl enable") in said
    assert found["mate"]["vcsid"] == 1 and found["mate"]["interface"] == "TenGigabitEthernet 2/0/5"
    assert not [
        text for text in here.a.commands + here.b.commands if not text.startswith(("show", "terminal")) and text
    ]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"uplink": ["no fabric isl enable", "shutdown"]}, "admin-down"),
        ({"uplink": ["fabric isl enable", "fabric trunk enable", "no shutdown"]}, "up"),
        ({"a": Knobs(reason="ISL segmented")}, "segmented"),
        ({"a": Knobs(reason="flux capacitor")}, "not-understood"),
        ({"uplink": SHORT}, "same-vcsid-isl-off"),
        ({"a": Knobs(hide_off=True), "b": Knobs(hide_off=True)}, "same-vcsid-isl-off"),
    ],
)
def test_each_cause_has_its_verdict(lab: Labs, how: dict[str, Any], expected: str) -> None:
    found = lab(**how).diagnose()
    assert kind(found) == expected
    assert found["verdict"]["fixable"] == (expected == "same-vcsid-isl-off")
    if expected == "not-understood":
        assert "flux capacitor" in found["verdict"]["words"]


def test_causes_that_need_a_change_on_the_switches(lab: Labs) -> None:
    here = lab()
    here.b.vcsid, here.a.knobs.reason, here.b.knobs.reason = 7, "link flap detected", "link flap detected"
    assert kind(here.diagnose()) == "different-vcsid"
    here.a.knobs.reason = here.b.knobs.reason = ""
    assert kind(here.diagnose()) == "up"
    here.b.vcsid = 1
    here.switches.fabric.cables.clear()
    assert kind(here.diagnose(mate_interface="te 2/0/5")) == "no-light"
    assert kind(here.diagnose(interface="te 1/0/99")) == "no-such-port"


def test_a_segmented_port_is_found_in_islports_whatever_show_interface_says(lab: Labs) -> None:
    here = lab(uplink=["fabric isl enable", "fabric trunk enable", "no shutdown"])
    here.b.rbridge = 1
    here.b.commission({5: ["fabric isl enable", "fabric trunk enable", "no shutdown"]})
    assert kind(here.diagnose()) == "segmented"


@pytest.mark.parametrize(
    "trouble",
    [
        {"banner": "Enter your password:\nadmin@localhost's password: \n"},
        {"motd": "sw9# \nLast login: today\nfalse# prompt\n", "mode_prefix": True},
        {"cps": 20000, "pager_stuck": True},
        {"log_every": 0.07},
        {"login_delay": 0.7, "kbdint": True},
    ],
    ids=lambda trouble: "+".join(trouble),
)
def test_a_login_with_trouble_gives_the_same_diagnosis(lab: Labs, trouble: dict[str, Any], tmp_path: Path) -> None:
    here = lab(knobs(**trouble))
    found = here.diagnose()
    assert kind(found) == "same-vcsid-isl-off" and found["switch"]["hostname"] == "sw1"
    for path in tmp_path.rglob("*.log"):
        assert here.switches.password not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_password_is_tried_once_and_told(lab: Labs) -> None:
    here = lab()
    with pytest.raises(Refused, match=r"Permission denied.*tried once"):
        here.diagnose(password=Secret("not-this-one"), mate="")
    assert here.a.logins_failed == 1


def test_old_algorithms_are_named_agreed_to_once_and_remembered(lab: Labs) -> None:
    here = lab(knobs(legacy=True))
    with pytest.raises(Refused) as refusal:
        here.diagnose()
    assert "diffie-hellman-group1-sha1" in refusal.value.what_helps and "--legacy-crypto" in refusal.value.what_helps
    agreed = here.diagnose(legacy_crypto=True)
    assert {"ssh-rsa", "aes128-cbc"} <= set(agreed["switch"]["weak_crypto"]) and not agreed["mate"]["weak_crypto"]
    again = here.diagnose()
    assert any("old ssh algorithms" in note for note in again["notes"])
    assert any("old ssh algorithms" in text for text in here.plan().warnings)


def test_a_changed_host_key_is_refused_with_its_fingerprint_and_agreed_to_by_it(lab: Labs) -> None:
    here = lab()
    here.diagnose()
    host, port = here.switches.address(here.a).split(":")
    kept = Remembered(Address(host, int(port))).known_hosts
    other = Remembered(Address(here.switches.hosts["sw2"].address, 2222)).known_hosts
    stranger = f"[{host}]:{port} " + other.read_text().split(" ", 1)[1]
    kept.write_text(stranger)
    with pytest.raises(Refused, match="--new-host-key SHA256:") as refusal:
        here.diagnose()
    shown = refusal.value.what_helps.rsplit(" ", 1)[1]
    with pytest.raises(Refused):
        here.diagnose(new_host_key="SHA256:" + "A" * 43)
    assert kept.read_text() == stranger
    assert kind(here.diagnose(new_host_key=shown)) == "same-vcsid-isl-off"
    assert kind(here.diagnose()) == "same-vcsid-isl-off"


def test_a_mate_that_cannot_be_reached_is_told_and_the_switch_is_judged(lab: Labs) -> None:
    here = lab()
    here.switches.call(here.switches.hosts["sw2"].enter("down"))
    found = here.diagnose()
    assert "Connection refused" in found["mate_trouble"] and found["mate"] is None
    with pytest.raises(Refused, match="mate cannot be looked at"):
        here.plan()
    plan = here.plan(without_mate=True)
    assert any("will not be verified" in text for text in plan.warnings)


def test_without_a_mate_the_neighbour_is_named_and_never_logged_in_to(lab: Labs) -> None:
    here = lab()
    found = here.diagnose(mate="")
    assert any("TenGigabitEthernet 2/0/5 of sw2" in note for note in found["notes"])
    assert here.b.commands == []


def test_a_switch_whose_fabric_is_still_initialising_is_refused(lab: Labs) -> None:
    here = lab()
    here.a.stage = "init"
    with pytest.raises(Refused):
        here.plan()
    here.a.stage = "ready"
    assert here.plan().confirm == "sw1"


def test_the_plan_says_what_it_does_what_it_costs_and_how_it_is_taken_back(lab: Labs) -> None:
    here = lab(knobs(startup_differs=True))
    plan = here.plan(used_vcsids="2-4", change="switch")
    first, back, save = plan.changes
    assert isinstance(first, CommandChange) and first.command == "vcs vcsid 5 set-rbridge-id 1"
    assert "[y/n]" in first.expects
    assert isinstance(back, TextChange) and "no fabric isl enable" in (back.after or "")
    assert "s3cr3t" not in str(plan.changes)
    assert isinstance(save, CommandChange) and save.command.startswith("copy")
    words = " ".join(plan.warnings)
    assert "reboots" in words and "differ from its startup-config" in words and "oncall" in words
    assert plan.confirm == "sw1" and "another reboot" in plan.undo
    assert {choice.param for choice in plan.choices} == {"change", "method"}
    assert next(step.no_stop for step in plan.steps if step.id == "change")


def test_the_plan_is_the_same_while_nothing_changes_and_another_once_something_does(lab: Labs) -> None:
    here = lab()
    assert here.plan().digest == here.plan().digest
    before = here.plan().digest
    here.a.running["snmp-server location elsewhere"] = None
    assert here.plan().digest != before


def test_a_port_without_switchport_is_warned_of(lab: Labs) -> None:
    here = lab(uplink=["no fabric isl enable", "no fabric trunk enable", "no shutdown"])
    assert sum("carries no traffic" in text for text in here.plan().warnings) == 2
    assert not any("carries no traffic" in text for text in lab(uplink=UPLINK).plan().warnings)


@pytest.mark.parametrize(
    ("how", "changed", "why", "agreed"),
    [
        ({}, {"out_of_band": False}, "management address", {"out_of_band": True}),
        ({"cables": 2}, {}, "2 cables", {"parallel_links": True}),
        ({"a": Knobs(vlag=True)}, {"change": "switch"}, "vLAG", {"split_vlag": True}),
        ({"a": Knobs(members=2)}, {"change": "switch"}, "2 other members", {"leave_fabric": True}),
        ({}, {"mate": ""}, "no mate", {"without_mate": True}),
        ({"a": Knobs(mode="Logical Chassis")}, {"change": "switch"}, "logical chassis", {"change": "auto"}),
        ({"a": Knobs(mode="Hyper Cluster")}, {"change": "switch"}, "Hyper Cluster", {"change": "mate"}),
        ({"a": Knobs(no_edge_command=True)}, {"method": "edge-port"}, "does not know", {"method": "vcsid"}),
        ({"a": Knobs(lldp=False)}, {}, "which port", {"mate_interface": "te2/0/5"}),
    ],
)
def test_a_hazard_is_refused_unless_it_is_agreed_to(
    lab: Labs, how: dict[str, Any], changed: dict[str, Any], why: str, agreed: dict[str, Any]
) -> None:
    here = lab(**how)
    with pytest.raises(Refused, match=why) as refusal:
        here.plan(**changed)
    assert refusal.value.what_helps
    assert here.plan(**{**changed, **agreed}).confirm in ("sw1", "sw2")


def test_a_wrong_mate_is_refused(lab: Labs) -> None:
    here, other = lab(), lab()
    other.b.running["rbridge-id 2"] = {"switch-attributes host-name other": None}
    with pytest.raises(Refused, match="LLDP sees sw2"):
        here.plan(mate=other.switches.address(other.b), mate_password=other.secret)
    with pytest.raises(Refused, match="LLDP sees TenGigabitEthernet 2/0/5"):
        here.plan(mate_interface="te 2/0/6")


@pytest.mark.parametrize("bad", [0, 8193, "1;reload", "two"])
def test_a_vcsid_out_of_bounds_is_no_vcsid(lab: Labs, bad: object) -> None:
    with pytest.raises(BadParam, match="1 to 8192"):
        lab().params(vcsid=bad)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("switch", "-oProxyCommand=x"),
        ("switch", "host name"),
        ("switch", "h:0"),
        ("user", "-x"),
        ("user", "a b"),
        ("interface", "1/0/5"),
        ("interface", "te 1/0/5; reload"),
        ("interface", "Tennis 1/0/5"),
        ("used_vcsids", "1-x"),
        ("used_vcsids", "9-3"),
        ("console", "no-such-program-here 7005"),
    ],
)
def test_what_could_become_another_command_is_refused(lab: Labs, name: str, bad: str) -> None:
    here = lab()
    with pytest.raises(BadParam) as refusal:
        here.plan(**{name: bad})
    assert refusal.value.name == name


def test_a_taken_vcsid_is_refused_and_those_seen_before_are_left_out(lab: Labs) -> None:
    here = lab()
    assert here.plan(vcsid=8192).detail["new"] == 8192
    with pytest.raises(Refused, match="vcsid 1 is taken"):
        here.plan(vcsid=1)
    Remembered(Address("elsewhere")).saw("sw9", 2)
    assert here.plan().detail["new"] == 3
    with pytest.raises(Refused, match="of sw9"):
        here.plan(vcsid=2)


def test_the_smaller_fabric_is_the_one_that_changes(lab: Labs) -> None:
    here = lab(knobs(members=2))
    plan = here.plan()
    assert plan.confirm == "sw2" and plan.params["change"] == "mate"
    assert ("changes", "sw2: its fabric is the smaller one (3 and 1 members)") in plan.facts


def test_a_technician_adds_a_wording_in_a_file_of_his_own(lab: Labs) -> None:
    here = lab(Knobs(reason="fabric link off by admin"), Knobs(reason="fabric link off by admin"))
    assert kind(here.diagnose()) == "not-understood"
    own = Path(os.environ["XDG_CONFIG_HOME"]) / "crashcart" / "vdx-patterns.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("reason_isl_off: ['fabric link off']\n")
    assert kind(here.diagnose()) == "same-vcsid-isl-off"
    own.write_text("reason_isl_of: ['x']\n")
    os.utime(own, ns=(1, 1))
    with pytest.raises(Refused, match="reason_isl_of"):
        here.diagnose()
    own.write_text("reason_isl_off: ['(']\n")
    os.utime(own, ns=(2, 2))
    with pytest.raises(Refused, match="no regular expression"):
        here.diagnose()
