"""The verdict on ends as they are met, without a switch: which cause, whether a fix is offered, what is asked first."""

from __future__ import annotations

from typing import Any

import pytest

from engines.vdx.judging.neighbour import same_switch
from engines.vdx.judging.verdict import judge
from engines.vdx.line import patterns
from engines.vdx.switch.look import End
from engines.vdx.switch.parse import IslPort, Member, Neighbour, Port, members
from engines.vdx.switch.parse import port as found_port

WORDS = patterns.load()
NAME = "TenGigabitEthernet 1/0/5"
OFF: dict[str, Any] = {"isl": "off", "trunk": "off", "config": ["no fabric isl enable"]}
ON: dict[str, Any] = {"isl": "on", "trunk": "on", "config": ["fabric isl enable", "fabric trunk enable"]}
BARE: dict[str, Any] = {**ON, "trunk": "off"}


def port(state: str, line: str, reason: str) -> Port:
    return Port(name=NAME, state=state, line=line, reason=reason, raw=f"{NAME} is {state}, line protocol is {line}")


def end(name: str, **more: Any) -> End:
    given: dict[str, Any] = {
        "address": "10.0.0.1", "hostname": name, "label": name, "version": "7.2.0", "mode": "fabric-cluster",
        "mode_words": "Fabric Cluster", "vcsid": 1, "rbridge": 1, "members": [], "interface": NAME,
        "port": port("up", "down", "ISL DOWN"), "neighbours": [], "islport": None, "isl_peers": [], "weak": (),
        "raw": {},
    }  # fmt: skip
    return End(**(given | OFF | more))


@pytest.mark.parametrize(
    ("a", "b", "kind", "words"),
    [
        (OFF, OFF, "same-vcsid-isl-off", "sw1 and sw2"),
        (OFF, ON, "same-vcsid-isl-off", "only at sw1"),
        (ON, OFF, "same-vcsid-isl-off", "only at sw2"),
        (BARE, BARE, "isl-on", "Only trunking is off"),
        (BARE, ON, "isl-on", "Only trunking is off (no fabric trunk, at sw1)"),
        (ON, ON, "isl-on", "no case for a new vcsid"),
        ({"port": port("up", "down", "ISL disabled")}, OFF, "same-vcsid-isl-off", "sw1 and sw2"),
        ({"port": port("admin down", "down", "")}, OFF, "admin-down", "of sw1"),
        ({"port": port("down", "down", ""), "config": ["shutdown"]}, OFF, "admin-down", "of sw1"),
        (OFF, {"port": port("up", "down", "link protocol down")}, "no-light", "of sw2"),
        ({"port": port("up", "down", "")}, OFF, "not-understood", "sw1"),
        (OFF, {"vcsid": 2}, "different-vcsid", "sw1 1, sw2 2"),
        (OFF, {"vcsid": None}, "not-understood", "sw2"),
        ({"mode": "disabled", "vcsid": None}, OFF, "vcs-disabled", "sw1"),
        ({"port": None}, OFF, "no-such-port", "sw1"),
    ],
)
def test_each_pair_of_ends_has_its_verdict(a: dict[str, Any], b: dict[str, Any], kind: str, words: str) -> None:
    found = judge(end("sw1", **a), end("sw2", **b), WORDS)
    assert found.kind == kind
    assert words in found.words
    assert found.fixable == (kind == "same-vcsid-isl-off")
    if kind in ("same-vcsid-isl-off", "isl-on"):
        assert found.helps.startswith("Should these two be one fabric?")
    assert bool(found.cheaper) == ("only at" in words)


def test_a_segmented_link_is_told_though_its_line_is_up() -> None:
    row = IslPort(name=NAME, state="Up", says="ISL segmented,(RBridge ID Overlap)(Trunk Primary)")
    up = {"port": port("up", "up", "connected"), **ON}
    assert judge(end("sw1", **up, islport=row), end("sw2", **up), WORDS).kind == "segmented"
    assert judge(end("sw1", **up), end("sw2", **up), WORDS).kind == "up"


HERE = [Member(rbridge=1, wwn="10:00:00:27:f8:00:01:01", name="sw1", here=True, principal=True)]


