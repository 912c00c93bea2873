"""The front door of the fleet."""

from __future__ import annotations

from typing import Any

from engines.fleet.commands import check, cluster, guests, metrics, plan, report, serve, status
from engines.fleet.commands.hold import HoldIt, Release
from engines.fleet.commands.params import FleetParams
from engines.fleet.commands.run import Run
from engines.fleet.commands.verify import Verify
from engines.job.contract import Engine, Look

ENGINES: tuple[Engine[Any], ...] = (Run(), Verify(), HoldIt(), Release())
LOOKS = (
    Look(
        "guests",
        "every guest of every host, and who has no backup",
        guests.GuestsParams,
        guests.answer,
        guests.table,
        code=guests.code,
    ),
    Look(
        "plan",
        "who is backed up when, where and why, before anything is done",
        plan.PlanParams,
        plan.answer,
        plan.table,
    ),
    Look(
        "status",
        "how every guest stands, the worst first",
        status.StatusParams,
        status.answer,
        status.table,
        code=status.code,
    ),
    Look(
        "report",
        "what a night did, for a ticket or a browser",
        report.ReportParams,
        report.answer,
        report.table,
    ),
    Look(
        "metrics",
        "how all stand, as Prometheus reads it",
        metrics.MetricsParams,
        metrics.answer,
        metrics.table,
    ),
    Look(
        "check",
        "does every host and every repository answer, and is it fit",
        FleetParams,
        check.answer,
        check.table,
        code=check.code,
    ),
    Look("serve", "a round whenever one is due, until it is stopped", FleetParams, serve.answer, stream=serve.lines),
    Look(
        "scheduler",
        "where the controllers of a cluster meet, until it is stopped",
        FleetParams,
        cluster.scheduled,
        stream=cluster.schedule,
    ),
    Look(
        "worker",
        "work along with the other controllers of a cluster, until it is stopped",
        cluster.WorkerParams,
        cluster.worked,
        stream=cluster.work,
    ),
    Look(
        "certificate",
        "make a certificate for a member of a cluster, and the authority with the first",
        cluster.CertificateParams,
        cluster.certificate,
    ),
)
