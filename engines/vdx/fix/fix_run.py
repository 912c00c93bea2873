"""What a run stands on: its plan, its sessions, its record, and what it leaves behind when it ends early."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from engines.host.files import write_whole
from engines.job import lock, runs
from engines.job.contract import AnyEvent, Asked, Context, Events, Log, Plan, StepEnded, StepStarted
from engines.job.errors import Failed, Refused, Stopped
from engines.job.params import Secret
from engines.vdx.fix.link_up import WatchedEnd, up_and_stable
from engines.vdx.fix.progress import FixProgress, backup_file, keep
from engines.vdx.judging.planning import SAVE, Detail, Side
from engines.vdx.line import patterns
from engines.vdx.line.access import Access, SessionOpener
from engines.vdx.line.patterns import Wordings, own_file
from engines.vdx.line.reach import reaching
from engines.vdx.line.session import Armed, Session, SessionLost, Unexpected, complaint
from engines.vdx.line.transcript import Transcript
from engines.vdx.line.trouble import Trouble
from engines.vdx.switch import parse
from engines.vdx.switch.config import digest
from engines.vdx.switch.params import FixParams
from engines.vdx.switch.running_config import proven

T = TypeVar("T")
Doing = Generator[AnyEvent, str | None, T]


class FixRun:
    """One run. `progress` is its record; `reset` whether a switch may be at factory values when it is reached."""

    def __init__(self, plan: Plan, context: Context) -> None:
        self.plan = plan
        self.context = context
        self.params: FixParams = plan.params
        self.detail = msgspec.convert(plan.detail, Detail)
        self.patterns = patterns.load()
        self.lender = SessionOpener(self.patterns, context.cancel, self._transcript)
        self.progress = FixProgress()
        self.reset = False
        self.weak: set[str] = set()
        self.host_keys: dict[str, str] = {}
        self._access: dict[str, Access] = {}
        self._sessions: dict[str, Session] = {}

    # ── the record ──────────────────────────────────────────────────────────────────────────────────

    def reach_phase(self, phase: str) -> None:
        """Write down how far the run has come. Raises Failed before anything is done that could not be recorded."""
        self.progress.phase = phase
        try:
            keep(self.context.folder, self.progress)
        except OSError as error:
            if phase in ("begun", "backed-up", "asked"):
                raise Failed(
                    f"{self.context.folder}: {error.strerror}", "free some space there, then try again"
                ) from None

    def write(self, name: str, text: str) -> Path:
        """A file of the run. Raises Failed."""
        path = self.context.folder / name
        try:
            write_whole(path, text.encode())
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}", "free some space there, then try again") from None
        return path

    def _transcript(self, access: Access) -> Transcript:
        return Transcript(self.context.folder / f"transcript-{access.name}.log")

    # ── sessions ────────────────────────────────────────────────────────────────────────────────────

    def access(self, which: str) -> Doing[Access]:
        """How to reach the switch or the mate; a password that is missing is asked for."""
        if which not in self._access:
            mate = which == "mate"
            where = self.params.mate_where() if mate else self.params.where()
            user = (self.params.mate_user if mate else "") or self.params.user
            secret = (self.context.secrets.get("mate_password") if mate else None) or self.context.secrets.get(
                "password"
            )
            if secret is None and self.params.ways().keys:
                secret = Secret("")
            if secret is None:
                typed = yield Asked(question=f"password of {user} at {where}", secret=True)
                secret = Secret(typed or "")
            console = self.params.mate_console if mate else self.params.console
            keys = self.params.host_keys().first
            self._access[which] = Access(which, where, user, secret, console, self.params.ways(), keys)
        return self._access[which]

    def adopt(self, which: str, session: Session, access: Access) -> None:
        """Use this session from now on."""
        self.hang_up(which)
        self._sessions[which] = session
        self._access[which] = access
        self.weak.update(session.weak)
        if session.host_key:
            self.host_keys[f"{which} {access.where}"] = session.host_key
        session.run("terminal length 0")

    def session(self, which: str) -> Doing[Session]:
        """The session there is, or a new one."""
        if which not in self._sessions:
            access = yield from self.access(which)
            session, access = yield from reaching(access, self.lender, reset=self.reset)
            self.adopt(which, session, access)
        return self._sessions[which]

    def ask(self, which: str, work: Callable[[Session], T]) -> Doing[T]:
        """Do something that may be repeated; a session that was lost meanwhile (idle logout) is opened anew, once."""
        try:
            return work((yield from self.session(which)))
        except SessionLost as lost:
            yield Log(text=f"{which}: {lost}; logging in again")
            self.hang_up(which)
        return work((yield from self.session(which)))

    def hang_up(self, which: str) -> None:
        """Close a session."""
        if which in self._sessions:
            self._sessions.pop(which).close()

    def end(self, side: Side) -> Doing[WatchedEnd]:
        """A verifier's end."""
        return WatchedEnd(side, (yield from self.session(side.which)))

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────

    def step(self, name: str, work: Events) -> Events:
        """One step, told before it acts and when it is done."""
        yield StepStarted(step=name)
        yield from work
        for session in self._sessions.values():
            if session.transcript:
                session.transcript.mark(f"end of step {name}")
        yield StepEnded(step=name)

    def unchanged(self, side: Side) -> Events:
        """See that a switch and its port are as the plan saw them. Raises Refused."""
        vcs = yield from self.ask(side.which, lambda session: session.run("show vcs").text)
        here = next((member for member in parse.members(vcs) if member.here), None)
        shown = yield from self.ask(side.which, lambda session: session.run(f"show interface {side.interface}").text)
        port = next(iter(parse.ports(shown)), None)
        for what, planned, now in (
            ("WWN", side.wwn, here.wwn if here else ""),
            ("rbridge-id", side.rbridge, here.rbridge if here else None),
            ("vcsid", side.vcsid, parse.number(self.patterns.vcs_id, vcs)),
            ("port state", side.line, port.raw if port else ""),
        ):
            if planned != now:
                raise Refused(
                    f"{side.label} has {what} {now or 'unknown'} now, the plan has {planned}",
                    "nothing was touched; review again",
                )

    def take_backup(self, side: Side, ports: list[str], wanted: str) -> Events:
        """Keep a proven copy of a configuration; `wanted` is the digest of the reviewed one, empty for any."""
        text = yield from self.ask(side.which, lambda session: proven(session, ports))
        if wanted and digest(text) != wanted:
            raise Failed(
                f"the configuration of {side.label} has changed since the review",
                "nothing was touched; review again",
            )
        path = self.write(backup_file(side.which), text)
        if self.params.copy_to:
            yield Log(text=f"{side.label}: its configuration also in {self._copied(side, text)}")
        yield Log(
            text=f"{side.label}: {len(text.splitlines())} lines, twice alike, sha256 {digest(text)}, in {path.name}"
        )

    def _copied(self, side: Side, text: str) -> Path:
        """A copy in the user's own folder, beside any earlier one. Raises Failed."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = Path(self.params.copy_to) / f"{side.hostname}-{side.which}-{stamp}.cfg"
        try:
            write_whole(path, text.encode())
        except OSError as error:
            raise Failed(
                f"{path}: {error.strerror}", "nothing was touched; free some space there, or name another folder"
            ) from None
        return path

    def save(self, side: Side) -> Events:
        """Make the running-config the startup-config."""
        armed = Armed(self.patterns.save_question, lambda _question: None)
        answer = yield from self.ask(side.which, lambda session: session.run(SAVE, armed=armed, seconds=120.0))
        if problem := complaint(answer.text, self.patterns):
            raise Failed(
                f"{side.label} does not save its configuration ({problem})",
                "save it by hand, then: crashcart resume",
            )
        yield Log(text=f"{side.label}: configuration saved")

    def watch(self, ends: list[WatchedEnd], price: str) -> Events:
        """See the ends up, and stay up."""
        params = self.params
        return up_and_stable(ends, params.stable_for, params.reboot_timeout, self.context.cancel, price)

    def guarded(self, work: Events, left: Callable[[], tuple[str, ...]]) -> Events:
        """Every early end in a technician's words, with what was left behind; sessions are closed."""
        try:
            with self._both_locked():
                yield from work
        except Stopped:
            raise Stopped(left()) from None
        except Failed as failed:
            raise Failed(failed.why, failed.what_helps, failed.left_behind or left()) from None
        except Trouble as trouble:
            raise trouble.failed(left()) from None
        except SessionLost as lost:
            raise Failed(str(lost), "see the transcript; then: crashcart resume", left()) from None
        except Unexpected as asked:
            raise Failed(
                f"the switch asks what is not known here: {asked.question!r}; it was answered {asked.answered}",
                f"read it; if yes is right, add its wording to {own_file()}, then: crashcart resume",
                left(),
            ) from None
        finally:
            for which in list(self._sessions):
                self.hang_up(which)

    @contextmanager
    def _both_locked(self) -> Iterator[None]:
        """The driver locks what the job names; the other end, which may be the one that reboots, is locked here."""
        mate_held = runs.Run(self.context.folder).job().params.get("change") == "mate"
        ends = [self.params.where() if mate_held else self.params.mate_where()] if self.params.mate else []
        with ExitStack() as held:
            for where in ends:
                held.enter_context(lock.hold(where.identity, self.context.folder.name))
            yield

    def questions(self, words: Wordings) -> Armed:
        """Leave to answer yes to the one question that reboots; recorded before it is given."""

        def before(question: str) -> None:
            self.progress.question = question
            self.reach_phase("asked")

        return Armed(words, before)
