"""Layouts and words as they are met in the field: breakout ports, segmented ISLs, pagers, full and locked switches."""

from __future__ import annotations

import pytest

from engines.vdx.line import patterns, screen
from engines.vdx.line.session import ANY_PROMPT
from engines.vdx.line.trouble import HELPS, Trouble, kind_of
from engines.vdx.switch import config, parse

WORDS = patterns.load()
ISLS = """Rbridge-id: 11    #ISLs: 3

 Src          Src             Nbr         Nbr
 Index    Interface          Index     Interface            Nbr-WWN               BW   Trunk  Nbr-Name
------------------------------------------------------------------------------------------------------
    1       Te 11/0/1:2         56       Te 12/0/56     10:00:00:05:33:40:31:93    10G   Yes    "edge12"
    2       Fo 11/0/49           ?       ?/?/?       ??:??:??:??:??:??:??:??   (segmented - incompatible)
    5       Hu 11/0/50:1         4       Hu 21/0/4      10:00:00:05:33:6F:27:57   100G   Yes    "core1"
"""
ISLPORTS = """Name:                       sw0
VCS Id:                     10
WWN:                        10:00:00:05:33:6d:7f:77

 Index  Interface     State  Operational State
===================================================================
   1    Te 11/0/1:2     Down
   2    Fo 11/0/49      Up     ISL segmented,(ESC mismatch, Unrecognized attachment)(Trunk Primary)
   7    Te 11/0/7       Up     ISL (Trunk port, Primary is Te 11/0/5 )
   5    Te 11/0/5       Up     ISL 10:00:00:05:33:00:77:80 "sw9" (upstream)(Trunk Primary)
"""
VCS = """VCS Mode       : Fabric Cluster
VCS ID         : 1
Rbridge-Id       WWN                           Management IP     VCS Status    Fabric Status   HostName
-------------------------------------------------------------------------------------------------------
1                10:00:00:27:F8:1E:3C:8C       10.18.245.143     Offline       Unknown         sw0
2               >10:00:00:27:F8:E3:98:80*      10.18.245.156     Online        Online          leaf-2
                                               fd00::1
238              10:00:00:27:F8:E3:98:81       Unknown           Online        Online
"""
NESTED = """cee-map default
 precedence 1
!
fcoe
 fabric-map default
  vlan 1002
  priority 3
  !
 !
!
interface Vlan 20
!
rbridge-id 1
 ip route 0.0.0.0/0 10.0.0.254
 interface Ve 20
  ip address 10.1.20.1/24
  vrrp-extended-group 20
   virtual-ip 10.1.20.254
  !
  no shutdown
 !
!
interface Port-channel 10
 vlag ignore-split
!
interface TenGigabitEthernet 1/0/1:2
 channel-group 10 mode active type standard
 no shutdown
!
"""


def test_isls_of_breakout_ports_are_read_and_segmented_ones_are_no_peers() -> None:
    assert parse.isl_peers(ISLS) == ["10:00:00:05:33:40:31:93", "10:00:00:05:33:6f:27:57"]
    assert parse.isl_peers(ISLPORTS) == ["10:00:00:05:33:00:77:80"]
    rows = {row.name: row for row in parse.islports(ISLPORTS)}
    assert rows["TenGigabitEthernet 11/0/1:2"].state == "Down"
    assert patterns.fits(WORDS.islport_segmented, rows["FortyGigabitEthernet 11/0/49"].says)


def test_members_with_a_second_address_or_without_a_name_are_read() -> None:
    rows = parse.members(VCS)
    assert [(row.rbridge, row.name, row.here) for row in rows] == [
        (1, "sw0", False),
        (2, "leaf-2", True),
        (238, "", False),
    ]


def test_nested_blocks_go_back_under_their_heads_in_an_order_that_holds() -> None:
    names = ["TenGigabitEthernet 1/0/1:2", "Vlan 20", "Ve 20", "Port-channel 10"]
    assert config.unfinished(NESTED, names) == ""
    typed = config.typed(config.ordered(config.lost(config.blocks(NESTED), {(): []}, WORDS)))
    order = ["interface Vlan 20", "interface Port-channel 10", "interface Ve 20", "channel-group 10 mode active"]
    at = [next(at for at, line in enumerate(typed) if line.startswith(start)) for start in order]
    assert at == sorted(at)
    for head, line in (("fabric-map default", "vlan 1002"), ("vrrp-extended-group 20", "virtual-ip 10.1.20.254")):
        assert typed.index(line) == typed.index(head) + 1
    assert typed.count("exit") == sum(line.split()[0] in OPENING for line in typed)
    assert "TenGigabitEthernet 7/0/1:2" in config.renumbered(NESTED, 1, 7)


