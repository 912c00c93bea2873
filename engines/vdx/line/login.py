"""Log in to a switch by /usr/bin/ssh, as a careful person would."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from engines.job.errors import Refused
from engines.vdx.line.access import LOGIN, Access, SessionOpener
from engines.vdx.line.address import Remembered
from engines.vdx.line.patterns import Patterns
from engines.vdx.line.session import ANY_PROMPT, Session, SessionLost, standing
from engines.vdx.line.terminal import Ended, Silent, Terminal
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

    first = ""

    def asked_first(text: str) -> str | None:
        nonlocal first
        first = text.rsplit("\n", 1)[-1].strip()
        return asked(text)

    def asked_again(text: str) -> str | None:
        """A prompt that is not the first one again asks for more, but for ssh's own, to which it turns once refused."""
        found, last = asked(text), text.rsplit("\n", 1)[-1].strip()
        other = found == "password" and last != first and not last.endswith("'s password:")
        return f"asks {text}" if other else found

    said = terminal.until(asked_first, CONNECT + 15.0)
    if said.startswith("key "):
        trouble = Trouble(str(access.where), "newkey", said.removeprefix("key "))
        if trouble.fingerprint not in keys:
            terminal.send("no\r")
            raise trouble
        terminal.send(trouble.fingerprint + "\r")
        said = terminal.until(asked_first, CONNECT + 15.0)
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
        said = terminal.until(standing(asked_again), LOGIN)
    except Ended as ended:
        words = ended.said if ended.said.strip() else "the line ended after the password"
        raise Ended(words) from None
    if said == "password":
        raise Trouble(str(access.where), "auth", "Permission denied: the password was not accepted")
    if said.startswith("asks "):
        terminal.kill()
        raise Trouble(str(access.where), "asks", said.removeprefix("asks "))


def _names(access: Access) -> list[str]:
    """What ssh calls the switch when it asks for its password; never a machine on the way to it."""
    if not access.ways.config:
        return [access.where.host]
    argv = [SSH, "-G", "-F", access.ways.config, "-l", access.user, "--", access.where.host]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    names = [line.partition(" ")[2] for line in ran.stdout.splitlines() if line.startswith("hostname ")]
    return [access.where.host, *names]


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
