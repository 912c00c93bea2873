"""Get to a switch by whichever way is open, with the agreements that were given beforehand or are asked for now."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from engines.host.files import write_whole
from engines.job.contract import AnyEvent, Asked, Log, Warned
from engines.job.errors import Failed, Refused
from engines.job.params import Secret
from engines.vdx.line.access import Access, SessionOpener
from engines.vdx.line.address import Remembered
from engines.vdx.line.console import open_console
from engines.vdx.line.login import fingerprint, open_ssh, widen
from engines.vdx.line.session import Session
from engines.vdx.line.trouble import Trouble

BY_CONSOLE = ("unresolved", "refused", "timeout", "unreachable", "closed", "silent", "key", "full")

Reaching = Generator[AnyEvent, str | None, tuple[Session, Access]]


@dataclasses.dataclass(frozen=True)
class HostKeys:
    """Fingerprints agreed to beforehand: of keys that are met for the first time, and in place of a known one."""

    first: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def reach(access: Access, lender: SessionOpener, *, legacy: bool, keys: HostKeys) -> Session:
    """A session for looking; nobody can be asked. Raises Refused."""
    try:
        return _agreed(access, lender, legacy=legacy, keys=keys)
    except Trouble as trouble:
        if not access.console or trouble.kind not in BY_CONSOLE:
            raise trouble.refused() from None
    try:
        return open_console(access, lender)
    except Trouble as trouble:
        raise trouble.refused() from None


def _agreed(access: Access, lender: SessionOpener, *, legacy: bool, keys: HostKeys) -> Session:
    while True:
        try:
            return open_ssh(access, lender, keys.first)
        except Trouble as trouble:
            if trouble.kind == "negotiate":
                names = _allowed(access, lender, trouble)
                if not legacy:
                    raise
                Remembered(access.where).agree(trouble.offer[0], names)
                continue
            if trouble.kind == "hostkey" and trouble.fingerprint in keys.changed:
                return with_new_key(access, lender, trouble.fingerprint)
            raise


def _allowed(access: Access, lender: SessionOpener, trouble: Trouble) -> tuple[str, ...]:
    option, names = widen(access, trouble, lender.patterns)
    if not names:
        raise Refused(
            f"{access.where} offers only {option} {', '.join(trouble.offer[1]) or 'algorithms that ssh does not name'}",
            "none of these is safe enough to agree to; reach it by --console",
        )
    return names


def with_new_key(access: Access, lender: SessionOpener, wanted: str) -> Session:
    """Log in with the host key of that fingerprint in place of the known one. Raises Refused where another shows up."""
    kept = Remembered(access.where)
    old = kept.known_hosts.read_bytes()
    kept.forget_key()
    try:
        return open_ssh(access, lender, (wanted,))
    except Trouble as trouble:
        _put_back(kept, old)
        if trouble.kind != "newkey":
            raise
        raise Refused(
            f"{access.where} showed {trouble.fingerprint} after {wanted} was agreed to",
            "find out who answers at that address",
        ) from None
    except BaseException:
        _put_back(kept, old)
        raise


def _put_back(kept: Remembered, old: bytes) -> None:
    if not kept.known_hosts.exists():
        write_whole(kept.known_hosts, old)


def reaching(access: Access, lender: SessionOpener, *, reset: bool) -> Reaching:
    """A session for a run, and the login it took; asks about old algorithms, a new host key, a refused password.

    reset: whether the switch may be at factory values.
    Raises Trouble where asking does not help, Failed where the answer is no.
    """
    while True:
        try:
            return (yield from _ask_for_crypto_and_key(access, lender)), access
        except Trouble as trouble:
            if trouble.kind == "auth" and reset:
                access = yield from ask_login(access, lender, trouble.where)
                continue
            if not access.console or trouble.kind not in BY_CONSOLE:
                raise
            yield Log(text=f"{trouble.where}: {trouble.line}; trying the console: {access.console}")
        try:
            return open_console(access, lender), access
        except Trouble as trouble:
            if trouble.kind != "auth" or not reset:
                raise
            access = yield from ask_login(access, lender, trouble.where)


def _ask_for_crypto_and_key(access: Access, lender: SessionOpener) -> Generator[AnyEvent, str | None, Session]:
    keys, asked = access.host_keys, False
    while True:
        try:
            return open_ssh(access, lender, keys)
        except Trouble as trouble:
            if trouble.kind == "newkey" and trouble.fingerprint and not asked:
                yield from _agree(
                    f"{access.where} shows its ssh host key for the first time: {trouble.fingerprint}. Compare it with "
                    "what the switch shows on its console. Trust it?"
                )
                yield Warned(text=f"{access.where}: ssh host key {trouble.fingerprint} trusted, met for the first time")
                keys, asked = (trouble.fingerprint,), True
                continue
            if trouble.kind == "negotiate":
                names = _allowed(access, lender, trouble)
                yield from _agree(f"{access.where} offers only old ssh algorithms ({', '.join(names)}). Use them?")
                Remembered(access.where).agree(trouble.offer[0], names)
                yield Warned(text=f"{access.where}: old ssh algorithms agreed to: {', '.join(names)}")
                continue
            if trouble.kind != "hostkey" or not trouble.fingerprint:
                raise
            known = fingerprint(Remembered(access.where).known_hosts)
            yield from _agree(
                f"{access.where} shows another ssh host key than before: {trouble.fingerprint}, known is {known}. "
                "After a reset that can be so. Trust it?"
            )
            yield Warned(text=f"{access.where}: new ssh host key {trouble.fingerprint} in place of {known}")
            return with_new_key(access, lender, trouble.fingerprint)


def _agree(question: str) -> Generator[AnyEvent, str | None, None]:
    answer = yield Asked(question=question, choices=("yes", "no"))
    if answer != "yes":
        raise Failed("declined: " + question, "go on later: crashcart resume, by --console if need be")


def ask_login(access: Access, lender: SessionOpener, where: str) -> Generator[AnyEvent, str | None, Access]:
    """Another user or password, typed by the technician; never a try of our own."""
    factory = [name for name in lender.patterns.factory_user if name != access.user]
    answer = yield Asked(
        question=f"{where} does not accept {access.user} and the password. "
        "It may be starting still, or be at factory values.",
        choices=("try the same again", *(f"log in as {name}" for name in (access.user, *factory)), "stop"),
    )
    if answer == "try the same again":
        return access
    if answer is None or answer == "stop":
        raise Failed(
            f"{where} does not accept {access.user} and the password", "find the password, then: crashcart resume"
        )
    name = answer.removeprefix("log in as ")
    password = yield Asked(question=f"password of {name} at {where}", secret=True)
    return dataclasses.replace(access, user=name, password=Secret(password or ""))
