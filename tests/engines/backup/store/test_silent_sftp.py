"""A far sshd that lets us in and then says nothing: each call has an end, and so has the trying again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import asyncssh
import pytest
from typing_extensions import override

from engines.backup.store.sftp.access import SftpAccess, parse
from engines.backup.store.sftp.line import LATE, Line
from engines.job.errors import Refused


class Mute(asyncssh.SFTPServer):
    """Hears and never answers."""

    @override
    async def stat(self, path: bytes) -> Any:
        await asyncio.sleep(3600)


class Deaf(asyncssh.SSHServer):
    """Opens no session."""

    @override
    def session_requested(self) -> Any:
        return asyncio.sleep(3600)


class Open(asyncssh.SSHServer):
    """Lets everybody in."""

    @override
    def begin_auth(self, username: str) -> bool:
        return False


class Closed(Deaf, Open):
    """Lets everybody in, and opens no session."""


@pytest.fixture
def far(request: pytest.FixtureRequest) -> Iterator[Line]:
    """A line to a server of that kind."""
    loop, key = asyncio.new_event_loop(), asyncssh.generate_private_key("ssh-ed25519")
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def listening() -> Any:
        kind = request.param
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=kind, server_host_keys=[key], sftp_factory=Mute if kind is Open else None
        )

    server = asyncio.run_coroutine_threadsafe(listening(), loop).result(60)
    address = parse(f"sftp://root@127.0.0.1:{server.get_port()}/r")
    line = Line(address, SftpAccess(host_key=key.get_fingerprint(), patience=120.0), answers_within=5.0)
    yield line
    line.end()
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


@pytest.mark.parametrize("far", [Closed], indirect=True)
def test_a_session_that_is_never_opened_is_given_up(far: Line) -> None:
    with pytest.raises(Refused, match="no line to"):
        far.open()


@pytest.mark.parametrize("far", [Open], indirect=True)
def test_a_question_that_is_never_answered_is_asked_a_few_times_and_no_more(far: Line) -> None:
    far.open()
    with pytest.raises(OSError, match=f"does not answer, {LATE} times in a row"):
        far.call(lambda client: client.stat(b"/r"))
    assert far.age == LATE
