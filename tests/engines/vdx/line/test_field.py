"""Words, questions and configurations as switches in the field have them: read right, or stopped at."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engines.job.contract import Cancel
from engines.vdx.line import patterns
from engines.vdx.line.screen import cut_more
from engines.vdx.line.session import Armed, Session, Unexpected, complaint, denied, refused
from engines.vdx.line.terminal import Terminal
from engines.vdx.switch import config, parse

WORDS = patterns.load()

CONFIG = """\
class-map cee
class-map default
!
class-map voice
 match access-group voice-in
!
policy-map edge
 class default
  police cir 1000000
 !
 class voice
  police cir 40000
 !
!
fcoe
 fabric-map default
  vlan 1002
  priority 3
  virtual-fabric 128
 !
!
banner login "Property of Example Ltd.
! no entry !
 interface of nobody"
rbridge-id 3
 switch-attributes host-name leaf3
 ip route 0.0.0.0/0 10.1.1.1
 interface Ve 50
  ip address 10.5.0.3/24
  no shutdown
 !
 router bgp
  local-as 65003
  address-family ipv4 unicast
   network 10.5.0.0/24
  !
 !
!
interface Vlan 50
 description 19" rack, row 5
!
interface Port-channel 12
 description 3" pipe
 switchport
 service-policy in edge
 no shutdown
!
interface TenGigabitEthernet 3/0/1
 description "to core \\"a\\""
 fabric isl enable
 fabric trunk enable
 no shutdown
!
interface Fcoe 1/3/1
 no shutdown
!
vcs virtual ip address 10.24.81.101/24
"""
TE = "TenGigabitEthernet 2/0/1"
PORTS = ["Vlan 50", "Port-channel 12", "TenGigabitEthernet 3/0/1", "Ve 50"]


def test_a_configuration_of_many_kinds_is_whole_and_typed_back_block_by_block() -> None:
    assert config.unfinished(CONFIG, PORTS) == ""
    found = config.blocks(CONFIG)
    assert found[("policy-map edge", "class voice")] == ["police cir 40000"]
    assert found[("fcoe", "fabric-map default")] == ["vlan 1002", "priority 3", "virtual-fabric 128"]
    assert found[("rbridge-id 3", "router bgp", "address-family ipv4 unicast")] == ["network 10.5.0.0/24"]
    assert found[("interface Port-channel 12",)][0] == 'description 3" pipe'
    lost = config.ordered(config.lost(found, {}, WORDS))
    assert {path for path, _ in lost} == set(found)
    typed = config.typed([entry for entry in lost if config.typable(entry)])
    assert typed.index("class-map voice") < typed.index("policy-map edge")
    assert typed.index("interface Vlan 50") < typed.index("interface Ve 50")
    assert typed.index("interface Port-channel 12") < typed.index("interface TenGigabitEthernet 3/0/1")
    assert "vcs virtual ip address 10.24.81.101/24" in typed


@pytest.mark.parametrize(
    "header",
    ["interface Fcoe 1/3/1", "rbridge-id 3", "policy-map edge", "class-map voice", "fcoe", "interface Vlan 50"],
)
def test_a_copy_that_ends_with_the_head_of_a_block_is_not_whole(header: str) -> None:
    cut = CONFIG[: CONFIG.index(header + "\n") + len(header) + 1]
    assert "ends with the head of a block" in config.unfinished(cut, [])


@pytest.mark.parametrize("block", ["ntp server 10.1.1.1\n use-vrf mgmt-vrf\n!\n", "ntp server 10.1.1.1\n!\n"])
def test_a_flat_last_line_is_whole_though_others_like_it_open_a_block(block: str) -> None:
    assert config.unfinished(CONFIG + block + "ntp server 10.2.2.2\n", PORTS) == ""


def test_a_copy_that_ends_inside_a_block_is_not_whole() -> None:
    lines = CONFIG.splitlines()
    inside = [at for at, line in enumerate(lines) if line.startswith(" ") and not line.startswith(" interface of")]
    for at in inside:
        assert config.unfinished("\n".join(lines[: at + 1]) + "\n", []) != ""


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("vcs virtual ip address 10.1.1.1/24", True),
        ("vcs virtual ipv6 address 2001:db8::1/64", True),
        ("vcs config snapshot one", True),
        ("vcs vcsid 5", False),
        ("vcs rbridge-id 7", False),
        ("no vcs enable", False),
        ("vcs logical-chassis enable", False),
    ],
)
def test_of_vcs_lines_only_ids_and_modes_stay_away(line: str, kept: bool) -> None:
    assert bool(config.lost(config.blocks(line + "\n"), {}, WORDS)) == kept


@pytest.mark.parametrize(
    "line",
    [
        "%%Error:NSM: x",
        "Error(s): foo",
        "ERROR : RBAC",
        "command not found",
        "This command is not supported on this platform",
        "% No such command",
        "failed to set the value",
    ],
)
def test_refusals_in_other_words_are_refusals(line: str) -> None:
    assert refused(line, WORDS)


@pytest.mark.parametrize("line", ["Copy failed: flash full", "Permission denied", "Timed out", "You are not permitted"])
def test_a_short_answer_that_means_no_is_a_complaint(line: str) -> None:
    assert complaint(line, WORDS) == line
    assert complaint("Building configuration...\n", WORDS) == ""


@pytest.mark.parametrize(
    "line", ["You do not have access", "RBAC: no", "You are not permitted to do this", "Not enough privileges"]
)
def test_a_missing_right_is_known_in_other_words(line: str) -> None:
    assert denied(line, WORDS)


@pytest.mark.parametrize("prompt", ["User ID:", "User name (admin): ", "Account: ", "Name:", "leaf3 login: ", "Logon:"])
def test_a_console_that_asks_who_is_answered(prompt: str) -> None:
    assert patterns.fits(WORDS.console_login, prompt)


@pytest.mark.parametrize("prompt", ["Enter password: ", "Passcode:", "(admin) Password:", "Password for user admin:"])
def test_a_console_that_asks_for_the_password_is_answered(prompt: str) -> None:
    assert patterns.fits(WORDS.console_password, prompt)


@pytest.mark.parametrize("text", ["Last login: ", "New password: ", "Old password:"])
def test_what_asks_for_something_else_is_not_answered(text: str) -> None:
    assert not patterns.fits(WORDS.console_login, text)
    assert not patterns.fits(WORDS.console_password, text)


@pytest.mark.parametrize(
    "pager",
    ["--More--(12%)", "---- More ----", "-- MORE --, next page: Space, quit: Control-C", "\x1b[7m--More-- \x1b[27m"],
)
def test_pagers_of_other_looks_are_turned(pager: str) -> None:
    assert cut_more("line\n" + pager, WORDS) is not None
    assert cut_more(' description "--More--', WORDS) is None


def test_a_log_line_behind_a_pager_does_not_hide_it() -> None:
    """The switch waits for a key all the same."""
    log = "\r\n2017/04/25-20:49:21, [SEC-1203], 7, SW/0 | Active, INFO, sw1, Login information: via SSH. \r\n"
    assert cut_more("line one\r\n\x1b[7m--More--\x1b[27m" + log + log, WORDS) == "line one\r\n\x1b[7m"
    assert cut_more("line one\r\n" + log, WORDS) is None
    assert cut_more("line one\r\n--More--\r\nline two\r\n" + log, WORDS) is None


@pytest.mark.parametrize(
    ("detail", "system", "remote"),
    [
        ("Remote Interface: Te 2/0/1 (Remote MAC: 1)\nSystem Name: core switch 7\n", "core switch 7", TE),
        ('Remote Interface: Eth1/1\nSystem Name: "leaf7"\n', "leaf7", "Eth1/1"),
        ("Remote Interface: Eth1/1\nSystem Name:\nManagement Address: 10.1.1.1\n", "", "Eth1/1"),
        ("Remote Interface:\nSystem Name: leaf7\n", "leaf7", ""),
    ],
)  # fmt: skip
def test_a_neighbour_is_what_stands_on_its_own_line(detail: str, system: str, remote: str) -> None:
    (found,) = parse.neighbours(f"Local Interface: Te 1/0/5 (Local Interface MAC: 1)\n{detail}Chassis ID: 0005.33a1\n")
    assert (found.system, found.remote, found.chassis) == (system, remote, "0005.33a1")


def test_a_description_that_reads_like_an_error_hides_no_port() -> None:
    text = "interface TenGigabitEthernet 1/0/5\n description unknown command, invalid input\n no fabric isl enable\n!\n"
    assert parse.switched(config.port_lines(text, "TenGigabitEthernet 1/0/5"), "isl") == "off"


SWITCH = """
import sys
def line():
    got = ""
    while (key := sys.stdin.read(1)) not in "\\r\\n\\x03":
        got += key
        print(key, end="", flush=True)
    print("\\r\\n", end="")
    return "" if key == "\\x03" else got
