"""What switches say, read by label: public samples, recalled layouts, and anything at all."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.rehearsal.switches import config as theirs
from engines.rehearsal.switches import factory
from engines.vdx.line import patterns, screen
from engines.vdx.line.session import ANY_PROMPT, denied, refused
from engines.vdx.line.transcript import LONGEST, MOST, Transcript
from engines.vdx.line.trouble import Trouble, kind_of
from engines.vdx.switch import config, parse
from tests.fuzz.mutation import with_an_end

SAMPLES = Path(__file__).parent / "samples"
WORDS = patterns.load()
TEXT = st.text(st.characters(codec="utf-8"), max_size=400)
LINE = st.text(string.ascii_letters + string.digits + ' #-./:,"', min_size=1, max_size=60)


def sample(name: str) -> str:
    return (SAMPLES / name).read_text()


def test_the_port_state_of_a_real_nos_7_0_is_read() -> None:
    (port,) = parse.ports(sample("nos70_show_interface_and_prompts.txt"))
    assert (port.name, port.state, port.line) == ("TenGigabitEthernet 19/0/1", "up", "down")
    assert port.reason == "link protocol down" and not port.up
    assert patterns.fits(WORDS.reason_no_light, port.reason)


def test_the_version_of_a_real_nos_7_2_is_read() -> None:
    assert patterns.value(WORDS.nos_version, sample("nos72_show_version.txt")) == "7.2.0"


def test_real_port_configurations_are_read() -> None:
    text = sample("show_running_config_interface.txt")
    for name in ("TenGigabitEthernet 135/0/10", "TenGigabitEthernet 3/0/1"):
        lines = config.port_lines(text, name)
        assert parse.switched(lines, "isl") == parse.switched(lines, "trunk") == "on"


def test_prompts_and_errors_that_other_clients_know_are_known() -> None:
    for prompt in ("sw0# ", "sw0(config)# ", "VDX1(conf-if-te-1/0/5)# ", "sw-1.lab>", "sw0(config-rbridge-id-1)# "):
        assert ANY_PROMPT.fullmatch(prompt)
    for text in (
        "%Error: no",
        "% Error",
        "-----^\nsyntax error: unknown argument.",
        "vlan 5 overlaps\n% 1 overlaps with 2",
    ):
        assert refused(text, WORDS)
    assert not refused("Informational: saved\nsw0 is fine", WORDS)
    assert screen.plain("\x1b[?7hsw0# ") == "sw0# "


def test_the_public_pager_is_recognised_and_leaves_nothing_behind() -> None:
    raw = "line one\r\n\x1b[7m--More--\x1b[27m"
    cut = screen.cut_more(raw, WORDS)
    assert cut is not None
    assert screen.plain(cut + "\r        \rline two\r\n") == "line one\nline two\n"
    assert screen.plain(cut + "\x08 \x08" * 8 + "line two\r\n") == "line one\nline two\n"
    assert screen.cut_more("a line with --More-- in it\r\n", WORDS) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Te 1/0/5", "TenGigabitEthernet 1/0/5"),
        ("te1/0/5", "TenGigabitEthernet 1/0/5"),
        ("tengigabitethernet 239/0/48:4", "TenGigabitEthernet 239/0/48:4"),
        ("Fo 2/0/49", "FortyGigabitEthernet 2/0/49"),
        ("Tennis 1/0/5", ""),
        ("te 1/0/5 te 1/0/6", ""),
        ("", ""),
    ],
)
def test_a_port_has_one_name_in_all_its_spellings(text: str, name: str) -> None:
    assert parse.interface_name(text) == name


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("up 2 days, 3:04", 183840), ("up 5 min", 300), ("1 week 2 days 1:02:03", 781323), ("since Tuesday", None)],
)
def test_time_up_is_read_in_the_forms_known_and_else_left_alone(said: str, seconds: int | None) -> None:
    assert parse.uptime(f"Up Time     : {said}\n", WORDS) == seconds


@pytest.mark.parametrize("name", ["Te 1/0/5", "Te  1/0/5", "TenGigabitEthernet1/0/5", "Te 1/0/5(Local MAC: 0005.3378)"])
def test_a_neighbour_is_found_behind_a_port_in_all_its_spellings(name: str) -> None:
    (seen,) = parse.neighbours(f"Local Interface: {name}\nRemote Interface: Te 2/0/6\nSystem Name: sw2\n")
    assert (seen.local, seen.remote) == ("TenGigabitEthernet 1/0/5", "TenGigabitEthernet 2/0/6")


def test_what_a_technician_described_denies_nothing() -> None:
    block = "interface TenGigabitEthernet 1/0/5\n description no access, reserved for RBAC\n no shutdown\n!\n"
    assert denied(block, WORDS) == ""
    assert denied("Error: no access", WORDS) == "Error: no access"


@given(TEXT)
def test_no_answer_whatever_breaks_a_parser(text: str) -> None:
    parse.ports(text)
    parse.members(text)
    parse.neighbours(text)
    parse.islports(text)
    parse.isl_peers(text)
    parse.spanning_port_channels(text, 1)
    parse.other_sessions(text)
    parse.uptime(text, WORDS)
    parse.mode(text, WORDS)
    config.unfinished(config.tidy(text), ["TenGigabitEthernet 1/0/1"])
    screen.plain(text)
    screen.without_noise(text, WORDS)
    refused(text, WORDS)
    kind_of(text)
    assert Trouble("x", "negotiate", text).helps()


@given(st.lists(LINE, max_size=20), st.integers(1, 40))
def test_cutting_the_stream_into_pieces_changes_nothing(lines: list[str], size: int) -> None:
    raw = "".join(f"\x1b[7m{line}\x1b[0m\r\n" for line in lines)
    whole = screen.plain(raw)
    assert whole == "".join(f"{line}\n" if line.strip() or "\r" not in line else "\n" for line in lines)
    for at in range(0, len(raw), size):
        assert whole.startswith(screen.plain(raw[:at]).rstrip("\n\r "))


@given(TEXT)
def test_a_reason_that_is_not_known_is_kept_as_it_was_said(reason: str) -> None:
    said = "".join(char for char in reason if char not in ")\n\r" and char.isprintable()).strip()
    (port,) = parse.ports(f"TenGigabitEthernet 1/0/5 is up, line protocol is down ({said})\n")
    assert port.reason == said


@given(
    st.lists(
        st.sampled_from(["mtu 9216", "switchport", "no shutdown", "fabric isl enable", "description a"]), unique=True
    )
)
def test_what_is_lost_and_put_back_gives_the_copy_again(lines: list[str]) -> None:
    default = factory.default(1, "10.0.0.1", "h")
    before = factory.commissioned("sw1", 1, "10.0.0.1", "h", {5: lines})
    old, new = (config.blocks("\n".join(theirs.show(tree)) + "\n") for tree in (before, default))
    now = {path: list(have) for path, have in new.items()}
    for path, line in config.ordered(config.lost(old, new, WORDS)):
        block = now.setdefault(path, [])
        if line:
            block.append(line)
    assert config.lost(old, now, WORDS) == []
    assert config.differences(old, old) == []


@given(
    st.lists(
        LINE.filter(lambda line: line.strip() == line and not line.startswith("!") and '"' not in line), max_size=12
    )
)
def test_a_configuration_cut_inside_a_block_is_never_proven(lines: list[str]) -> None:
    text = "interface TenGigabitEthernet 1/0/1\n" + "".join(f" {line}\n" for line in lines) + "!\nvlan 1\n!\n"
    assert config.unfinished(text, ["TenGigabitEthernet 1/0/1"]) == ""
    for at in range(1, len(lines) + 1):
        cut = "\n".join(text.splitlines()[: 1 + at]) + "\n"
        assert config.unfinished(cut, ["TenGigabitEthernet 1/0/1"])


def test_restored_lines_go_back_in_an_order_that_keeps_the_way_in() -> None:
    before = config.blocks(
        "\n".join(theirs.show(factory.commissioned("sw1", 1, "10.0.0.1", "h", {5: factory.UPLINK}))) + "\n"
    )
    order = config.ordered(config.lost(before, {(): []}, WORDS))
    assert order[0][0] == ("interface Management 1/0",)
    assert order[-1][1].startswith("username admin")
    ports = [line for path, line in order if path == ("interface TenGigabitEthernet 1/0/5",)]
    assert ports[-1] == "no shutdown"


def test_a_line_that_would_call_the_help_is_never_typed() -> None:
    assert not config.typable(((), "description who?"))
    assert not config.typable((("banner",), 'motd "a\nb"'))
    assert config.typable(((), "description who"))


def test_a_configuration_follows_its_rbridge_id() -> None:
    text = "rbridge-id 2\n switch-attributes host-name sw2\n!\ninterface TenGigabitEthernet 2/0/5\n!\n"
    text += "interface Vlan 2\n!\n"
    assert config.renumbered(text, 2, 7).splitlines()[0] == "rbridge-id 7"
    assert "TenGigabitEthernet 7/0/5" in config.renumbered(text, 2, 7) and "Vlan 2" in config.renumbered(text, 2, 7)


def test_a_transcript_has_an_end_and_a_line_of_it_too(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.log")
    for _ in range(3):
        transcript.write("x" * (LONGEST * 2))
    transcript.write("\nnext\n")
    assert (tmp_path / "t.log").stat().st_size < 2 * LONGEST and "next" in (tmp_path / "t.log").read_text()
    os.truncate(tmp_path / "t.log", MOST - 100)
    transcript.close()
    transcript = Transcript(tmp_path / "t.log")
    for _ in range(1000):
        transcript.write("a line\n")
    transcript.close()
    assert MOST - 100 < (tmp_path / "t.log").stat().st_size < MOST + 100


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ssh: connect to host x port 22: Connection refused", "refused"),
        ("ssh: connect to host x port 22: Connection timed out", "timeout"),
        ("ssh: Could not resolve hostname x: Name or service not known", "unresolved"),
        ("ssh: connect to host x port 22: No route to host", "unreachable"),
        ("kex_exchange_identification: Connection closed by remote host", "closed"),
        ("Unable to negotiate with x port 22: no matching cipher found. Their offer: aes128-cbc,3des-cbc", "negotiate"),
        ("Bad server host key: Invalid key length", "key"),
        ("admin@x: Permission denied (password).", "auth"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.", "hostkey"),
    ],
)
def test_what_ssh_says_is_understood(said: str, kind: str) -> None:
    trouble = Trouble("x", kind_of(said), said)
    assert trouble.kind == kind and trouble.helps() and trouble.line
    if kind == "negotiate":
        assert trouble.offer == ("Ciphers", ("aes128-cbc", "3des-cbc"))


def test_an_answer_made_to_do_harm_is_read_in_one_pass() -> None:
    """Two megabytes each; a regular expression that went over all that follows, from each place on, hears no INT."""
    with with_an_end():
        for made in ("\n", "--More--", " ", "a", "x "):
            text = made * (2_000_000 // len(made))
            assert not parse.isl_peers(text) and not parse.neighbours(text) and not parse.ports(text)
        blanks = " " * 1_000_000
        row = f"local interface: Te 1/0/1\nremote interface: Te 2/0/2{blanks}x\nsystem name: a{blanks}b\n"
        assert len(parse.neighbours(row)) == 1
        assert parse.islports(f" 1 Te 1/0/1 up a{blanks}b{blanks}\n")[0].says == f"a{blanks}b"


def test_a_number_that_is_none_or_has_no_end_is_no_fault() -> None:
    for number in ("9" * 5000, "\u00b2"):
        wwn = "10:00:00:05:33:12:34:56"
        assert parse.members(f"{number} {wwn} sw1") == []
        assert parse.spanning_port_channels(f"Port-channel 1\n rbridge-id: {number}\n rbridge-id: 2", None) == []
        parse.uptime(f"up {number} days", patterns.load())
        parse.number((r"^a: (\S+)$",), f"a: {number}")
