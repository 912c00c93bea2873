"""Log in to a switch by /usr/bin/ssh, or over a console line, as a careful person would."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.job.contract import Cancel
from engines.job.errors import BadParam, Refused
from engines.job.params import Secret
from engines.vdx.line.address import Address, Remembered
from engines.vdx.line.patterns import Patterns, fits
from engines.vdx.line.session import ANY_PROMPT, Session, SessionLost
from engines.vdx.line.terminal import Ended, Silent, Terminal
from engines.vdx.line.transcript import Transcript
from engines.vdx.line.trouble import Trouble, kind_of

ALLOWED = {
    "KexAlgorithms": "legacy_kex",
    "HostKeyAlgorithms": "legacy_hostkey",
    "Ciphers": "legacy_cipher",
    "MACs": "legacy_mac",
}
SSH = "/usr/bin/ssh"
LOCKED_KEY = re.compile(r"Enter passphrase for (key )?\S+: ?$")
ASKS_FOR_KEY = re.compile(r"continue connecting \(yes/no")
MUTE_TRIES = 2
CONNECT = 15  # s for TCP and ssh's greeting
LOGIN = 60.0  # s from the password to the prompt: AAA servers are slow when they are down


@dataclass(frozen=True)
class Ways:
    """What ssh is given besides a password: a key's file, the agent, a machine to jump over, a config of the user's."""

    key_file: str = ""
    agent: bool = False
    jump: str = ""
    config: str = ""

    @property
    def keys(self) -> bool:
        """Whether a login may go without a password."""
        return bool(self.key_file or self.agent or self.config)

    @property
    def direct(self) -> bool:
        """Whether the switch's own port can be looked at from here."""
        return not self.jump and not self.config


@dataclass(frozen=True)
class Access:
    """How one switch is reached. `name` is what the technician calls it: the switch, or the mate.

    password: empty where a key is to do. host_keys: fingerprints agreed to beforehand.
    """

    name: str
    where: Address
    user: str
    password: Secret
    console: str = ""
    ways: Ways = Ways()
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionOpener:
    """What logins share: wordings, the stop request, and a transcript for each (None for no record)."""

    patterns: Patterns
    cancel: Cancel
    transcript: Callable[[Access], Transcript | None]