while True:
    print("sw1# ", end="", flush=True)
    if line():
        print(sys.argv[1], end="", flush=True)
        line()
"""


@contextmanager
def talking(answer: str) -> Iterator[Session]:
    """A command line that asks `answer` after every command, and waits; Ctrl-C brings the prompt back."""
    argv = [sys.executable, "-c", SWITCH, answer]
    terminal = Terminal(argv, None, WORDS, Cancel(), echo=False)
    session = Session(terminal, None, WORDS, "console")
    try:
        session.learn(60.0)
        yield session
    finally:
        session.close()


@pytest.mark.parametrize(
    "words", ["Press ENTER to go on", "Enter y or n", "Proceed (yes or no)?", "Type the host name"]
)
def test_a_question_of_unknown_form_is_shown_and_stopped_at(words: str) -> None:
    never = Armed(("reboot",), lambda question: pytest.fail(question), unfinished=1.0)
    with talking(words) as session, pytest.raises(Unexpected) as asked:
        session.run("vcs vcsid 2", armed=never, leaving=True, seconds=120.0)
    assert words in asked.value.question
    assert asked.value.answered == "Ctrl-C"


def test_the_going_down_of_a_switch_is_read_in_many_words() -> None:
    going = ["The switch is going for reboot", "System is going for a reload.", "going down for reboot NOW!"]
    asks = ["[yes,no]: ", "[y,n]:", "(Y/N)? "]
    assert all(patterns.fits(WORDS.going_down, text) for text in going)
    kinds = [bool(patterns.fits(WORDS.confirm_yes, text)) for text in asks]
    assert kinds == [True, False, False]
    assert all(patterns.fits(WORDS.confirm_y, text) for text in asks[1:])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Up Time : up 11 days,  2:15,  1 user", 958500),
        ("up time is 3 days 01:02:03", 262923),
        ("Uptime: 1 year", 31536000),
    ],
)
def test_time_up_in_other_forms(text: str, seconds: int) -> None:
    assert parse.uptime(text, WORDS) == seconds


def test_no_two_names_of_interfaces_are_mixed_up() -> None:
    kinds = ["Gi", "Te", "Fo", "Hu", "Po", "Ve", "Vlan"]
    names = [parse.block_name(f"{kind} 1/0/1" if kind in kinds[:4] else f"{kind} 1") for kind in kinds]
    assert all(one != other for one, other in itertools.combinations(names, 2))
