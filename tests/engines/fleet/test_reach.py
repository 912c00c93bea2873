"""What a host that was taken over may answer: the controller keeps its memory, its disk and its night."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.fleet.agent import wire
from engines.fleet.config.model import Host
from engines.fleet.reach import ssh
from tests.engines.backup.store.sshd import Sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as up:
        yield up


def taken_over(sshd: Sshd, says: str) -> Host:
    """A host whose forced command is another."""
    folder: Path = sshd.folder
    (folder / "says").write_text(says)
    (folder / "authorized_keys").write_text(f'restrict,command="sh {folder}/says" {(folder / "key.pub").read_text()}')
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {(folder / 'host_key.pub').read_text()}")
    return Host(ssh=f"root@127.0.0.1:{sshd.port}", key=str(folder / "key"), known_hosts=str(folder / "known_hosts"))


@pytest.mark.parametrize(
    "says",
    [
        "exec tr '\\0' x < /dev/zero",
        "exec yes >&2",
        "echo '{}'; exec yes '{}'",
        "yes '[' | tr -d '\\n' | head -c 99999",
    ],
    ids=["a line without an end", "noise without an end", "no answer of ours", "a deep answer"],
)
def test_an_answer_without_an_end_is_given_up(sshd: Sshd, says: str) -> None:
    with pytest.raises(ssh.Unreachable, match=r"no agent says|connection was lost|: y; try"):
        ssh.one("hv1", taken_over(sshd, says), wire.About())


def test_an_answer_that_drips_has_a_deadline_in_all(sshd: Sshd) -> None:
    host = taken_over(sshd, """while :; do echo '{"say":"taken","taken":0,"free":1}'; sleep 0.1; done""")
    with pytest.raises(ssh.Unreachable, match="did not answer within 3 s"):
        ssh.one("hv1", host, wire.About(), within=3.0)
