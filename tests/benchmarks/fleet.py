"""What a fleet costs its controller: the plan of 10,000 guests, and a calm job from its start to its end.

The marks: the plan takes 5 s of processor time and the process 300 MB; a job that a host does without trouble takes
50 ms of processor time on the controller, its ssh included and the host's own not. $CRASHCART_BENCH is the folder to
work in.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path

from engines.backup.guests.model import Guest
from engines.fleet.commands.plan import expected
from engines.fleet.config.load import parsed
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.ledger.rows import Job
from engines.fleet.planning.assigning import assign
from engines.fleet.planning.points import Covered
from engines.fleet.planning.wanted import wanted
from engines.fleet.round.round import Round, Todo
from engines.job.jobfile import Job as JobFile
from tests.benchmarks._image import MIB
from tests.benchmarks._measured import Bench
from tests.engines.backup.store.sshd import Sshd
from tests.engines.fleet.simulated import fleet, guest

GUESTS, JOBS, SLOTS = 10_000, 200, 4
NOW = 1_786_600_000.0
SAYS = """cat >/dev/null
echo '{"say":"begun","run":"r","new":true}'
echo '{"say":"ended","run":"r","status":"done","code":0}'
"""


def spent() -> float:
    """Seconds of processor time, of this process and its children that are over."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def planned(bench: Bench) -> None:
    guests: list[Guest] = [guest(number) for number in range(GUESTS)]
    of = fleet()
    before = spent()
    with Ledger(bench.folder / "ledger") as ledger:
        assigned = assign(of, guests, ledger.guests())
        ledger.saw([(one.guest, one.vm, one.policy) for one in assigned], NOW, [])
        times = {(one.vm, "vda"): NOW - 86400 for one in assigned}
        coming = wanted(of, assigned, Covered(newest={"off1": times, "off2": times}), ledger.newest(), NOW)
        rows = expected(of, coming, {}, NOW)
    assert len(rows) == 2 * GUESTS
    bench.mark(f"the plan of {GUESTS} guests, two repositories each: s of processor time", spent() - before, 5.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bench.mark("the process: MB", peak * MIB / 1e6, 300.0)


def worked(bench: Bench) -> None:
    folder = bench.folder / "sshd"
    folder.mkdir()
    sshd = Sshd(folder)
    (folder / "agent").write_text(SAYS)
    (folder / "authorized_keys").write_text(f'restrict,command="sh {folder}/agent" {(folder / "key.pub").read_text()}')
    (folder / "known").write_text(f"[127.0.0.1]:{sshd.port} {(folder / 'host_key.pub').read_text()}")
    of = parsed(
        f"hosts: {{hv1: {{ssh: 'root@127.0.0.1:{sshd.port}', slots: {SLOTS}, key: '{folder}/key',"
        f" known_hosts: '{folder}/known'}}}}\nrepositories: {{near: {{url: /r, slots: {SLOTS}}}}}\n"
        "policies: {gold: {to: [near]}}\nguests: [{match: all, policy: gold}]\n".encode()
    )
    with sshd, Ledger(bench.folder / "jobs") as ledger:
        round_ = Round(of, ledger)
        round_.add(*(_todo(number) for number in range(JOBS)))
        before, began = spent(), time.monotonic()
        over = [one.job.state for one in round_.work()]
        used, took = spent() - before, time.monotonic() - began
    assert over == ["done"] * JOBS, over
    print(f"  {JOBS} jobs in {took:.1f} s")
    bench.mark("a calm job: ms of the controller's processor time", used * 1000 / JOBS, 50.0)


def _todo(number: int) -> Todo:
    job = Job(
        key=f"backup/x/{number}/near", round="x", kind="backup", uuid=str(number), vm=f"vm{number}", host="hv1",
        repository="near",
    )  # fmt: skip
    return Todo(job, JobFile(task="backup"), (0.0, 0.0, job.key), time.time() + 86400, 3)


def main() -> int:
    with tempfile.TemporaryDirectory(dir=os.environ.get("CRASHCART_BENCH"), prefix="fleet-") as name:
        bench = Bench(Path(name))
        planned(bench)
        worked(bench)
    print("missed: " + ", ".join(bench.missed) if bench.missed else "all marks met")
    return 1 if bench.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
