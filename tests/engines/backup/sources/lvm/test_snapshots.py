"""Snapshots of real LVM volumes: still, read-only, tagged, watched, removed."""

from __future__ import annotations

import pytest

from tests.engines.backup.sources.lvm.machine import Guest

SNAPSHOTS = "tests.engines.backup.sources.lvm.inside.snapshots"
pytestmark = pytest.mark.boot


@pytest.mark.parametrize("kind", ["thick", "thin"])
def test_a_snapshot_stands_still_while_its_volume_is_written_and_is_gone_afterwards(guest: Guest, kind: str) -> None:
    seen = guest.call(f"{SNAPSHOTS}:still", kind)
    assert seen["same"]
    assert seen["size"] == 64 << 20
    assert f"{kind} LVM volume" in seen["words"]
    assert seen["consistency"] == "crash-consistent"
    assert "run=20261122-night" in seen["tags"]
    assert not seen["writable"]
    assert len(seen["during"]) == len(seen["after"]) + 1
    assert not seen["suspended"]


def test_a_thick_snapshot_that_fills_fails_the_run_by_name_before_it_is_lost(guest: Guest) -> None:
    seen = guest.call(f"{SNAPSHOTS}:overflow")
    assert "of vg/a is" in seen["why"] and "% full" in seen["why"]
    assert "16 MiB" in seen["helps"]
    assert not seen["invalid"]
    assert 4 < seen["written"] < 16
    assert seen["after"] == seen["before"]
    assert not seen["left"]


def test_a_thick_snapshot_that_was_lost_is_named_by_reading_and_by_the_last_check(guest: Guest) -> None:
    seen = guest.call(f"{SNAPSHOTS}:overflowed")
    assert "of vg/a is invalid" in seen["read"]
    assert "of vg/a is invalid" in seen["check"]
    assert seen["after"] == seen["before"]


def test_a_thin_pool_that_fills_fails_the_run_and_a_full_one_is_refused(guest: Guest) -> None:
    seen = guest.call(f"{SNAPSHOTS}:pool")
    assert "the data of thin pool tg/little is" in seen["why"] and "% full" in seen["why"]
    assert seen["written"] < 33
    assert "lvextend" in seen["helps"]
    assert seen["after"] == seen["before"]
    assert "allowed is 90 %" in seen["refused"] and "stalls every guest" in seen["refused"]


def test_a_thin_pool_whose_metadata_is_nearly_full_is_refused(guest: Guest) -> None:
    seen = guest.call(f"{SNAPSHOTS}:metadata")
    assert seen["empty"] == "made"
    assert seen["used"] > 90 > 10 > seen["data"]
    assert "the metadata of thin pool tg/tight is 9" in seen["refused"] and "allowed is 90 %" in seen["refused"]
    assert "lvextend --poolmetadatasize" in seen["refused"]
    assert seen["after"] == seen["before"]


def test_what_cannot_be_snapshotted_is_refused_with_the_next_action(guest: Guest) -> None:
    seen = guest.call(f"{SNAPSHOTS}:refusals")
    assert seen["hostile"] == "made"
    assert "is no LVM volume" in seen["other"]
    assert "part of" in seen["part"]
    assert "too little for a snapshot" in seen["full"] and "vgextend packed" in seen["full"]
    assert "is a snapshot itself" in seen["snapshot"] and "vg/b" in seen["snapshot"]
    assert "lvchange --activate y vg/+b.-c_d" in seen["inactive"]
