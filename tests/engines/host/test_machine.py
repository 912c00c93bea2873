"""What tells a machine from a clone of its disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.backup.sources.lvm import tag
from engines.host import machine
from engines.host.holder import Holder


@pytest.mark.parametrize(
    ("one", "two", "other"),
    [
        (("b1", "n1"), ("b1", "n1"), False),
        (("b1", "n1"), ("b1", "n2"), True),
        (("b1", "n1"), ("b2", "n1"), True),
        (("n1", "n2"), ("n2", "n3"), False),
        (("b1",), ("n1",), False),
        ((), ("b1", "n1"), False),
        (("n1",), ("b1", "n1"), False),
    ],
)
def test_two_machines_have_no_mark_of_a_kind_in_common(one: tuple[str, ...], two: tuple[str, ...], other: bool) -> None:
    assert machine.other(one, two) is other and machine.other(two, one) is other


def test_marks_tell_nothing_of_the_hardware_but_whether_it_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "net/eth0/device").mkdir(parents=True)
    (tmp_path / "net/eth0/address").write_text("52:54:00:12:34:56\n")
    (tmp_path / "net/eth0/addr_assign_type").write_text("0\n")
    (tmp_path / "uuid").write_text("4C4C4544-0031\n")
    found = machine.hardware(tmp_path / "uuid", tmp_path / "net")
    assert [mark[0] for mark in found] == ["b", "n"]
    assert found == machine.hardware(tmp_path / "uuid", tmp_path / "net") and not machine.other(found, found)
    assert all(mark[0] in "bn" and len(mark) == 13 and int(mark[1:], 16) >= 0 for mark in found)


def test_the_snapshot_of_a_clones_living_run_is_not_taken_for_a_dead_ones() -> None:
    """Both see the volume group; a boot of its own is all that the dead run and the clone have in common."""
    mine = tag.mine("night")
    before = Holder(mine.holder.pid, mine.holder.started, "0" * 8 + mine.holder.boot[8:], "night")
    name = mine.host.partition(".")[0]
    for host, fate in ((mine.host, "dead"), (name, "dead"), ("another", "made by another machine (another)")):
        found = tag.parse(tag.Owner(host, mine.pids, before).tag())
        assert found is not None and found.fate() == fate
    marks = machine.hardware()
    clone = ".".join((name, *(mark[0] + 12 * "0" for mark in marks)))
    assert tag.Owner(clone, mine.pids, before).fate() == (f"made by another machine ({clone})" if marks else "dead")
    assert mine.fate() == tag.Owner(clone, mine.pids, mine.holder).fate() == "alive"
