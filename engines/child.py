"""The process behind a screen: plans a job or performs a run, told what on stdin."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from engines import tasks
from engines.host.child import die_with_parent
from engines.job.contract import Cancel
from engines.job.detach import Handed, Planned
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import open_secrets
from engines.job.params import Secret, convert
from engines.job.perform import Stop, outliving, perform
from engines.job.report import write_reports
from engines.job.runs import Run


def main(argv: list[str]) -> int:
    """`plan`, or `perform FOLDER`."""
    handed = msgspec.json.decode(sys.stdin.buffer.read(), type=Handed)
    secrets = {name: Secret(text) for name, text in handed.secrets.items()}
    if argv[0] == "plan":
        die_with_parent()
        sys.stdout.buffer.write(msgspec.json.encode(_plan(handed, secrets)))
        return 0
    run = Run(Path(argv[1]))
    tasks.sweep(run.info().task)
    stop = Stop()
    with outliving(stop):
        perform(run, tasks.engine(run.info().task), stop=stop, secrets=secrets)
        write_reports(run)
    return 0


def _plan(handed: Handed, secrets: dict[str, Secret]) -> Planned:
    try:
        engine = tasks.engine(handed.job.task)
        given = open_secrets(engine.params, handed.job.params)
        params = convert(engine.params, {**given, **secrets}, task=engine.name)
        return Planned(plan=engine.plan(params, Cancel()))
    except BadParam as bad:
        return Planned(why=bad.why, what_helps=bad.what_helps, param=bad.name)
    except Refused as refused:
        return Planned(why=refused.why, what_helps=refused.what_helps)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
