"""Guests that lose something on virtio, booted for real: nothing says done over them, nothing is committed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.job.contract import RunFailed
from engines.rehearsal.guest.shape import DEFAULT, SHAPES
from tests.engines.guest.images import sha256
from tests.engines.virtio.clinic import Clinic, told

pytestmark = [pytest.mark.boot, pytest.mark.soak]


def test_a_guest_that_stops_in_emergency_mode_is_not_committed(clinic: Clinic) -> None:
    image = clinic.guest(replace(SHAPES["centos6"], stops=True))
    before = sha256(image)
    _, last = clinic.run("virtio", image, keep=["/etc/fstab"])
    assert isinstance(last, RunFailed), last
    assert "does not boot from virtio: 'Welcome to emergency mode!" in last.why
    assert sha256(image) == before


def test_a_guest_that_loses_its_network_is_not_committed(clinic: Clinic) -> None:
    """Its card's driver stays the old one; with the old card it came up."""
    image = clinic.guest(DEFAULT)
    before = sha256(image)
    run, last = clinic.run("virtio", image, keep=["/etc/modprobe.conf"])
    assert isinstance(last, RunFailed), last
    assert "comes up on virtio without what it had: Device eth0 does not seem to be present" in last.why
    assert told(run, "boot as it was").eth0
    assert sha256(image) == before
