"""fleet.yaml is typed: what it says is there, and every mistake is one line with key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.fleet.config.load import Mistakes, load, parsed
from engines.fleet.config.model import ByLvm, Fleet, Keep, Match, kept
from engines.job.errors import Refused

GOOD = r"""
hosts: {hv1: {ssh: root@hv1, slots: 2, find: [libvirt, {lvm: '^(?P<vm>vm-\d+)-(?P<disk>.+)$'}], zone: Europe/Amsterdam}}
repositories: {off1: {url: 's3://vault/ams', slots: 4, uplink: wan},
  off2: {url: 'sftp://b@far/srv/r', slots: 6, uplink: wan}}
uplinks: {wan: {slots: 8, limit: ['07:00-22:00 30M', 'else none']}}
policies: {gold: {every: day, window: '22:00-06:00', spread: hash, to: [off1, off2],
  keep: {daily: 14, weekly: 8, monthly: 12}, late: 36h, prove: month, lock: 30d, retries: 3}, silver: {to: [off1]}}
guests: [{match: {metadata: gold}}, {match: {name: 'db*'}, policy: gold, agent: true}, {match: all, policy: silver},
  {skip: 'tmp-*', why: scratch}]
alerts: [{match: {severity: [failed, late, uncovered]}, to: {apprise_file: /etc/crashcart/ops.url}, quiet: 4h},
  {ping_file: /etc/crashcart/healthcheck.url}]
