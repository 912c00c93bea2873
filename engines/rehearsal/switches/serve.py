"""A rehearsal switch on loopback: an ssh server that goes away and comes back, and a console line that stays."""

from __future__ import annotations

import asyncio
import errno
import functools
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from engines.rehearsal.switches.line import HungUp, Line
from engines.rehearsal.switches.shell import Shell
from engines.rehearsal.switches.switch import Switch

T = TypeVar("T")

SSH_PORT = 2222
CONSOLE_PORT = 2300
LEGACY = {
    "kex_algs": ["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1"],
    "encryption_algs": ["aes128-cbc", "3des-cbc"],
    "mac_algs": ["hmac-sha1"],
}


@functools.cache
def _key(legacy: bool, number: int) -> Any:
    import asyncssh

    if not legacy:
        return asyncssh.generate_private_key("ssh-ed25519", comment=str(number))
    return asyncssh.generate_private_key("ssh-rsa", key_size=2048, comment=str(number))


def _pair(legacy: bool, number: int) -> Any:
    """A host key; an old switch's signs with ssh-rsa (SHA-1) and nothing else."""
    import asyncssh

    pair: Any = asyncssh.load_keypairs([_key(legacy, number)])[0]
    if legacy:
        pair.host_key_algorithms = (b"ssh-rsa",)
        pair.sig_algorithms = (b"ssh-rsa",)
        pair.set_sig_algorithm(b"ssh-rsa")
    return pair


def host_key(switch: Switch) -> str:
    """The SHA256 fingerprint of the key that it shows now."""
    return str(_key(switch.knobs.legacy, _number(switch)).get_fingerprint())


def _number(switch: Switch) -> int:
    return (switch.reboots if switch.knobs.new_host_key else 0) * 1000 + switch.serial


