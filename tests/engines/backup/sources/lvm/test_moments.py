"""Several disks in one moment, quiesced by a guest agent, and nothing left standing still."""

from __future__ import annotations

import pytest

from tests.engines.backup.sources.lvm.machine import Guest

MOMENTS = "tests.engines.backup.sources.lvm.inside.moments"
pytestmark = pytest.mark.boot


@pytest.mark.parametrize("kind", ["thick", "thin"])
def test_all_disks_of_a_vm_are_of_one_moment_and_the_vm_runs_on(guest: Guest, kind: str) -> None:
    seen = guest.call(f"{MOMENTS}:two_disks", kind)
    first, second = seen["numbers"]
    assert 0 < second <= first <= second + 1
    assert seen["now"] > first
    assert seen["consistency"] == "crash-consistent, 2 disks of one moment"
    assert not seen["warnings"]
    assert seen["state"] in "RSD"
    assert not seen["left"]


def test_disks_that_this_machine_has_mounted_are_not_said_to_be_of_one_moment(guest: Guest) -> None:
    seen = guest.call(f"{MOMENTS}:mounted")
    assert seen["consistency"] == "crash-consistent, each disk of its own moment"
    assert "mounted at /mnt" in seen["warnings"][0]


def test_a_guest_agent_quiesces_and_a_silent_one_leaves_a_crash_consistent_point(guest: Guest) -> None:
    seen = guest.call(f"{MOMENTS}:quiesced")
    assert seen["consistency"].startswith("quiesced by the guest agent (")
    assert not seen["warnings"]
    assert seen["clean"]
    assert seen["note"] == "not yet on the disk"
    assert seen["thawed"] == 0
    assert seen["without"] == "crash-consistent"
    assert "not quiesced" in seen["without_warnings"][0]


def test_whoever_stands_still_runs_again_though_its_holder_is_forgotten_or_killed(guest: Guest) -> None:
    seen = guest.call(f"{MOMENTS}:held_too_long")
    assert seen["stopped"] == "T" and seen["let_go"] in "RS"
    assert not seen["whole"] and not seen["killed"]
    assert seen["left"] == "T"
    assert seen["woken"] == 0  # whoever started the holder let go in its place
    assert seen["awake"] in "RS"