"""
BAD = {
    "hosts: {hv1: {ssh: nope nope, slots: 2}}": "hosts.hv1.ssh is 'nope nope', allowed is USER@HOST,",
    "hosts: {hv1: {ssh: a@b, slot: 2}}": "hosts.hv1.slot is unknown, allowed are ssh, slots, find",
    "hosts: {hv1: {slots: 2}}": "hosts.hv1.ssh is nothing, allowed is USER@HOST,",
    "hosts: {hv1: {ssh: a@b, slots: 0}}": "hosts.hv1.slots is 0, allowed is a whole number from 1 to 1000",
    "hosts: {hv1: {ssh: a@b, slots: '2'}}": "hosts.hv1.slots is '2', allowed is a whole number",
    "hosts: {hv1: {ssh: a@b, find: [libvrt]}}": "hosts.hv1.find[1] is 'libvrt', allowed is libvirt or keys: lvm",
    "hosts: {hv1: {ssh: a@b, find: [{lvm: '(?P<vm>x'}]}}": "hosts.hv1.find[1].lvm is '(?P<vm>x', allowed is a regular",
    "hosts: {hv1: {ssh: a@b, find: [{lvm: 'x'}]}}": "hosts.hv1.find[1].lvm is 'x', allowed is a regular expression",
    "hosts: {'a b': {ssh: a@b}}": "a name in hosts is 'a b', allowed is a name of letters",
    "hosts: [hv1]": "hosts is ['hv1'], allowed is names, each with its keys",
    "hosts: {hv1: 3}": "hosts.hv1 is 3, allowed is keys: ssh, slots",
    "policies: {gold: {to: [off1], every: dai}}": "policies.gold.every is 'dai', allowed is hour, day, week, month",
    "policies: {gold: {to: [off1], every: 36h}}": "policies.gold.every is '36h', allowed is hour, day, week, month, or",
    "policies: {gold: {to: [off1], prove: 30h}}": "policies.gold.prove is '30h', allowed is hour, day, week, month, or",
    "policies: {gold: {to: [off1], every: 12h, window: '22:00-06:00'}}": "policies.gold.every is '12h', allowed is up",
    "hosts: {hv1: {ssh: a@b, zone: ams}}": "hosts.hv1.zone is 'ams', allowed is a name such as Europe/Berlin",
    "policies: {gold: {to: [off1], window: '22-06'}}": "policies.gold.window is '22-06', allowed is like 22:00-06:00",
    "policies: {gold: {to: [off1], spread: hsh}}": "policies.gold.spread is 'hsh', allowed is hash, none",
    "policies: {gold: {to: [off9]}}": "policies.gold.to is 'off9', allowed is one of off1",
    "policies: {gold: {to: []}}": "policies.gold.to is nothing, allowed is a list of off1",
    "policies: {gold: {to: [off1], keep: {daily: -1}}}": "policies.gold.keep.daily is -1, allowed is a whole number",
    "policies: {gold: {to: [off1], limit: fast}}": "policies.gold.limit is 'fast', allowed is",
    "repositories: {off1: {url: ftp://x}}": "repositories.off1.url is 'ftp://x', allowed is a folder, sftp://",
    "repositories: {off1: {url: /r, uplink: wan}}": "repositories.off1.uplink is 'wan', allowed is one of none, since",
    "repositories: {off1: {url: /r, host: hv9}}": "repositories.off1.host is 'hv9', allowed is one of hv1",
    "repositories: {off1: {url: /r, host: hv1}}\nlease: off1": "lease is 'off1', allowed is a repository without host",
    "uplinks: {wan: {limit: [fast]}}": "uplinks.wan.limit is ['fast'], allowed is a list like",
    "guests: [{match: al, policy: gold}]": "guests[1].match is 'al', allowed is all or keys: metadata",
    "guests: [{match: {metadat: gold}}]": "guests[1].match.metadat is unknown, allowed are metadata, name",
    "guests: [{match: {}, policy: gold}]": "guests[1].match is nothing, allowed is all, or one or more of",
    "guests: [{match: all}]": "guests[1].policy is nothing, allowed is one of gold",
    "guests: [{match: {metadata: lead}}]": "guests[1].match.metadata is 'lead', allowed is one of gold",
    "guests: [{match: all, policy: lead}]": "guests[1].policy is 'lead', allowed is one of gold",
    "guests: [{skip: 'tmp-*'}]": "guests[1].why is nothing, allowed is why tmp-* is not backed up",
    "guests: [{skip: 'tmp-*', why: x, match: all}]": "guests[1] is neither or both, allowed is one of match, skip",
    "guests: {}": "guests is {}, allowed is a list",
    "alerts: [{quiet: 4h}]": "alerts[1] is neither or both, allowed is one of to, ping_file",
    "alerts: [{to: {apprise_file: /x}, match: {severity: [loud]}}]": "alerts[1].match.severity is ['loud'], allowed is",
    "zone: Mars/Olympus": "zone is 'Mars/Olympus', allowed is a name such as Europe/Berlin",
    "nights: 3": "nights is unknown, allowed are hosts, repositories",
    "hosts: {}": "hosts is nothing, allowed is names, each with its keys",
    "repositories: {}": "repositories is nothing, allowed is names, each with its keys",
    "hosts: {hv1: {ssh: 'a@b:99999'}}": "hosts.hv1.ssh is 'a@b:99999', allowed is USER@HOST, USER@HOST:PORT or local",
    "hosts: {hv1: {ssh: a@-b}}": "hosts.hv1.ssh is 'a@-b', allowed is USER@HOST",
    'hosts: {hv1: {ssh: "a@b\\n"}}': "hosts.hv1.ssh is 'a@b\\n', allowed is USER@HOST",
    'hosts: {"hv1\\n": {ssh: a@b}}': "a name in hosts is 'hv1\\n', allowed is a name of letters",
    "hosts: {hv1: {ssh: a@b, key: keys/hv1}}": "hosts.hv1.key is 'keys/hv1', allowed is a path from / or ~/ on",
    "ledger: here.sqlite": "ledger is 'here.sqlite', allowed is a path from / on",
    "repositories: {off1: {url: 's3://'}}": "repositories.off1.url is 's3://', allowed is a folder, sftp://",
    "policies: {gold: {to: [off1], every: 99999w}}": "policies.gold.every is '99999w', allowed is hour, day, week",
    "policies: {gold: {to: [off1], every: 1mo}}": "policies.gold.every is '1mo', allowed is hour, day, week, month",
    'policies: {gold: {to: [off1], window: "22:00-06:00\\n"}}': "policies.gold.window is '22:00-06:00\\n', allowed is",
    "policies: {gold: {to: [off1], window: 22:00}}": "policies.gold.window is 1320, allowed is like 22:00-06:00",
    "cluster: {scheduler: 'tls://c1:0', tls: /t}": "cluster.scheduler is 'tls://c1:0', allowed is tls://HOST:PORT",
    f"zone: {'x' * 100_000}": f"zone is '{'x' * 199}..., allowed is a name such as",
    '"a\\nb\\e[2J": 1': "a\\nb\\x1b[2J is unknown, allowed are hosts",
}  # fmt: skip
LEAST = {
    "hosts": "hosts: {hv1: {ssh: a@b}}",
    "repositories": "repositories: {off1: {url: /r}}",
    "policies": "policies: {gold: {to: [off1]}}",
    "guests": "guests: [{match: all, policy: gold}]",
}


def least(line: str = "") -> bytes:
    key = line.partition(":")[0]
    return "\n".join([*(text for name, text in LEAST.items() if name != key), line]).encode()


def test_a_whole_file_is_in_its_types() -> None:
    fleet = parsed(GOOD.encode())
    assert isinstance(fleet, Fleet)
    assert fleet.hosts["hv1"].find == ("libvirt", ByLvm(lvm=r"^(?P<vm>vm-\d+)-(?P<disk>.+)$"))
    gold = fleet.policies["gold"]
    assert (gold.interval, gold.late_after, gold.hours.minutes) == (86400, 36 * 3600, 8 * 60)
    assert kept(gold.keep) == {"keep_daily": 14, "keep_weekly": 8, "keep_monthly": 12}
    assert kept(Keep()) == {}
    assert fleet.policies["silver"].late_after == 36 * 3600
    assert fleet.guests[0].match == Match(metadata="gold")
    assert parsed(least()).zone == "UTC"


@pytest.mark.parametrize("line", BAD)
def test_each_mistake_is_one_line_that_names_key_value_and_what_is_allowed(line: str) -> None:
    with pytest.raises(Mistakes) as caught:
        parsed(least(line))
    assert len(caught.value.lines) == 1, caught.value.lines
    assert caught.value.lines[0].startswith(BAD[line])


TWICE = {
    "{off1: {url: /r}, off2: {url: /r/}}": False,
    "{off1: {url: 's3://b/p', host: hv1}, off2: {url: 's3://b/p'}}": False,
    "{off1: {url: /r, host: hv1}, off2: {url: /r}}": True,
}


@pytest.mark.parametrize("repositories", TWICE)
def test_one_repository_has_two_names_where_no_guest_goes_to_both(repositories: str) -> None:
    apart = f"repositories: {repositories}\npolicies: {{gold: {{to: [off1]}}, silver: {{to: [off2]}}}}\n"
    both = f"repositories: {repositories}\npolicies: {{gold: {{to: [off1, off2]}}}}\n"
    rest = f"{LEAST['hosts']}\n{LEAST['guests']}\n"
    assert parsed((apart + rest).encode()).repositories.keys() == {"off1", "off2"}
    if TWICE[repositories]:
        assert parsed((both + rest).encode()).policies["gold"].to == ("off1", "off2")
        return
    with pytest.raises(Mistakes) as caught:
        parsed((both + rest).encode())
    assert caught.value.lines == (
        "policies.gold.to has 'off2', which is off1 by another name; allowed is each repository once",
    )


@pytest.mark.parametrize("path", ["none", "~/k", "~backup/k", "%d/k", "${HOME}/k", "/k"])
def test_what_ssh_completes_itself_is_a_path(path: str) -> None:
    assert parsed(least(f"hosts: {{hv1: {{ssh: a@b, key: '{path}'}}}}")).hosts["hv1"].key == path


def test_a_kind_that_is_missing_hides_no_other_mistake() -> None:
    with pytest.raises(Mistakes) as caught:
        parsed(least("hosts: {}\nlease: far"))
    assert [line.split(" is ")[0] for line in caught.value.lines] == ["hosts", "lease"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(least("hosts: {hv1: {ssh: x y, slots: 0, find: [a]}}\nzone: Nowhere"))
    with pytest.raises(Mistakes) as caught:
        load(path)
    assert [line.split(" is ")[0] for line in caught.value.lines] == [
        "hosts.hv1.ssh", "hosts.hv1.slots", "hosts.hv1.find[1]", "zone",
    ]  # fmt: skip
    assert str(path) in caught.value.why


BOMB = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]"
MERGED = b"a: &a {x: 1}\nb: {<<: [*a, *a]}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"- a",
        b"hosts: [",
        b"a: &x 1\nb: *x",
        b"a: 1\na: 2",
        b"\xff\xfe",
        b"#" * 2**21,
        BOMB,
        MERGED,
        b"? [a]\n: b",
        b"a:\tb",
        b"\ta: b",
        b"a: b\n---\na: b",
        b"a: M\xfcnchen",
        b"a: b\0",
        b"a: " + b"[" * 9999,
        b"a: !!python/tuple [b]",
    ],
)
def test_what_is_no_fleet_file_is_refused_in_words(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parsed(raw)
    assert "job file" not in str(caught.value) and caught.value.what_helps


@pytest.mark.parametrize("change", [(b"\n", b"\r\n"), (b"\n", b"\r"), (b"hosts", b"\xef\xbb\xbfhosts")])
def test_lines_may_end_as_on_other_systems_and_a_mark_may_stand_before_them(change: tuple[bytes, bytes]) -> None:
    assert parsed(least("zone: UTC").replace(*change)).hosts.keys() == {"hv1"}


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(least())
    path.chmod(0o666)
    with pytest.raises(Refused, match="can be written by others"):
        load(path)


def test_a_host_that_finds_nobody_a_name_that_is_taken_and_a_copy_that_is_none_are_told() -> None:
    raw = b"""
hosts: {controller: {ssh: local, find: []}}
repositories: {near: {url: /r}}
policies: {gold: {to: [near, near]}}
guests: [{match: all, policy: gold}]
"""
    with pytest.raises(Mistakes) as caught:
        parsed(raw)
    assert [line.partition(" is ")[0] for line in caught.value.lines] == [
        "a name in hosts", "hosts.controller.find", "policies.gold.to",
    ]  # fmt: skip


def test_what_is_done_several_times_in_a_window_is_not_late_outside_of_it() -> None:
    hourly = parsed(least("policies: {gold: {to: [off1], every: hour, window: '22:00-02:00'}}")).policies["gold"]
    assert hourly.late_after == 90 * 60 + 20 * 3600
    assert parsed(least("policies: {gold: {to: [off1], every: hour}}")).policies["gold"].late_after == 90 * 60
