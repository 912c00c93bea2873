"""Of several controllers one does a round; a killed one, and one that stood still, is followed, whatever clocks say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec
import pytest
from typing_extensions import override

import engines
from engines.backup.store.local import LocalStore
from engines.fleet.round.lease import Lease
from engines.job.errors import Failed, Refused
from tests.engines.backup import lab
from tests.engines.backup.strike import child
from tests.engines.fleet.cluster import wait
from tests.engines.fleet.lab import ROOT

# Another controller, whose process ids are not those of this one: it is known by its signs alone.
ELSEWHERE = ["unshare", "--pid", "--fork", "--kill-child"]
HOLDER = """
import sys
from pathlib import Path
from engines.backup.store.local import LocalStore
from engines.fleet.round.lease import Lease
from engines.job.errors import Failed
lease = Lease(LocalStore(Path(sys.argv[1])), sign=0.1)
lease.take()
print("taken", flush=True)
try:
    while True:
        lease.check()
        lease._end.wait(0.05)
except Failed as failed:
    print(failed.why, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "shared").mkdir()
    return LocalStore(tmp_path / "shared")


@contextmanager
def controller(store: LocalStore, *before: str) -> Iterator[tuple[int, IO[str]]]:
    """A process that has the lease: its id, and what it says."""
    argv = [*before, sys.executable, "-P", "-c", HOLDER, store.where]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}) as made:
        assert made.stdout
        try:
            assert made.stdout.readline() == "taken\n"
            found = subprocess.run(["pgrep", "-P", str(made.pid)], capture_output=True, text=True, check=False)
            yield int(found.stdout or made.pid), made.stdout
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(found.stdout or made.pid), signal.SIGKILL)
            made.kill()


def aged(store: LocalStore) -> None:
    """As if nobody had given a sign for an hour."""
    (path,) = (store.root / "leases").iterdir()
    before = path.stat().st_mtime - 3600
    os.utime(path, (before, before))


def test_the_second_is_told_and_a_killed_one_on_this_machine_is_followed_at_once(store: LocalStore) -> None:
    with controller(store) as (pid, _):
        with pytest.raises(Refused, match=f"a round of the fleet: process {pid} on .* at work"):
            Lease(store).take()
        os.kill(pid, signal.SIGKILL)
    lease = Lease(store)
    lease.take()
    lease.check()
    with pytest.raises(Refused):
        Lease(store).take()
    lease.give_back()
    last = Lease(store)
    last.take()
    last.give_back()
    assert len(list(store.names("leases"))) == 1


def test_one_of_another_machine_that_stood_still_is_followed_and_does_no_more(store: LocalStore) -> None:
    with controller(store, *ELSEWHERE) as (pid, said):
        with pytest.raises(Refused):
            Lease(store).take()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Refused):
            Lease(store).take()  # for all that is known it is only slow
        aged(store)
        lease = Lease(store)
        lease.take()
        os.kill(pid, signal.SIGCONT)
        assert said.readline() == "another controller took over, since this one stood still\n"
        lease.check()
        lease.give_back()


def test_the_holders_own_clock_does_not_matter(store: LocalStore) -> None:
    for ahead in (-10 * 365 * 86400, 10 * 365 * 86400):
        lease = Lease(store)
        began = lease.session.began + ahead
        lease.session = msgspec.structs.replace(lease.session, began=began, pidns="elsewhere")
        lease.take()
        with pytest.raises(Refused):
            Lease(store).take()
        lease.give_back()


def test_of_many_that_follow_a_dead_one_at_once_one_does(store: LocalStore) -> None:
    with controller(store, *ELSEWHERE) as (pid, _):
        os.kill(pid, signal.SIGKILL)
    aged(store)
    go, start = os.pipe()
    told, tell = os.pipe()

    def contend() -> None:
        os.close(start)
        lease = Lease(LocalStore(store.root))
        os.read(go, 1)
        try:
            lease.take()
            os.write(tell, b"1")
        except Refused:
            os.write(tell, b"0")
        signal.pause()  # whoever has it keeps it until all have tried

    children = [child(contend) for _ in range(8)]
    os.close(start)
    outcome = b"".join(os.read(told, 1) for _ in children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for descriptor in (go, told, tell):
        os.close(descriptor)
    assert outcome.count(b"1") == 1, outcome


def test_a_lease_that_cannot_be_renewed_is_told(store: LocalStore) -> None:
    lease = Lease(store, sign=0.01)
    lease.take()
    (path,) = (store.root / "leases").iterdir()
    path.rename(path.with_name("fleet.999999999999.json"))
    lease._signing.join()
    with pytest.raises(Failed, match="took over"):
        lease.check()
    lease.give_back()


class Hanging(LocalStore):
    """Its server answers no touch until it is back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.back = threading.Event()

    @override
    def touch(self, name: str) -> None:
        self.back.wait()
        super().touch(name)


def test_a_lease_whose_renewal_hangs_is_lost_before_another_may_take_it(store: LocalStore) -> None:
    hanging = Hanging(store.root)
    lease = Lease(hanging, dead=2.0, sign=0.01)
    lease.take()

    def lost() -> bool:
        try:
            lease.check()
        except Failed as failed:
            return "could not be renewed" in failed.why
        return False

    wait(lost)
    hanging.back.set()
    lease._signing.join()
    assert lost(), "what answers at last is too late"
    lease.give_back()


def test_a_lease_in_a_folder_that_is_not_mounted_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "fleet.yaml"
    config.write_text(
        f"hosts: {{here: {{ssh: local}}}}\nrepositories: {{near: {{url: '{tmp_path}/gone'}}}}\nlease: near\n"
        f"policies: {{gold: {{to: [near]}}}}\nguests: [{{match: all, policy: gold}}]\nledger: '{tmp_path}/ledger'\n"
    )
    ended = engines.run("fleet", fleet=str(config))
    assert ended.status == "refused" and "gone" in ended.why, ended
    assert not (tmp_path / "gone").exists()


def test_a_round_of_a_second_controller_is_refused_in_words(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    config = tmp_path / "fleet.yaml"
    config.write_text(
        f"hosts: {{here: {{ssh: local}}}}\nrepositories: {{near: {{url: '{repo}'}}}}\nlease: near\n"
        f"policies: {{gold: {{to: [near]}}}}\nguests: [{{match: all, policy: gold}}]\nledger: '{tmp_path}/ledger'\n"
    )
    with controller(LocalStore(Path(repo))):
        ended = engines.run("fleet", fleet=str(config))
    assert (ended.status, ended.code) == ("refused", 3) and "at work" in ended.why, ended
