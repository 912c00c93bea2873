"""The process behind a screen: plans a job or performs a run, told what on stdin."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from engines import tasks
from engines.host.child import die_with_parent
from engines.host.streams import settle
from engines.job.detach import Handed, Planned
from engines.job.errors import BadParam, Refused, blameless
from engines.job.params import Secret
from engines.job.perform import Stop, outliving, perform
from engines.job.runs import Run
from engines.job.work import Work


def main(argv: list[str]) -> int:
    """`plan`, or `perform FOLDER`."""
    settle()
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
        perform(run, tasks.engine(run.info().task), stop=stop, secrets=secrets, confirm=handed.confirm)
    return 0


def _plan(handed: Handed, secrets: dict[str, Secret]) -> Planned:
    try:
        return Planned(plan=Work.of(tasks.engine(handed.job.task), handed.job.params, secrets).plan())
    except BadParam as bad:
        return Planned(why=bad.why, what_helps=bad.what_helps, param=bad.name)
    except Refused as refused:
        return Planned(why=refused.why, what_helps=refused.what_helps, lines=refused.lines)
    except (OSError, MemoryError, RuntimeError) as error:
        if (failed := blameless(error)) is None:
            raise
        return Planned(why=failed.why, what_helps=failed.what_helps)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
