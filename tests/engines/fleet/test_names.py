"""Guests may be called as they like: each goes by a name of its own in repositories, and no page is broken by one."""

from __future__ import annotations

from pathlib import Path

import pytest

import engines
from engines.backup import names
from engines.fleet.commands import guests, plan, report, status
from engines.fleet.planning.assigning import call
from engines.fleet.reach.census import each_once
from engines.job.errors import Refused
from tests.engines.backup import lab
from tests.engines.backup.guests.host import domain, node, raw
from tests.engines.fleet.simulated import guest, uuid

HARM = [
    "-rf", "--", ".", "..", "a b", "a\tb", "a:b", "a;b", "a@latest", "latest", "../../x", "\u202eevil", "x" * 255,
    "\u00fc" * 120, "$(id)", "<b onload=x>", "a|b`c`", "*[x]", "guest", "guest-00000000", "web1", "Web1", "",
    "a-b-00000000", "web1\n", "\x1b[2J",
]  # fmt: skip


def test_no_two_guests_go_by_one_name_and_each_is_one_for_a_repository() -> None:
    """Whose UUIDs begin alike, as made ones do."""
    found = [guest(number, name) for number, name in enumerate(HARM)]
    called = call(found, ())
    assert len(set(called.values())) == len(HARM) and all(map(names.fit, called.values())), called
    assert called[uuid(HARM.index("web1"))] == "web1"
    later = call([guest(99, "a b"), *reversed(found)], ())
    assert len(set(later.values())) == len(HARM) + 1


def test_two_guests_whose_points_have_one_name_do_not_share_it() -> None:
    found = [guest(1, "web1"), guest(2, "web1")]
    called = call(found, (), {uuid(1): "web1", uuid(2): "web1"})
    assert called[uuid(1)] == "web1" != called[uuid(2)]


def test_one_name_on_two_hosts_is_two_guests_and_one_uuid_on_two_is_told() -> None:
    here, there = guest(1, "web1", "hv1"), guest(2, "web1", "hv2")
    assert each_once([here, there]) == [here, there]
    assert len(set(call([here, there], ()).values())) == 2
    (both,) = each_once([here, guest(1, "copy", "hv2")])
    assert "seen on hv1 (web1) and hv2 (copy) at once" in both.why


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    """Nothing is asked of their disks."""
    disk = lab.disk(tmp_path / "a.img", {0: 1}, lab.MIB)
    shown = ["-rf", "a&#9;b", "&#x202e;evil", "x" * 255, "&lt;b onload=x&gt;", "a|b`c`", "a b"]
    uri = node(tmp_path / "host.xml", *(domain(number, name, raw(disk)) for number, name in enumerate(shown, 1)))
    path = tmp_path / "fleet.yaml"
    path.write_text(
        f"hosts: {{hv1: {{ssh: local, connect: '{uri}'}}}}\nledger: {tmp_path}/ledger.sqlite\n"
        f"repositories: {{near: {{url: '{lab.init(tmp_path / 'repo')}'}}}}\n"
        "policies: {gold: {to: [near]}}\nguests: [{match: all, policy: gold}]\n"
    )
    return str(path)


def test_no_name_breaks_a_page(fleet: str) -> None:
    shown = [
        guests.table(engines.look("fleet", "guests", fleet=fleet)),
        plan.table(engines.look("fleet", "plan", fleet=fleet)),
        status.table(engines.look("fleet", "status", fleet=fleet)),
        *(report.table(engines.look("fleet", "report", fleet=fleet, form=form)) for form in ("md", "html")),
    ]
    for text in shown:
        assert all(line.isprintable() for line in text.splitlines()), text
        assert "\\u202eevil" in text and "a\\tb" in text
    assert "<b onload" not in shown[-1]


def test_a_name_that_no_guest_has_is_told_with_those_that_there_are(fleet: str) -> None:
    assert [row.name for row in engines.look("fleet", "status", fleet=fleet, only="a b").rows] == ["a b"]
    with pytest.raises(Refused, match=r"no guest is called 'a-b'; did you mean a b\?; there are .*<b onload"):
        engines.look("fleet", "status", fleet=fleet, known=True, only="a-b")
    ended = engines.run("fleet", fleet=fleet, only="web*", now=True)
    assert ended.status == "warned" and ended.result.jobs == {}, ended
    assert any(text.startswith("no guest is called 'web*'; there are") for text in ended.warnings), ended.warnings
