"""A host that answers a connection and then nothing is a failure with a name and a number of seconds, not a wait."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from engines.fleet.agent import wire
from engines.fleet.config.model import Host
from engines.fleet.reach import ssh
from engines.fleet.round.following import Following, Lost, Order
from engines.job.errors import Failed
from engines.job.jobfile import Job
from tests.engines.backup.store.sshd import Sshd
from tests.engines.fleet.lab import ROOT

BEGUN = '{"say":"begun","run":"r","new":false}'


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    made = Sshd(folder)
    (folder / "known").write_text(f"[127.0.0.1]:{made.port} {(folder / 'host_key.pub').read_text()}")
    (folder / "changed").write_text(f"[127.0.0.1]:{made.port} {(folder / 'key.pub').read_text()}")
    made.new_key("unknown")
    with made:
        yield made


def host(sshd: Sshd, key: str = "key", known: str = "known") -> Host:
    return Host(ssh=f"root@127.0.0.1:{sshd.port}", key=f"{sshd.folder}/{key}", known_hosts=f"{sshd.folder}/{known}")


def allow(sshd: Sshd, restrict: str) -> None:
    """Have the key do that alone; a connection that is shared has it as it was."""
    (sshd.folder / "authorized_keys").write_text(f"{restrict}{(sshd.folder / 'key.pub').read_text()}")


@pytest.mark.parametrize(
    ("given", "helps"),
    [
        ({"known": "changed"}, "its host key is not the one in"),
        ({"key": "unknown"}, 'put this in its ~/.ssh/authorized_keys: restrict,command="crashcart fleet-agent"'),
    ],
)
def test_a_host_that_lets_nobody_in_is_told_with_what_helps(given: dict[str, str], helps: str, sshd: Sshd) -> None:
    with pytest.raises(Failed, match=r"^host hv1") as caught:
        ssh.one("hv1", host(sshd, **given), wire.About())
    assert caught.value.what_helps.startswith(helps)


def test_an_agent_that_hangs_is_given_up(sshd: Sshd) -> None:
    allow(sshd, 'restrict,command="cat >/dev/null; sleep 1000" ')
    with pytest.raises(Failed, match=rf"^host hv1 \({host(sshd).ssh}\) did not answer within 2 s") as caught:
        ssh.one("hv1", host(sshd), wire.About(), within=2.0)
    assert caught.value.what_helps


@pytest.mark.parametrize(
    ("says", "within", "why"),
    [
        ("sleep 1000", (1.0, 600.0), "did not answer within 1 s"),  # it hangs before the run is begun
        (f"echo '{BEGUN}'; sleep 1000", (600.0, 1.0), "did not answer within 1 s"),  # and while it is followed
    ],
)
def test_a_job_whose_agent_hangs_comes_back(says: str, within: tuple[float, float], why: str, sshd: Sshd) -> None:
    sshd.cut()
    (sshd.folder / "agent").write_text(f"cat >/dev/null; {says}")
    allow(sshd, f'restrict,command="sh {sshd.folder}/agent" ')
    order = Order(
        name="hv1", host=host(sshd), key="k", words=Job(task="backup"), started=False, patience=2.0, words_within=within
    )
    heard: list[str] = []
    outcome = Following(order).outcome(lambda answer: heard.append(type(answer).__name__))
    assert isinstance(outcome, Lost) and why in outcome.why, outcome
    assert set(heard) == ({"Begun"} if "echo" in says else set())


def test_a_key_that_opens_a_shell_is_told_from_one_that_asks_the_agent(sshd: Sshd) -> None:
    sshd.cut()
    agent = f"cd {ROOT} && {sys.executable} -P -m engines.cli fleet-agent"
    allow(sshd, f'restrict,command="PYTHONPATH={ROOT} {agent}" ')
    assert ssh.held_to_the_agent("hv1", host(sshd))
    sshd.cut()
    allow(sshd, "")
    assert not ssh.held_to_the_agent("hv1", host(sshd))
    assert ssh.held_to_the_agent("here", Host(ssh="local"))
    for silent in ("true", "echo {}", "cat"):
        sshd.cut()
        allow(sshd, f'restrict,command="{silent}" ')
        with pytest.raises(ssh.Unreachable, match="hv1"):
            ssh.held_to_the_agent("hv1", host(sshd))


def test_every_question_that_is_asked_once_has_its_deadline() -> None:
    runs = {wire.Start, wire.Attach}
    assert ssh.WITHIN.keys() == {*wire.AnyRequest.__args__} - runs
    assert all(seconds >= 60 for seconds in ssh.WITHIN.values())


def test_a_connection_is_shared_by_those_alone_who_have_the_same_key(sshd: Sshd) -> None:
    """Two fleets of one controller, each with a key that may do another thing on the host."""
    keys = ("first", "second")
    for name in keys:
        sshd.new_key(name)
    lines = [f'restrict,command="echo {name}" {(sshd.folder / f"{name}.pub").read_text()}' for name in keys]
    (sshd.folder / "authorized_keys").write_text("".join(lines))
    for name in (*keys, "first"):
        done = subprocess.run(ssh.argv(host(sshd, key=name)), stdin=subprocess.DEVNULL, capture_output=True, check=True)
        assert done.stdout.decode().strip() == name