def ssh_argv(access: Access, kept: Remembered) -> list[str]:
    """The whole command; every option here answers a failure that scripts have had."""
    options = {
        "EscapeChar": "none",  # "~." in a config line would end the session
        "LogLevel": "INFO",  # ERROR hides "Unable to negotiate"
        "NumberOfPasswordPrompts": "1",
        "PreferredAuthentications": "keyboard-interactive,password",
        "PubkeyAuthentication": "no",
        **_keys(access),
        "ConnectTimeout": str(CONNECT),
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "UserKnownHostsFile": str(kept.known_hosts).replace("%", "%%"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "ask",
        "UpdateHostKeys": "no",
        "HashKnownHosts": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }
    argv = [SSH, "-F", access.ways.config or "/dev/null", "-tt", "-l", access.user]
    if not access.ways.config or access.where.port != 22:  # else the config may have another port
        argv += ["-p", str(access.where.port)]
    for name, value in options.items():
        argv += ["-o", f'{name}="{value}"' if " " in value else f"{name}={value}"]
    for name, names in kept.legacy().items():
        argv += ["-o", f"{name}=+{','.join(names)}"]
        if name == "HostKeyAlgorithms" and access.ways.keys:  # who signs with SHA-1 takes no other signature either
            argv += ["-o", f"PubkeyAcceptedAlgorithms=+{','.join(names)}"]
    if access.ways.jump:
        argv += ["-J", access.ways.jump]
    return [*argv, "--", access.where.host]


def _keys(access: Access) -> dict[str, str]:
    ways = access.ways
    if not ways.keys:
        return {}
    asked = ",keyboard-interactive,password" if access.password.reveal() else ""
    found = {"PubkeyAuthentication": "yes", "PreferredAuthentications": "publickey" + asked}
    if not ways.agent and not ways.config:
        found["IdentityAgent"] = "none"
    if ways.key_file:
        found |= {"IdentityFile": ways.key_file.replace("%", "%%"), "IdentitiesOnly": "no" if ways.agent else "yes"}
    return found


def open_ssh(access: Access, lender: SessionOpener, keys: tuple[str, ...] = ()) -> Session:
    """A session by ssh. Raises Trouble; weak algorithms are not agreed to here.

    keys: fingerprints, one of which a host key that is met for the first time must have.
    An ssh that ends before the password without a word is started again: a pseudo-terminal may lose the last words of
    a program that ends at once, and those are what tells the trouble.
    """
    for _ in range(MUTE_TRIES):
        try:
            return _by_ssh(access, lender, keys)
        except Trouble as trouble:
            if trouble.kind != "closed" or trouble.said.strip():
                raise
    return _by_ssh(access, lender, keys)


def _by_ssh(access: Access, lender: SessionOpener, keys: tuple[str, ...]) -> Session:
    if not Path(SSH).exists():
        raise Refused(f"{SSH} is not there", "install it: apt install openssh-client")
    kept = Remembered(access.where)
    kept.prepare()
    transcript = lender.transcript(access)
    if transcript:
        transcript.hide(access.password)
        transcript.mark(f"ssh to {access.where} as {access.user}")
    agent = access.ways.agent or bool(access.ways.config)
    terminal = Terminal(ssh_argv(access, kept), transcript, lender.patterns, lender.cancel, echo=True, agent=agent)
    session = Session(terminal, transcript, lender.patterns, "ssh")
    try:
        _pass_ssh(terminal, access, keys)
        session.learn()
    except Ended as ended:
        session.close()
        raise Trouble(str(access.where), kind_of(ended.said), ended.said) from None
    except (Silent, SessionLost) as error:
        session.close()
        raise Trouble(str(access.where), "silent", error.said) from None
    except BaseException:
        session.close()
        raise
    session.host_key = fingerprint(kept.known_hosts)
    session.weak = tuple(name for names in kept.legacy().values() for name in names)
    return session


def _pass_ssh(terminal: Terminal, access: Access, keys: tuple[str, ...]) -> None:
    """Answer ssh's own questions, each once; a banner that says "password:" is none.

    A new host key is agreed to by typing its fingerprint, which ssh itself compares with the key it met.
    """
    who = f"{re.escape(access.user)}@(?:{'|'.join(re.escape(name) for name in _names(access))})"
    asks = re.compile(rf"\({who}\) .*|{who}'s password: ?", re.IGNORECASE)

    def asked(text: str) -> str | None:
        last = text.rsplit("\n", 1)[-1]
        if ASKS_FOR_KEY.search(last):
            return "key " + text
        if LOCKED_KEY.search(last):
            return "locked"
        return "password" if asks.fullmatch(last) else ("prompt" if ANY_PROMPT.fullmatch(last) else None)

    said = terminal.until(asked, CONNECT + 15.0)
    if said.startswith("key "):
        trouble = Trouble(str(access.where), "newkey", said.removeprefix("key "))
        if trouble.fingerprint not in keys:
            terminal.send("no\r")
            raise trouble
        terminal.send(trouble.fingerprint + "\r")
        said = terminal.until(asked, CONNECT + 15.0)
    if said == "prompt":
        return
    if said == "locked":
        raise Trouble(
            str(access.where),
            "auth",
            "Permission denied: the key file has a passphrase; add it to an agent, use --agent",
        )
    if said == "password" and not access.password.reveal():
        raise Trouble(str(access.where), "auth", "Permission denied: the key was not taken, and no password is given")
    if said != "password":
        raise Trouble(str(access.where), "closed", "ssh asks about the host key a second time")
    if not terminal.echo_is_off(5.0):
        raise Trouble(
            str(access.where), "closed", "something that looks like ssh's password prompt does not turn echo off"
        )
    terminal.send_secret(access.password, after=0.01)
    try:
        said = terminal.until(asked, LOGIN)
    except Ended as ended:
        words = ended.said if ended.said.strip() else "the line ended after the password"
        raise Ended(words) from None
    if said == "password":
        raise Trouble(str(access.where), "auth", "Permission denied: the password was not accepted")


def _names(access: Access) -> list[str]:
    """What ssh calls the switch when it asks for its password; never a machine on the way to it."""
    if not access.ways.config:
        return [access.where.host]
    argv = [SSH, "-G", "-F", access.ways.config, "-l", access.user, "--", access.where.host]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    names = [line.partition(" ")[2] for line in ran.stdout.splitlines() if line.startswith("hostname ")]
    return [access.where.host, *names]


def open_console(access: Access, lender: SessionOpener, seconds: float = 20.0) -> Session:
    """A session over the console command. Raises Trouble."""
    transcript = lender.transcript(access)
    if transcript:
        transcript.hide(access.password)
        transcript.mark(f"console: {access.console}")
    terminal = Terminal(console_argv(access.console), transcript, lender.patterns, lender.cancel, echo=False)
    session = Session(terminal, transcript, lender.patterns, "console")
    try:
        _pass_console(terminal, access, lender.patterns, seconds)
        session.learn()
        if session.context:
            session.run("end")
    except Ended as ended:
        session.close()
        raise Trouble("the console", "console", ended.said) from None
    except (Silent, SessionLost) as error:
        session.close()
        raise Trouble("the console", "silent", error.said) from None
    except BaseException:
        session.close()
        raise
    return session


def console_argv(command: str) -> list[str]:
    """The console command as an argument list. Raises BadParam."""
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise BadParam("console", command, f"a command with its arguments ({error})") from None
    found = shutil.which(argv[0]) if argv else None
    if found is None:
        raise BadParam("console", command, "a command that is installed here, such as telnet, console or cu")
    return [found, *argv[1:]]


def _pass_console(terminal: Terminal, access: Access, patterns: Patterns, seconds: float) -> None:
    def asked(text: str) -> str | None:
        last = text.rsplit("\n", 1)[-1]
        if fits(patterns.console_denied, text):
            return "denied"
        if fits(patterns.console_login, last):
            return "login"
        if fits(patterns.console_password, last):
            return "password"
        return "prompt" if ANY_PROMPT.fullmatch(last) else None

    said, tries, given = "", max(1, int(seconds / 2)), False
    for _ in range(tries):
        terminal.send("\r")
        try:
            said = terminal.until(asked, 2.0, settle=0.1)
            break
        except Silent:
            continue
    if said == "password":
        terminal.send("\r")
        said = terminal.until(asked, 10.0, settle=0.1)
    while said in ("login", "password", "denied"):
        if said == "denied" or (said == "login" and given):
            raise Trouble("the console", "auth", "the console did not accept the user or the password")
        if said == "login":
            terminal.send(access.user + "\r")
        else:
            terminal.send_secret(access.password)
            given = True
        said = terminal.until(asked, LOGIN, settle=0.1)
    if not said:
        raise Silent("", seconds)


def widen(access: Access, trouble: Trouble, patterns: Patterns) -> tuple[str, tuple[str, ...]]:
    """The option and the algorithms that would let this switch in; no names where none of its offer is allowed."""
    option, offered = trouble.offer
    allowed = getattr(patterns, ALLOWED[option]) if option else ()
    known = Remembered(access.where).legacy().get(option, ())
    return option, tuple(name for name in offered if name in allowed and name not in known)


def fingerprint(known_hosts: Path) -> str:
    """The SHA256 fingerprint of the host key in a file; empty where there is none."""
    ran = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(known_hosts)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    words = ran.stdout.split()
    return words[1] if len(words) > 1 else ""
