"""A line to a far sshd that is made anew when it breaks; calls wait for it, up to a limit."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engines.backup.store.sftp.access import SftpAccess, SftpAddress, access_file
from engines.backup.store.sftp.within import within
from engines.job.errors import Refused

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")
ANSWERS_WITHIN = 120.0  # s for one call, on a line that is up
STARTS_WITHIN = 30.0  # s for the sftp session of a line that is up
LATE = 3  # calls in a row that may go without an answer, each on a line made anew
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)  # s between tries; the last is repeated
ALIVE = 15.0  # s between keep-alives; three that are not answered break the line
KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
HOST_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsa-sha2-512", "rsa-sha2-256")


class Broken(OSError):
    """The line is down; whether the far side did what was asked is not known."""


class Late(Broken):
    """The line is up, and no answer came in time."""


class Trying:
    """One piece of work that is done again on a new line, though not for ever where the far side never answers."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._late = 0

    def answered(self) -> None:
        """Part of the work is done."""
        self._late = 0

    def again(self, age: int, broken: Broken) -> None:
        """As Line.again. Raises OSError (ETIMEDOUT) after `LATE` calls in a row without an answer."""
        self._late += isinstance(broken, Late)
        if self._late >= LATE:
            words = f"{self._line.address.place} lets us in and does not answer, {self._late} times in a row"
            raise OSError(errno.ETIMEDOUT, words) from None
        self._line.again(age)


