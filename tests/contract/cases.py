"""The tasks that the contract suite holds to their promises."""

from __future__ import annotations

from tests.contract import backup, biosiso, copies, failover, fleet, points, vdx, virtio

CASES = (
    *copies.CASES,
    *biosiso.CASES,
    *backup.CASES,
    *points.CASES,
    *fleet.CASES,
    *failover.CASES,
    *vdx.CASES,
    *virtio.CASES,
)

# Engines without a case here, and what holds them instead.
ELSEWHERE = {
    "backup-boot": "boots a guest: tests/engines/backup/commands/test_boot.py",
    "backup-prove": "boots a guest: tests/engines/backup/commands/test_boot.py",
    "backup-put": "writes through an appliance: tests/engines/backup/put",
    "backup-snapshots": "needs LVM, in a guest: tests/engines/backup/sources/lvm",
    "backup-guest": "tests/engines/backup/commands/test_guest.py",
    "backup-lock": "needs a bucket with Object Lock: tests/engines/backup/commands/test_struck_in_a_bucket.py",
    "backup-rewind": "needs a bucket with versions: tests/engines/backup/commands/test_struck_in_a_bucket.py",
    "virtio-restock": "boots an appliance: tests/engines/virtio",
    "virtio-putback": "boots an appliance: tests/engines/virtio",
    "fleet-verify": "reads only, as backup-verify: tests/engines/fleet/test_spread.py",
}
