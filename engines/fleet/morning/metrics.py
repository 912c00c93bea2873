"""Prometheus metrics of the fleet: as text, or written whole to a textfile for node_exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import GOOD, Job
from engines.fleet.morning.standing import Row, Standing
from engines.host.files import write_whole
from engines.job.errors import Refused

GUEST = ("guest", "vm", "host", "policy")
TRY = (*GUEST, "repository")
# Name -> what it says, and its labels. Bytes, seconds and Unix times, as Prometheus has it.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "backup_last_success_timestamp_seconds": ("When the newest whole point was begun, read from the point", GUEST),
    "backup_expected_interval_seconds": ("How often the policy wants a backup", GUEST),
    "backup_late": ("1 where the newest whole point is older than the policy bears, or there is none", GUEST),
    "backup_stored_bytes": ("What all points of the guest have brought", GUEST),
    "backup_size_bytes": ("The guest's disks", GUEST),
    "backup_last_try_timestamp_seconds": ("When the last try began", TRY),
    "backup_last_status": ("1 where the last try ended well", TRY),
    "backup_duration_seconds": ("How long the last try took", TRY),
    "backup_bytes_read": ("What the last try read", TRY),
    "backup_bytes_changed": ("What had changed since the point before", TRY),
    "backup_bytes_stored": ("What the last try stored", TRY),
    "guest_uncovered": ("1 for a guest without a backup, or not of every disk, that nobody meant", ("guest", "host")),
    "guest_light": ("1 for the light that a guest has", (*GUEST, "light")),
    "host_silent": ("1 for a host that had no answer when it was last asked", ("host",)),
    "host_emptied": ("1 for a host that answers and shows none of the guests that it had", ("host",)),
    "repository_bytes": ("What lies in packs", ("repository",)),
    "repository_free_bytes": ("What the place has left", ("repository",)),
    "repository_silent": ("1 for a repository that could not be read", ("repository",)),
    "repository_last_gc_timestamp_seconds": ("When a gc last ended well", ("repository",)),
    "repository_last_verify_timestamp_seconds": ("When a verify last ended well", ("repository",)),
    "prove_last_success_timestamp_seconds": ("When a restored guest last booted", TRY),
    "fleet_looked_timestamp_seconds": ("When all this was looked at", ()),
}


def text(fleet: Fleet, ledger: Ledger, standing: Standing) -> str:
    """The metrics as Prometheus reads them. Raises Refused where its client library is not installed."""
    try:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest
    except ImportError:
        raise Refused("prometheus-client is not installed", "pip install 'crashcart[fleet]'") from None
    registry = CollectorRegistry()
    gauges = {
        name: Gauge(f"crashcart_{name}", why, labels, registry=registry) for name, (why, labels) in GAUGES.items()
    }
    _guests(fleet, standing, gauges)
    _tries(ledger, standing, gauges)
    _places(fleet, standing, gauges)
    gauges["fleet_looked_timestamp_seconds"].set(standing.at)
    return generate_latest(registry).decode()


def write(text_: str, path: Path) -> None:
    """Put them in place of the file, whole or not at all. Raises Refused."""
    try:
        write_whole(path, text_.encode(), mode=0o644)
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror}"
        raise Refused(why, "name a file ending in .prom in node_exporter's textfile folder") from None


def _guests(fleet: Fleet, standing: Standing, gauges: dict[str, Any]) -> None:
    for row in standing.rows:
        names = _names(row)
        gauges["guest_light"].labels(*names, row.light).set(1)
        if row.light == "uncovered":
            gauges["guest_uncovered"].labels(row.name, row.host).set(1)
        if row.policy not in fleet.policies or row.light in ("skipped", "gone"):
            continue
        gauges["backup_expected_interval_seconds"].labels(*names).set(fleet.policies[row.policy].interval)
        gauges["backup_late"].labels(*names).set(row.age is None or row.age > row.late_after)
        gauges["backup_stored_bytes"].labels(*names).set(row.stored)
        gauges["backup_size_bytes"].labels(*names).set(row.size)
        if row.good is not None:
            gauges["backup_last_success_timestamp_seconds"].labels(*names).set(row.good)


def _tries(ledger: Ledger, standing: Standing, gauges: dict[str, Any]) -> None:
    rows = {row.uuid: row for row in standing.rows}
    for (uuid, repository), job in ledger.newest().items():
        if (row := rows.get(uuid)) and job.started is not None:
            _tried(job, (*_names(row), repository), gauges)
    for (uuid, repository), job in ledger.newest_good("prove").items():
        if (row := rows.get(uuid)) and job.ended is not None and job.state == "done":  # warned: it may boot
            gauges["prove_last_success_timestamp_seconds"].labels(*_names(row), repository).set(job.ended)


def _tried(job: Job, names: tuple[str, ...], gauges: dict[str, Any]) -> None:
    gauges["backup_last_try_timestamp_seconds"].labels(*names).set(job.started)
    if job.ended is None or job.started is None:
        return
    gauges["backup_last_status"].labels(*names).set(job.state in GOOD)
    gauges["backup_duration_seconds"].labels(*names).set(max(0.0, job.ended - job.started))
    for what in ("read", "changed", "stored"):
        gauges[f"backup_bytes_{what}"].labels(*names).set(getattr(job, what))


def _places(fleet: Fleet, standing: Standing, gauges: dict[str, Any]) -> None:
    for host in fleet.hosts:
        gauges["host_silent"].labels(host).set(host in standing.silent)
        gauges["host_emptied"].labels(host).set(host in standing.emptied)
    for one in standing.repositories:
        gauges["repository_silent"].labels(one.name).set(bool(one.trouble))
        if not one.trouble:
            gauges["repository_bytes"].labels(one.name).set(one.bytes)
        told = {
            "repository_free_bytes": one.free,
            "repository_last_gc_timestamp_seconds": one.gc,
            "repository_last_verify_timestamp_seconds": one.verified,
        }
        for name, value in told.items():
            if value is not None:
                gauges[name].labels(one.name).set(value)


def _names(row: Row) -> tuple[str, str, str, str]:
    return row.name, row.vm, row.host, row.policy
