"""A host that answers a connection and then nothing is a failure with a name and a number of seconds, not a wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.fleet.agent import wire
from engines.fleet.config.model import Host
from engines.fleet.reach import ssh
from engines.job.errors import Failed
from tests.engines.backup.store.sshd import Sshd


def test_an_agent_that_hangs_is_given_up(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path)
    (tmp_path / "authorized_keys").write_text(
        f'restrict,command="cat >/dev/null; sleep 1000" {(tmp_path / "key.pub").read_text()}'
    )
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(tmp_path / 'host_key.pub').read_text()}")
    with sshd:
        host = Host(ssh=f"root@127.0.0.1:{sshd.port}", key=f"{tmp_path}/key", known_hosts=str(known))
        with pytest.raises(Failed, match=rf"^host hv1 \({host.ssh}\) did not answer within 2 s") as caught:
            ssh.one("hv1", host, wire.About(), within=2.0)
    assert caught.value.what_helps


def test_every_question_that_is_asked_once_has_its_deadline() -> None:
    runs = {wire.Start, wire.Attach}
    assert ssh.WITHIN.keys() == {*wire.AnyRequest.__args__} - runs
    assert all(seconds >= 60 for seconds in ssh.WITHIN.values())