class Line:
    """One connection with an sftp session, in a thread of its own. Safe to call from several threads."""

    def __init__(self, address: SftpAddress, access: SftpAccess, answers_within: float = ANSWERS_WITHIN) -> None:
        self.address = address
        self._answers_within = answers_within
        self._access = access
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # what a lost call would yet say has nobody to hear it
        self._lock = threading.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self.age = 0  # how often it was made
        self._given_up = False
        threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True).start()

    def open(self) -> None:
        """Make the line for the first time. Raises Refused."""
        import asyncssh

        try:
            self._run(self._connect())
        except asyncssh.PermissionDenied:
            raise Refused(
                f"{self.address.place} does not let us in",
                f"name the key or the password's file in {access_file()}, or add our key to its authorized_keys",
            ) from None
        except (OSError, asyncssh.Error) as error:
            raise Refused(f"no line to {self.address.place}: {_words(error)}", "is its sshd up: ssh to it") from None

    @property
    def up(self) -> bool:
        """Whether it is made, and not known to be broken."""
        return self._connection is not None and not self._connection.is_closed()

    def close(self) -> None:
        """Hang up; it can be made again."""
        connection, self._client, self._connection = self._connection, None, None
        if connection is not None:
            self._loop.call_soon_threadsafe(connection.abort)

    def end(self) -> None:
        """Hang up for good."""
        connection, self._client, self._connection = self._connection, None, None

        async def ending() -> None:
            if connection is not None:
                connection.abort()
                with suppress(Exception):  # whatever it still has to say, nobody listens
                    await asyncio.wait_for(connection.wait_closed(), 5.0)
            self._loop.stop()

        asyncio.run_coroutine_threadsafe(ending(), self._loop)

    def call(self, work: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        """What `work` returns; done again on a new line where the line breaks. Raises OSError."""
        trying = Trying(self)
        while True:
            age = self.age
            try:
                return self.once(work)
            except Broken as broken:
                trying.again(age, broken)

    def once(self, work: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        """What `work` returns. Raises Broken where the line does, else OSError."""
        return self.result(self.begin(work))

    def begin(self, work: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> Future[T]:
        """Start `work` and go on."""

        async def working() -> T:
            if self._client is None:
                raise Broken(errno.ENOTCONN, "the line is down")
            return await within(self._answers_within, work(self._client))

        return asyncio.run_coroutine_threadsafe(working(), self._loop)

    def result(self, future: Future[T]) -> T:
        """Wait for it. Raises Broken where the line broke, else OSError."""
        import asyncssh

        try:
            return future.result()
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost) as error:
            raise Broken(errno.ENOTCONN, _words(error)) from None
        except TimeoutError as error:
            raise Late(errno.ENOTCONN, _words(error)) from None
        except (ConnectionError, asyncssh.DisconnectError, asyncssh.ChannelOpenError) as error:
            raise Broken(errno.ENOTCONN, _words(error)) from None
        except asyncssh.SFTPError as error:
            raise _os_error(error) from None

    def again(self, age: int) -> None:
        """Make a new line, unless somebody has since the one of that `age`. Raises OSError after a while."""
        import asyncssh

        with self._lock:
            if self.age != age:
                return
            self.close()
            end = time.monotonic() + (0.0 if self._given_up else self._access.patience)
            tries = 0
            while True:
                try:
                    self._run(self._connect())
                    self._given_up = False
                    return
                except (OSError, asyncssh.Error, Refused) as error:
                    if time.monotonic() > end or isinstance(error, Refused):
                        self._given_up = True  # whoever cleans up after this does not wait as long again
                        raise OSError(
                            errno.EHOSTUNREACH, f"the line to {self.address.place} broke: {_words(error)}"
                        ) from None
                time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _connect(self) -> None:
        import asyncssh

        found = HostKey(self._access.host_key, self.address)
        options: dict[str, Any] = {"client_keys": [self._access.key_file]} if self._access.key_file else {}
        if self._access.password is not None:
            options |= {"password": self._access.password.reveal(), "preferred_auth": "password,keyboard-interactive"}
        try:
            connection, _ = await asyncssh.create_connection(
                found.client,
                self.address.host,
                self.address.port,
                username=self.address.user,
                known_hosts=([], [], []),  # then the client is asked, which knows both kinds of pin
                server_host_key_algs=found.algorithms(),
                encryption_algs=CIPHERS,
                compression_algs=None,
                keepalive_interval=ALIVE,
                keepalive_count_max=3,
                connect_timeout=20.0,
                login_timeout=30.0,
                **options,
            )
        except asyncssh.HostKeyNotVerifiable:
            raise found.refused() from None
        try:
            client = await asyncio.wait_for(connection.start_sftp_client(), min(STARTS_WITHIN, self._answers_within))
        except BaseException:
            connection.abort()
            raise
        self._connection, self._client = connection, client
        self.age += 1


class HostKey:
    """Judges the far machine's key: by the fingerprint that is pinned, else by known_hosts."""

    def __init__(self, pinned: str, address: SftpAddress) -> None:
        self._pinned = pinned
        self._address = address
        self._seen = ""
        self._kind = ""
        self._known = [] if pinned else _known_keys(address)

    def algorithms(self) -> list[str]:
        """Which kinds of key to ask for: those that are known, so that another kind does not look like a stranger."""
        kinds = {key.get_algorithm() for key in self._known}
        fitting = [kind for kind in HOST_KEYS if kind in kinds or (kind.startswith("rsa-") and "ssh-rsa" in kinds)]
        return fitting or list(HOST_KEYS)

    def client(self) -> asyncssh.SSHClient:
        """The judge, as asyncssh wants it."""
        import asyncssh

        judged = self.judged

        class Judge(asyncssh.SSHClient):
            """Asked while the line is made."""

            def validate_host_public_key(self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey) -> bool:
                return judged(key)

        return Judge()

    def judged(self, key: asyncssh.SSHKey) -> bool:
        """Whether it is the machine we mean."""
        self._seen, self._kind = key.get_fingerprint(), key.get_algorithm()
        if self._pinned:
            return self._seen == self._pinned
        return key in self._known

    def refused(self) -> Refused:
        """Why the line was not made."""
        place = self._address.place
        if self._pinned or self._known:
            return Refused(
                f"{place} shows another host key than the one we know: {self._seen} ({self._kind})",
                "find out why before anything is sent: a new machine, or somebody in between; "
                f"then correct host_key in {access_file()} or known_hosts",
            )
        return Refused(
            f"the host key of {place} is not known: {self._seen} ({self._kind})",
            "compare it on that machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then write to"
            f" {access_file()}: '{place}: {{host_key: {self._seen}}}'",
        )


def _known_keys(address: SftpAddress) -> list[Any]:
    import asyncssh

    files = [str(path) for name in KNOWN_HOSTS if (path := Path(os.path.expanduser(name))).is_file()]  # noqa: PTH111  with no HOME, pathlib raises
    if not files:
        return []
    with suppress(OSError, ValueError):  # a damaged known_hosts knows nobody
        found = asyncssh.match_known_hosts(asyncssh.read_known_hosts(files), address.host, "", address.port)
        return list(found[0])
    return []


def _os_error(error: asyncssh.SFTPError) -> OSError:
    import asyncssh

    kinds = {
        asyncssh.SFTPNoSuchFile: errno.ENOENT,
        asyncssh.SFTPNoSuchPath: errno.ENOENT,
        asyncssh.SFTPPermissionDenied: errno.EACCES,
        asyncssh.SFTPFileAlreadyExists: errno.EEXIST,
        asyncssh.SFTPNoSpaceOnFilesystem: errno.ENOSPC,
        asyncssh.SFTPQuotaExceeded: errno.EDQUOT,
        asyncssh.SFTPOpUnsupported: errno.EOPNOTSUPP,
    }
    number = next((number for kind, number in kinds.items() if isinstance(error, kind)), errno.EIO)
    return OSError(number, f"the far side says: {error.reason}")


def _words(error: BaseException) -> str:
    if isinstance(error, Refused):
        return error.why
    return str(getattr(error, "reason", "") or getattr(error, "strerror", "") or error or type(error).__name__)