OPENING = ("cee-map", "fcoe", "fabric-map", "priority", "interface", "rbridge-id", "vrrp-extended-group")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Te 1/0/1:2", "TenGigabitEthernet 1/0/1:2"),
        ("FortyGig 1/0/49", "FortyGigabitEthernet 1/0/49"),
        ("Hu1/0/50:1", "HundredGigabitEthernet 1/0/50:1"),
        ("Te 1/0/1:5", ""),
        ("Fcoe 1/1/5", ""),
    ],
)
def test_breakout_and_fast_ports_have_one_name(text: str, name: str) -> None:
    assert parse.interface_name(text) == name


@pytest.mark.parametrize(
    "shown",
    [
        "--More--",
        "\x1b[7m--More--\x1b[m",
        "-- MORE --, next page: Space, next line: Enter, quit: Control-C",
        "---(more 12%)---",
        "More: <space>,  Quit: q, One line: <return>",
        "Press <SPACE> to continue or q to quit",
    ],
)
def test_a_pager_is_known_by_any_of_its_prompts(shown: str) -> None:
    cut = screen.cut_more(f"line\r\n{shown}", WORDS)
    assert cut is not None and screen.plain(cut).strip() == "line"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Too many logins for 'admin'.\nConnection to sw1 closed.", "full"),
        ("Maximum number of sessions reached.\nConnection closed by remote host.", "full"),
        ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", "auth"),
        ("Your account has expired; please contact your administrator", "account"),
        ("WARNING: Your password has expired.\nPassword change required but no TTY available.", "account"),
        ("kex_exchange_identification: read: Connection reset by peer", "closed"),
        ("Your account has been locked.\nadmin@sw1: Permission denied (publickey).", "account"),
        ("Account is locked, will be unlocked in 10 minutes\nadmin@sw1: Permission denied (publickey).", "account"),
        ("Your account has been locked. Contact the NOC if this is wrong.\nPermission denied", "account"),
        ("Maximum number of sessions reached, connection will be closed\nConnection closed by sw1", "full"),
        ("Too many logins; try again when one is free\nConnection closed by sw1", "full"),
    ],
)
def test_a_switch_that_is_full_or_an_account_that_is_shut_is_told_as_such(said: str, kind: str) -> None:
    trouble = Trouble("sw1", kind_of(said), said)
    assert trouble.kind == kind and trouble.line == said.splitlines()[0] and trouble.helps() == HELPS[kind]


@pytest.mark.parametrize(
    "greeting",
    [
        "Accounts are locked out after 5 failures",
        "Maximum sessions per user: 4",
        "NOTICE: accounts are locked out for 5 minutes",
        "If your account is locked call the NOC",
        "Too many sessions will be closed",
        "A password expired for 90 days is removed.\n***\nAuthorized use only.\n***",
    ],
)
def test_the_rules_that_a_greeting_tells_are_not_why_a_login_is_refused(greeting: str) -> None:
    assert kind_of(f"{greeting}\n\nadmin@sw1: Permission denied (publickey,password).") == "auth"


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ("ssh: connect to host sw1 port 22: No route to host", "unreachable"),
        ("ssh: connect to host sw1 port 22: Connection refused", "refused"),
        ("channel 0: open failed: connect failed: Connection timed out", "timeout"),
    ],
)
def test_a_greeting_on_the_way_never_hides_that_a_switch_is_not_up(last: str, kind: str) -> None:
    """A wait for a reboot ends where an account is shut: no further try may lock it for longer."""
    for greeting in ("*** Bastion: your account has been locked out 3 times this week ***", "Too many sessions"):
        assert kind_of(f"{greeting}\n{last}") == kind


@pytest.mark.parametrize(
    ("line", "prompt"),
    [("sw>0#", True), ("VDX-6740_a.b#", True), ("admin@sw0> ", True), ("# Authorized use only #", False), ("#", False)],
)
def test_what_is_a_prompt_and_what_a_greeting(line: str, prompt: bool) -> None:
    assert bool(ANY_PROMPT.fullmatch(line)) is prompt
