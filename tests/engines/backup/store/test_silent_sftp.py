"""A far sshd that lets us in and then says nothing: each call has an end, and so has the trying again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from typing_extensions import override

from engines.backup.store.sftp.access import SftpAccess, parse
from engines.backup.store.sftp.appender import SftpAppender
from engines.backup.store.sftp.files import FarFiles
from engines.backup.store.sftp.line import LATE, Line
from engines.backup.store.sftp.reading import FarReading
from engines.job.errors import Refused


async def silence(*_: object) -> Any:
    """No answer."""
    await asyncio.sleep(3600)


class Mute(asyncssh.SFTPServer):
    """Opens files, and never answers anything else."""

    stat = lstat = read = write = rename = posix_rename = link = fsync = close = silence  # type: ignore[assignment]


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
def far(request: pytest.FixtureRequest) -> Iterator[Callable[[], Line]]:
    """Makes lines to a server of that kind."""
    loop, key = asyncio.new_event_loop(), asyncssh.generate_private_key("ssh-ed25519")
    loop.set_exception_handler(lambda *_: None)  # what still sleeps at the end is no news
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def listening() -> Any:
        kind = request.param
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=kind, server_host_keys=[key], sftp_factory=Mute if kind is Open else None
        )

    server = asyncio.run_coroutine_threadsafe(listening(), loop).result(60)
    address = parse(f"sftp://root@127.0.0.1:{server.get_port()}/r")
    with ExitStack() as stack:

        def line() -> Line:
            made = Line(address, SftpAccess(host_key=key.get_fingerprint(), patience=120.0), answers_within=5.0)
            stack.callback(made.end)
            return made

        yield line
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


@pytest.mark.parametrize("far", [Closed], indirect=True)
def test_a_session_that_is_never_opened_is_given_up(far: Callable[[], Line]) -> None:
    with pytest.raises(Refused, match="no line to"):
        far().open()


def appended(files: FarFiles) -> None:
    """A file that is written and gets its name."""
    appender = SftpAppender(files, files.move, "new", 0)
    appender.write([b"x"])
    appender.seal("sealed")


WORK: tuple[Callable[[FarFiles], Any], ...] = (
    lambda files: files.stat("one.pack"),
    lambda files: FarReading(files).read("one.pack", 0, 4),
    lambda files: FarReading(files).read("one.json"),
    lambda files: list(FarReading(files).read_all(["one.json", "one.pack"], 100)),
    lambda files: files.write("new.json", b"x"),
    lambda files: files.link("one.json", "two.json", b"x"),
    lambda files: files.move("one.json", "two.json"),
    lambda files: files.move_all([("one.json", "two.json"), ("one.pack", "two.pack")]),
    appended,
)


@pytest.mark.parametrize("far", [Open], indirect=True)
def test_a_question_that_is_never_answered_is_asked_a_few_times_and_no_more(
    far: Callable[[], Line], tmp_path: Path
) -> None:
    for name in ("one.pack", "one.json"):
        tmp_path.joinpath(name).write_bytes(b"here")
    lines = [far() for _ in WORK]
    for line in lines:
        line.open()

    def asked(line: Line, work: Callable[[FarFiles], Any]) -> None:
        with pytest.raises(OSError, match=f"does not answer, {LATE} times in a row"):
            work(FarFiles(line, str(tmp_path)))
        assert line.age <= 2 * LATE

    with ThreadPoolExecutor(len(WORK)) as pool:
        list(pool.map(asked, lines, WORK))
