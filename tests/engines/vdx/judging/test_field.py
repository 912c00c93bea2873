"""Switches as they stand in the field: what runs on them, what they are called, and who may do what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engines.job.errors import BadParam, Refused
from engines.rehearsal.switches import Knobs
from engines.vdx.switch import config, parse
from tests.engines.vdx.conftest import Lab, knobs

Labs = Callable[..., Lab]
ISL_ON = ["fabric isl enable", "fabric trunk enable", "switchport", "no shutdown"]
TRUNK_OFF = ["fabric isl enable", "no fabric trunk enable", "switchport", "no shutdown"]


def test_port_channels_vlans_and_a_ve_are_the_normal_case(lab: Labs) -> None:
    here = lab(knobs(logical=True), knobs(logical=True))
    plan = here.plan()
    assert {"Port-channel 10", "Ve 50", "Vlan 60", "TenGigabitEthernet 1/0/8"} <= set(plan.detail["ports"])
    assert any("all of its 8 ports are down" in text for text in plan.warnings)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("interface Port-channel 10", "Port-channel 10"),
        ("interface TenGigabitEthernet 1/0/8", "TenGigabitEthernet 1/0/8"),
        (" interface Ve 50", "Ve 50"),
    ],
)
def test_a_copy_without_a_block_is_not_whole_and_the_block_is_named(lab: Labs, header: str, name: str) -> None:
    text = lab(knobs(logical=True)).a.shown()
    names = ["Port-channel 10", "Ve 50", "TenGigabitEthernet 1/0/8"]
    assert config.unfinished(text, names) == ""
    assert config.unfinished(text.replace(header + "\n", header + "9\n"), names) == f"it has no block for {name}"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Port-Channel 10", "Port-channel 10"),
        ("po10", "Port-channel 10"),
        ("Ve 4090", "Ve 4090"),
        ("vlan 60", "Vlan 60"),
        ("Loopback 1", "Loopback 1"),
        ("FibreChannel 1/0/1", "FibreChannel 1/0/1"),
        ("Te 1/0/5", "TenGigabitEthernet 1/0/5"),
        ("Tunnel 61441", ""),
    ],
)
def test_what_has_a_block_has_one_name(said: str, name: str) -> None:
    assert parse.block_name(said) == name
    assert parse.physical(name) == name.startswith("Ten")


def test_a_fabric_link_that_is_on_at_both_ends_is_no_case_for_a_new_vcsid(lab: Labs) -> None:
    here = lab(Knobs(reason="ISL DOWN"), Knobs(reason="ISL DOWN"), uplink=TRUNK_OFF)
    here.switches.fabric.isl_fault = True
    found = here.diagnose()["verdict"]
    assert found["kind"] == "isl-on" and not found["fixable"]
    assert "Only trunking is off" in found["words"] and "sw1 and sw2" in found["words"]
    assert found["helps"].startswith("Should these two be one fabric?")
    with pytest.raises(Refused, match="no case for a new vcsid"):
        here.plan()


@pytest.mark.parametrize("side", ["a", "b"])
def test_where_isl_is_off_at_one_end_the_cheap_way_is_named_first(lab: Labs, side: str) -> None:
    here = lab()
    on = here.b if side == "a" else here.a
    on.commission({5: ISL_ON})
    off, port = ("sw1", "1/0/5") if side == "a" else ("sw2", "2/0/5")
    found = here.diagnose()["verdict"]
    cheap = f"on {off}: configure terminal; interface TenGigabitEthernet {port}; fabric isl enable"
    assert found["fixable"] and found["cheaper"].startswith(cheap)
    assert found["helps"].startswith("Should these two be one fabric?")
    assert found["helps"].index(cheap) < found["helps"].index("vcsid of its own")
    with pytest.raises(Refused, match="Should these two be one fabric") as refusal:
        here.plan()
    assert cheap in refusal.value.what_helps and "--two-fabrics" in refusal.value.what_helps
    assert here.plan(two_fabrics=True).confirm == "sw1"


def test_where_isl_is_off_at_both_the_question_is_asked_first_all_the_same(lab: Labs) -> None:
    here = lab()
    assert here.diagnose()["verdict"]["helps"].startswith("Should these two be one fabric?")
    assert any(text.startswith("Should these two be one fabric?") for text in here.plan().warnings)


@pytest.mark.parametrize("trouble", [{"mute_help": True}, {"deny": "show users"}, {"deny": "show startup-config"}])
def test_an_optional_look_that_fails_refuses_nothing(lab: Labs, trouble: dict[str, Any]) -> None:
    here = lab(knobs(**trouble))
    plan = here.plan()
    assert plan.confirm == "sw1" and not any("differ from its startup" in text for text in plan.warnings)


@pytest.mark.parametrize("denied", ["show vcs", "show interface", "show running-config", "configure terminal"])
def test_a_right_that_is_missing_is_named_with_its_command(lab: Labs, denied: str) -> None:
    here = lab(knobs(deny=denied))
    with pytest.raises(Refused, match=r"sw1 does not .*Permission denied") as refusal:
        here.plan()
    assert denied in str(refusal.value) and "role admin" in refusal.value.what_helps


def test_a_release_that_names_no_vcs_mode_is_known_by_its_config_mode(lab: Labs) -> None:
    here = lab(knobs(mode=""))
    assert here.diagnose()["switch"]["mode"] == "fabric-cluster"
    assert here.plan(change="switch").confirm == "sw1"


@pytest.mark.parametrize(
    ("text", "version", "mode"),
    [
        ("Config Mode: Local-Only\nVCS ID : 1\n", "3.0.1", "fabric-cluster"),
        ("Config Mode: Distributed\nVCS ID : 1\n", "5.0.1", "logical-chassis"),
        ("VCS ID : 1\n", "2.1.1", "fabric-cluster"),
        ("VCS ID : 1\n", "7.2.0", "unknown"),
        ("state : Disabled\n", "4.1.3", "disabled"),
    ],
)
def test_the_mode_is_read_in_the_words_of_each_release(text: str, version: str, mode: str) -> None:
    from engines.vdx.line import patterns

    assert parse.mode(text, patterns.load(), version)[0] == mode


def test_a_switch_with_vcs_off_has_a_named_way_on(lab: Labs) -> None:
    here = lab(knobs(vcs_off=True))
    found = here.diagnose()["verdict"]
    assert found["kind"] == "vcs-disabled" and "--method edge-port" in found["helps"]
    with pytest.raises(Refused, match="VCS is switched off on sw1"):
        here.plan()
    assert here.plan(method="edge-port").steps[2].id == "edge"


def test_a_logical_chassis_has_the_per_port_way(lab: Labs) -> None:
    here = lab(knobs(mode="Logical Chassis"), knobs(mode="Logical Chassis"))
    with pytest.raises(Refused) as refusal:
        here.plan()
    assert "--method edge-port" in refusal.value.what_helps
    assert here.plan(method="edge-port").confirm == "sw1"


@pytest.mark.parametrize("given", ["Port-channel 10", "po 10"])
def test_a_port_channel_is_answered_with_its_member_ports(lab: Labs, given: str) -> None:
    with pytest.raises(BadParam, match="member port of Port-channel 10"):
        lab().plan(interface=given)


@pytest.mark.parametrize("name", ["SW2", "sw2.dc1.example.net", "core-switch-b"])
def test_the_mate_is_known_by_its_wwn_whatever_lldp_calls_it(lab: Labs, name: str) -> None:
    here = lab(b=knobs(lldp_name=name), cables=2)
    assert not any("LLDP sees" in note for note in here.diagnose()["notes"])
    with pytest.raises(Refused, match="2 cables"):
        here.plan()


def test_a_mate_that_nothing_tells_is_agreed_to_by_its_name_in_lldp(lab: Labs) -> None:
    here = lab()
    here.switches.fabric.lldp_as = ("who-is-this", "0011.2233.4455")
    with pytest.raises(Refused, match="LLDP sees who-is-this") as refusal:
        here.plan()
    assert "--mate-name who-is-this" in refusal.value.what_helps
    assert here.plan(mate_name="who-is-this").confirm == "sw1"


def test_two_switches_of_one_name_are_told_apart_by_their_addresses(lab: Labs) -> None:
    here = lab(names=("sw0", "sw0"))
    found = here.diagnose()
    a, b = here.switches.address(here.a), here.switches.address(here.b)
    assert f"sw0 ({a})" in found["verdict"]["words"] and f"sw0 ({b})" in found["verdict"]["words"]
    plan = here.plan()
    assert plan.confirm == a
    assert here.plan(change="mate").confirm == b
