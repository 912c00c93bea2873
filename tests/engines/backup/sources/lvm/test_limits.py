"""Limits on a mapped device by cgroup v2."""

from __future__ import annotations

import pytest

from tests.engines.backup.sources.lvm.machine import Guest

LIMITS = "tests.engines.backup.sources.lvm.inside.limits"
pytestmark = pytest.mark.boot


def test_io_max_lets_40_MB_a_second_through_with_a_cold_cache_and_no_tenth_more(guest: Guest) -> None:
    seen = guest.call(f"{LIMITS}:held")
    assert seen["version"] == 2
    assert "40 MB/s by cgroup v2" in seen["words"]
    assert 4e5 < seen["rate"] < 44e6  # an emulated machine on a busy one may come to less
    assert "kept by cgroup v2" in seen["said"]
    assert "crashcart-" in seen["inside"]
    assert seen["after"] == seen["home"]
    assert not seen["left"]


def test_the_vms_own_limit_comes_first_and_a_measurement_is_kept(guest: Guest) -> None:
    seen = guest.call(f"{LIMITS}:of_a_vm")
    assert seen["rate"] == 80e6
    assert "the VM's own cgroup" in seen["origin"]
    assert seen["measured"] > 0 and "measured" in seen["measured_origin"]
    assert seen["again"] == seen["measured"] and "measured on" in seen["again_origin"]
