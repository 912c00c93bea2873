"""No guest stays frozen, whoever is killed and whatever disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from engines.backup import sweeping
from engines.backup.sources.lvm import moment
from engines.backup.sources.lvm.agent import Agent, NoAgent
from engines.backup.sources.lvm.moment import Moment
from engines.host import child
from engines.host.holder import Holder, boot_id, start_time
from engines.job import lock
from tests.engines.backup.sources.lvm.fake_agent import FakeAgent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    with FakeAgent(tmp_path / "agent") as found:
        yield found


def until(holds: Callable[[], object], within: float = 120.0) -> None:
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def records(agent: FakeAgent) -> list[Path]:
    """What is written down of this agent's guest."""
    found = []
    for path in lock.folder().iterdir():
        with suppress(FileNotFoundError):  # another session of tests works there, too
            if moment.NAME.fullmatch(path.name) and str(agent.path) in path.read_text():
                found.append(path)
    return found


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def writer() -> Iterator[Holder]:
    with subprocess.Popen(["sleep", "600"]) as one:
        yield Holder(one.pid, start_time(one.pid), boot_id())
        one.kill()


ODD = (
    b'{"error": "no"}', b'{"error": null}', b'{"error": ["no"]}', b'{"error": {"desc": {}}}', b"[" * 60_000, b"null",
    b'{"return": true}', b'{"return": -1}', b'{"return": 99999999999999999999}', b'{"return": {"a": 1}}', b"{}",
    b'{"error": {"desc": "' + b"x" * 60_000 + b'"}}',
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_agent_of_a_hostile_guest_is_no_agent_whatever_it_answers(tmp_path: Path, odd: bytes) -> None:
    with FakeAgent(tmp_path / "odd", odd), Agent(tmp_path / "odd") as found, pytest.raises(NoAgent) as no:
        found.freeze()
    assert len(str(no.value)) < 400


def test_a_guest_is_frozen_and_thawed(agent: FakeAgent) -> None:
    with Moment((), agent.path) as held:
        assert agent.frozen and records(agent)
    assert held.quiesced and not agent.frozen and not records(agent)


def test_what_cannot_be_written_down_is_not_frozen(agent: FakeAgent, writer: Holder) -> None:
    """A full disk, as the kernel tells it: no file of this process may grow."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        from engines.backup.sources.lvm.moment import Moment
        from engines.host.holder import Holder, boot_id, start_time
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        pid = int(sys.argv[2])
        with Moment([Holder(pid, start_time(pid), boot_id())], Path(sys.argv[1])) as held:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        sys.stdout.write(f"{held.held.trouble} / {held.quiesced} / {state}")
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(script), str(agent.path), str(writer.pid)]
    done = subprocess.run(command, capture_output=True, text=True, env=child.environment(), cwd="/", check=True)
    assert "cannot be written down" in done.stdout and " / False / " in done.stdout and done.stdout[-1] in "RS"
    assert not agent.asked and not records(agent)


STEPS = ("_recorded", "_frozen", "_signal", "_say", "_thawed", "unlink")
KILLED = """
import os, signal, sys, runpy
from pathlib import Path
from engines.backup.sources.lvm import moment

def dying(name, real, where):
    def step(*given, **named):
        if where == "after":
            real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return step

name, where = sys.argv[1:3]
owner = Path if name == "unlink" else moment
setattr(owner, name, dying(name, getattr(owner, name), where))
moment.main()
"""


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_holder_killed_at_any_step_leaves_nobody_frozen(
    agent: FakeAgent, writer: Holder, step: str, where: str
) -> None:
    """By its parent's hand where that lives; by that of the next start where both were killed."""
    wanted = moment.msgspec.json.encode(moment.MomentRequest([writer], str(agent.path), 0.2))
    with subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED, step, where],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=child.environment(),
        cwd="/",
    ) as holder:
        assert holder.stdin is not None
        holder.stdin.write(wanted + b"\n")
        holder.stdin.flush()
        assert holder.wait() == -signal.SIGKILL
    sweeping.sweep()
    assert not agent.frozen
    assert state(writer.pid) in "RS"
    assert not records(agent)


def test_whoever_is_said_to_stand_still_does_so_at_that_moment() -> None:
    """A signal that was sent to a busy process has not arrived yet: ten times, since it often has."""
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        try:
            for _ in range(10):
                with Moment([Holder(busy.pid, start_time(busy.pid), boot_id())]) as moment:
                    assert (moment.held.stopped, state(busy.pid)) == (1, "T")
        finally:
            busy.kill()


def test_a_parent_lets_go_in_the_place_of_a_killed_holder(agent: FakeAgent, writer: Holder) -> None:
    with Moment([writer], agent.path, longest=60.0) as held:
        assert agent.frozen and state(writer.pid) == "T"
        os.kill(held._child.pid, signal.SIGKILL)
    assert not agent.frozen and state(writer.pid) in "RS"
    assert not held.quiesced and not records(agent)


def test_both_killed_the_next_start_of_a_backup_thaws(agent: FakeAgent, writer: Holder, tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from engines.backup.sources.lvm.moment import Moment
        with Moment((), Path(sys.argv[1]), longest=600.0) as held:
            print(held._child.pid, flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(script), str(agent.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child.environment(), cwd="/") as parent:
        assert parent.stdout is not None
        holder = int(parent.stdout.readline())
        os.kill(holder, signal.SIGKILL)
        parent.kill()
    assert "guest-fsfreeze-freeze" in agent.asked  # any start of a backup on this machine may have thawed it by now
    subprocess.run(
        [*child.module("engines.cli"), "backup", "list", "--repo", str(tmp_path / "none")],
        capture_output=True,
        env=child.environment(),
        check=False,
    )
    assert not agent.frozen and not records(agent)


def test_a_guest_whose_vm_is_gone_keeps_no_record(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path / "agent")
    with ExitStack() as stack, agent:
        held = stack.enter_context(Moment((), agent.path, longest=60.0))
        os.kill(held._child.pid, signal.SIGKILL)
        held._child.wait()
    assert not records(agent)


def test_holders_of_one_pid_leave_a_record_each(tmp_path: Path) -> None:
    """A pid comes again; here each is the same in a namespace of its own."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from engines.backup.sources.lvm.moment import Moment
        with Moment((), Path(sys.argv[1]), longest=600.0) as held:
            os.kill(held._child.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with FakeAgent(tmp_path / "a") as one, FakeAgent(tmp_path / "b") as other:
        for each in (one, other):
            command = [sys.executable, "-P", "-c", textwrap.dedent(script), str(each.path)]
            alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", '"$@"; exit 0', "sh"]
            subprocess.run([*alone, *command], env=child.environment(), cwd="/", check=True)
            assert "guest-fsfreeze-freeze" in each.asked
        sweeping.sweep()
        assert not one.frozen and not other.frozen
        assert not records(one) and not records(other)