class SwitchHost:
    """One switch's sockets at `address`: ssh and console."""

    def __init__(self, switch: Switch, address: str) -> None:
        self.switch = switch
        self.address = address
        self.connections: list[Any] = []
        self._ssh: Any = None
        self._mute: asyncio.Server | None = None
        self._held: list[asyncio.StreamWriter] = []
        self._console: asyncio.Server | None = None
        self._consoles: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        switch.serve = self.enter

    async def start(self) -> None:
        """Listen."""
        self._console = await asyncio.start_server(self._on_console, self.address, CONSOLE_PORT)
        await self.enter("ready")

    async def stop(self) -> None:
        """Close everything."""
        await self._quiet()
        if self._console:
            self._console.close()
        for task in self._consoles:
            task.cancel()
        await asyncio.gather(*self._consoles, return_exceptions=True)

    async def enter(self, stage: str) -> None:
        """Follow the switch into a stage."""
        self._changed.set()
        self._changed = asyncio.Event()
        if stage == "down":
            await self._quiet()
        elif stage == "silent" and not self.switch.unreachable:
            self._mute = await _insisting(lambda: asyncio.start_server(self._hold, self.address, SSH_PORT))
        elif stage in ("init", "ready"):
            await self._unmute()
            if self._ssh is None and not self.switch.unreachable:
                await self._listen()

    async def _quiet(self) -> None:
        await self._unmute()
        if self._ssh:
            self._ssh.close()
            self._ssh = None
        for connection in self.connections:
            connection.abort()
        self.connections.clear()

    async def _unmute(self) -> None:
        for writer in self._held:
            writer.close()
        self._held.clear()
        if self._mute:
            self._mute.close()
            self._mute = None

    async def _hold(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held.append(writer)

    async def _listen(self) -> None:
        import asyncssh

        knobs, switch = self.switch.knobs, self.switch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cryptography warns of FFDH, which an old switch is about
            self._ssh = await _insisting(
                lambda: asyncssh.listen(
                    self.address,
                    SSH_PORT,
                    server_host_keys=[_pair(knobs.legacy, _number(switch))],
                    server_factory=functools.partial(_login(), self),
                    process_factory=self._on_ssh,
                    line_editor=False,
                    reuse_address=True,
                    **(LEGACY if knobs.legacy else {}),
                )
            )

    async def _on_ssh(self, process: Any) -> None:
        import asyncssh

        async def read() -> str:
            while True:
                try:
                    return str(await process.stdin.read(4096))
                except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived, asyncssh.BreakReceived):
                    continue

        def write(text: str) -> None:
            if process.is_closing():
                raise HungUp
            process.stdout.write(text)

        knobs = self.switch.knobs
        line = Line(read, write, knobs.cps, lambda: knobs.idle_logout)
        shut = knobs.shut or (self.switch.reboots and knobs.shut_after)
        try:
            if shut:
                await line.say(f"{shut}\n")
            else:
                await Shell(self.switch, line).run()
        except (asyncssh.Error, OSError, HungUp):
            self.connections = [known for known in self.connections if known is not process.get_connection()]
        process.exit(0)

    async def _on_console(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._consoles.append(task)

        async def read() -> str:
            return (await reader.read(4096)).decode("utf-8", "replace")

        def write(text: str) -> None:
            if writer.is_closing():
                raise HungUp
            writer.write(text.encode())

        line = Line(read, write)
        try:
            while True:
                await self._console_session(line)
        except (HungUp, ConnectionError):
            writer.close()

    async def _console_session(self, line: Line) -> None:
        """Until logout or the next change of stage: a login and a session, or boot messages."""
        if self.switch.stage in ("down", "silent"):
            await line.say("\nBooting... please wait\n")
            await self._changed.wait()
            return
        session = asyncio.ensure_future(self._console_login(line))
        change = asyncio.ensure_future(self._until_down())
        await asyncio.wait((session, change), return_when=asyncio.FIRST_COMPLETED)
        for task in (session, change):
            task.cancel()
        await asyncio.gather(change, return_exceptions=True)
        try:
            await session
        except asyncio.CancelledError:
            await line.say("\nThe system is going down for reboot NOW!\n")

    async def _until_down(self) -> None:
        while self.switch.stage != "down":
            await self._changed.wait()

    async def _console_login(self, line: Line) -> None:
        await line.line()
        user = await line.line(f"\n{self.switch.knobs.console_asks or self.switch.hostname + ' login:'} ")
        password = await line.line("Password: ", echo=False)
        if not self.switch.accepts(user, password):
            await line.say("\nLogin incorrect\n")
            return
        await Shell(self.switch, line).run()


async def _insisting(listen: Callable[[], Awaitable[T]]) -> T:
    """Listen, also where a child that was just forked in this process still holds the closed socket."""
    for _ in range(3000):
        try:
            return await listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            await asyncio.sleep(0.02)
    return await listen()


@functools.cache
def _login() -> Any:
    """The class of an ssh login; made here so that asyncssh is imported only where a switch is served."""
    import asyncssh

    class Login(asyncssh.SSHServer):
        """Asks for the password, late where the knobs say so."""

        def __init__(self, host: SwitchHost) -> None:
            self._host = host

        def connection_made(self, conn: Any) -> None:
            self._host.connections.append(conn)
            self._conn = conn

        def begin_auth(self, username: str) -> bool:  # noqa: ARG002  asyncssh calls it so
            if self._host.switch.knobs.banner:
                self._conn.send_auth_banner(self._host.switch.knobs.banner)
            return True

        def password_auth_supported(self) -> bool:
            return not self._host.switch.knobs.kbdint

        async def validate_password(self, username: str, password: str) -> bool:
            await asyncio.sleep(self._host.switch.knobs.login_delay)
            return self._host.switch.accepts(username, password)

        def public_key_auth_supported(self) -> bool:
            return bool(self._host.switch.knobs.keys)

        def validate_public_key(self, username: str, key: Any) -> bool:
            switch = self._host.switch
            return username == switch.user and str(key.get_fingerprint()) in switch.knobs.keys

        def kbdint_auth_supported(self) -> bool:
            return self._host.switch.knobs.kbdint

        def get_kbdint_challenge(self, *_asked: str) -> Any:
            return "", "", "", [("Password: ", False)]

        async def validate_kbdint_response(self, username: str, responses: Any) -> Any:
            right = await self.validate_password(username, responses[0])
            more = self._host.switch.knobs.second_factor
            return ("", "", "", [(more, False)]) if right and more else right

    return Login