@pytest.mark.parametrize(
    ("seen", "here", "same"),
    [
        ({"system": "SW1.lab.local"}, {}, True),
        ({"system": "sw1"}, {"hostname": "sw1.lab.local"}, True),
        ({"system": "sw1."}, {}, True),
        ({"system": "core switch 7"}, {"name_in_lldp": "core switch 7"}, True),
        ({"system": "x", "chassis": "0027.f800.0101"}, {"members": HERE}, True),
        ({"system": "x", "chassis": "00:27:F8:00:01:01"}, {"members": HERE}, True),
        ({"system": "x", "address": "10.0.0.1"}, {}, True),
        ({"system": "sw1.a.example"}, {"hostname": "sw1.b.example"}, None),
        ({"system": "sw10"}, {}, None),
        ({"system": ""}, {}, None),
        ({"system": "sw0", "chassis": "0027.f800.0999"}, {"hostname": "sw0", "members": HERE}, None),
        ({"system": "sw0", "chassis": "0027.f800.0101"}, {"hostname": "sw0", "members": HERE}, True),
        ({"system": "sw0", "address": "10.0.0.1"}, {"hostname": "sw0", "members": HERE}, True),
        ({"system": "sw0"}, {"hostname": "sw0", "members": HERE}, True),
        ({"system": "sw1", "chassis": "0027.f800.0999"}, {"label": "sw1 (10.0.0.1)", "members": HERE}, None),
        ({"system": "sw1", "chassis": "0027.f800.0999"}, {"members": HERE}, True),
    ],
)
def test_the_mate_is_known_by_name_wwn_or_address(
    seen: dict[str, str], here: dict[str, Any], same: bool | None
) -> None:
    given = {"local": NAME, "remote": NAME, **seen}
    here = {"hostname": "sw1", "label": here.get("hostname", "sw1")} | here
    assert same_switch(Neighbour(**given), end("sw1", **here)) is same


THERE = [Member(rbridge=2, wwn="10:00:00:27:f8:00:02:02", name="sw2", here=True, principal=False)]
OTHER = [Member(rbridge=2, wwn="10:00:00:27:f8:00:02:02", name="sw2", here=False, principal=False)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"members": HERE + OTHER}, {"members": THERE}),
        ({"members": HERE, "isl_peers": [THERE[0].wwn]}, {"members": THERE}),
        ({"members": HERE}, {"members": THERE, "isl_peers": [HERE[0].wwn]}),
        ({"members": HERE + OTHER, **ON}, {"members": THERE}),
    ],
)
def test_two_that_are_one_fabric_by_another_cable_need_no_new_vcsid(a: dict[str, Any], b: dict[str, Any]) -> None:
    found = judge(end("sw1", **a), end("sw2", **b), WORDS)
    assert (found.kind, found.fixable) == ("one-fabric", False)
    assert "fabric isl enable" in found.helps and "sw2" in found.helps


ROWS = """Rbridge-Id       WWN                            Management IP   VCS Status  Fabric Status        HostName
1              >10:00:00:27:F8:00:01:01*        10.0.0.1        Online      Online               unknown
2               10:00:00:27:F8:00:02:02         10.0.0.2        Offline     Unknown              sw2
"""


def test_a_row_without_a_host_name_has_its_status() -> None:
    (member,) = members("2 10:00:00:27:F8:00:02:02 10.0.0.2 Offline\n")
    assert (member.online, member.name) == (False, "")


def test_a_member_that_is_offline_is_told_as_not_reached() -> None:
    found = members(ROWS)
    assert [(one.online, one.here) for one in found] == [(True, True), (False, False)]
    told = judge(end("sw1", members=found), end("sw2", members=THERE), WORDS)
    assert told.kind == "one-fabric" and "do not reach each other now" in told.words
    assert "take the cable out" not in told.helps and not told.fixable


def test_a_mate_that_is_the_switch_itself_is_told() -> None:
    found = judge(end("sw1", members=HERE), end("sw1", members=HERE), WORDS)
    assert (found.kind, found.fixable) == ("same-switch", False)


def test_a_port_is_read_by_its_own_name_whatever_else_an_answer_holds() -> None:
    def said(*names: str) -> str:
        return "".join(f"TenGigabitEthernet {name} is up, line protocol is down (ISL DOWN)\n" for name in names)

    assert [
        port and port.name for port in (found_port(said("1/0/9", "1/0/5"), NAME), found_port(said("0/5"), NAME))
    ] == [
        NAME,
        "TenGigabitEthernet 0/5",
    ]
    assert found_port(said("1/0/8", "1/0/9"), NAME) is None
