"""thin_delta on a real pool: what changed is read, what lies is found out, nothing stays held or pinned."""

from __future__ import annotations

from typing import Any

import pytest

from engines.backup.capture.hints import LEAST
from tests.engines.backup.sources.lvm.machine import Guest

HINTS = "tests.engines.backup.sources.lvm.inside.hints"
MIB = 1 << 20
pytestmark = pytest.mark.boot


@pytest.fixture(scope="module")
def life(guest: Guest) -> dict[str, Any]:
    seen: dict[str, Any] = guest.call(f"{HINTS}:life", within=1500.0)  # five backups, one after the other
    return seen


def test_by_thin_delta_only_what_changed_and_the_sample_are_read(life: dict[str, Any]) -> None:
    assert not life["first"]["failed"] and not life["changed"]["failed"]
    assert any("everything is read: the disk has no point yet" in text for text in life["first"]["said"])
    second, third = life["changed"]["result"], life["unchanged"]["result"]
    assert second["changed"] == 5 * MIB
    assert second["read"] <= (LEAST + 4 * 4) * MIB
    assert f"thin names 5.0 MiB as changed since {life['first']['result']['point']}" in second["hint"]
    assert life["same"]
    assert third["changed"] == 0 and third["read"] == LEAST * MIB


def test_one_snapshot_is_kept_and_replaced_by_the_next_and_gone_without_hints(life: dict[str, Any]) -> None:
    first, second, third, fourth, without = life["kept"]
    assert len(first) == len(second) == len(third) == len(fourth) == 1
    assert first != second != third != fourth
    assert not life["without"]["failed"] and not without
    assert life["new"] == [third[0].replace("/", "-")]


def test_a_hint_that_lies_is_found_out_and_everything_is_read(life: dict[str, Any]) -> None:
    assert life["lied"]["result"]["hint_was_wrong"]
    assert any("THE HINT IS WRONG" in text for text in life["lied"]["said"])
    assert life["lied"]["result"]["changed"] == 48 * MIB
    assert life["same_though_lied"]


def test_the_metadata_snapshot_of_another_is_left_alone_and_that_of_a_dead_run_released(life: dict[str, Any]) -> None:
    assert "thin names" in life["unchanged"]["result"]["hint"]
    assert "somebody else holds the pool's metadata snapshot" in life["foreign"]
    assert "thin_delta" in life["unknown"]
    assert life["held"] == [False, False, True, False]


def test_a_kept_snapshot_is_swept_when_its_point_is_gone(guest: Guest) -> None:
    seen = guest.call(f"{HINTS}:swept")
    assert all("0 snapshots removed" in words for words in seen["words"])
    assert seen["spared"] == seen["kept"] == seen["removed"]


def test_two_volumes_in_one_run_are_points_of_one_moment(guest: Guest) -> None:
    seen = guest.call(f"{HINTS}:several")
    made = seen["made"]["result"]
    assert made["together"]
    assert {point["consistency"] for point in made["points"]} == {"crash-consistent, 2 disks of one moment"}
    assert len({point["point"].split("@")[1] for point in made["points"]}) == 1
    assert not seen["left"]
