"""The whole engine on real LVM: there and back, an overflow, a killed run."""

from __future__ import annotations

import pytest

from tests.engines.backup.sources.lvm.machine import Guest

BACKUPS = "tests.engines.backup.sources.lvm.inside.backups"
MIB = 1 << 20
pytestmark = pytest.mark.boot


def test_a_volume_goes_there_and_back_and_the_second_time_only_what_changed(guest: Guest) -> None:
    seen = guest.call(f"{BACKUPS}:there_and_back")
    assert not seen["first"]["failed"] and not seen["second"]["failed"]
    assert seen["first"]["result"]["size"] == 64 * MIB
    assert seen["second"]["result"]["changed"] == 3 * MIB
    assert "kept by cgroup v2" in seen["second"]["result"]["limit"]
    assert seen["same"] and seen["volume"]
    assert not seen["left"]


def test_a_thin_volume_is_backed_up_and_restored(guest: Guest) -> None:
    seen = guest.call(f"{BACKUPS}:thin")
    assert not seen["made"]["failed"]
    assert seen["made"]["result"]["size"] == 64 * MIB
    assert seen["same"]
    assert not seen["left"]


def test_a_restore_that_would_fill_a_thin_pool_is_refused_and_one_with_room_names_it(guest: Guest) -> None:
    seen = guest.call(f"{BACKUPS}:into_a_pool")
    assert seen["same"]
    assert "thin pool tg/pool: " in seen["facts"]["room"] and "this needs 32.0 MiB at most" in seen["facts"]["room"]
    assert "thin pool tg/tight: " in seen["refused"] and "lvextend --size +" in seen["refused"]


def test_a_snapshot_that_fills_ends_the_backup_without_a_point(guest: Guest) -> None:
    seen = guest.call(f"{BACKUPS}:fails_full")
    assert seen["writer"] in (0, -9), "the writer itself failed"
    assert "of vg/b is" in seen["failed"] and "% full" in seen["failed"]
    assert seen["points"] == 0
    assert not seen["after"] and not seen["left"]


def test_the_snapshot_of_a_killed_run_is_swept_and_no_other(guest: Guest) -> None:
    seen = guest.call(f"{BACKUPS}:killed")
    assert seen["others"] == ["tg-crashcart_bare", "tg-crashcart_far", "tg-mine"]
    assert seen["removed"] == [seen["orphan"].replace("-", "/", 1)]
    assert any(text.endswith(": dead") and seen["removed"][0] in text for text in seen["said"])
    assert seen["swept"] == sorted([*seen["others"], seen["used"]])
    assert any("removed what a killed run left" in note for note in seen["notes"])
    assert seen["after"] == seen["others"]
