"""Put a configuration back line by line, each answer read, until the switch has what the copy has."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from engines.job.contract import AnyEvent, Asked, Log, Progress, Warned
from engines.job.errors import Failed
from engines.vdx.line.session import Session, denied, refused
from engines.vdx.line.transcript import redacted
from engines.vdx.switch import config, running_config
from engines.vdx.switch.config import BlockPath, Blocks, Entry

ROUNDS = 8  # readings of the configuration; two are enough where every line takes effect


@dataclass
class Restored:
    """What came of it. `left_out` are lines not put back; `running` is the configuration at the end."""

    sent: int = 0
    left_out: list[str] = field(default_factory=list)
    running: str = ""


def shown(entry: Entry) -> str:
    """An entry for people: headers, then the line, without secrets."""
    return redacted(" / ".join(part for part in (*entry[0], entry[1]) if part))


class Restorer:
    """One restore; `session` may be replaced between rounds where a line was lost."""

    def __init__(self, session: Session, name: str, before: str, done: Restored) -> None:
        self.session = session
        self.name = name
        self.done = done
        self._before: Blocks = config.blocks(before)
        self._skipped: set[Entry] = set()
        self._sent: dict[Entry, str] = {}
        self._first_round_done = False

    def rounds(self) -> Generator[AnyEvent, str | None, None]:
        """Read, compare, send, until nothing is left. Raises Failed, SessionLost (then it may be called again)."""
        for _ in range(ROUNDS):
            todo = yield from self._todo()
            if not todo:
                return
            yield from self._send(todo)
        raise Failed(
            f"{self.name} still differs from its copy after {ROUNDS} rounds", "compare by hand; then crashcart resume"
        )

    def _todo(self) -> Generator[AnyEvent, str | None, list[Entry]]:
        self.done.running = running_config.read(self.session)
        now = config.blocks(self.done.running)
        patterns = self.session.patterns
        missing = [entry for entry in config.lost(self._before, now, patterns) if entry not in self._skipped]
        for entry in [entry for entry in missing if not config.typable(entry)]:
            yield from self._leave_out(entry, "cannot be typed at a command line")
        todo = config.ordered([entry for entry in missing if entry not in self._skipped])
        todo = todo or [entry for entry in config.added(self._before, now, patterns) if entry not in self._skipped]
        for entry in [entry for entry in todo if entry in self._sent]:
            words = f" (it said: {redacted(self._sent[entry])})" if self._sent[entry] else ""
            yield from self._leave_out(entry, f"was taken without an error and is not there{words}")
        self._sent = {}
        return [entry for entry in todo if entry not in self._skipped]

    def _leave_out(self, entry: Entry, why: str) -> Generator[AnyEvent, str | None, None]:
        self._skipped.add(entry)
        self.done.left_out.append(shown(entry))
        yield Warned(text=f"{self.name}: {shown(entry)} {why}; do it by hand")

    def _send(self, todo: list[Entry]) -> Generator[AnyEvent, str | None, None]:
        yield Log(text=f"{self.name}: {len(todo)} lines to put back")
        self.session.also = self.name
        self.session.run("configure terminal")
        at: BlockPath = ()
        for number, entry in enumerate(todo, 1):
            at = yield from self._enter(at, entry)
            if entry in self._skipped:
                continue
            answer = self.session.run(entry[1], settle=0.0).text if entry[1] else ""
            if problem := refused(answer, self.session.patterns) or denied(answer, self.session.patterns):
                yield from self._refused(entry, problem)
            else:
                self.done.sent += 1
                self._sent[entry] = " ".join(answer.split())[-200:]
            if not self._first_round_done:
                yield Progress(done=number, total=len(todo), unit="lines")
        self._first_round_done = True
        self.session.run("end")

    def _enter(self, at: BlockPath, entry: Entry) -> Generator[AnyEvent, str | None, BlockPath]:
        """Leave the block we are in and enter the entry's."""
        path = entry[0]
        shared = 0
        while shared < min(len(at), len(path)) and at[shared] == path[shared]:
            shared += 1
        for _ in at[shared:]:
            self.session.run("exit", settle=0.0)
        for depth, header in enumerate(path[shared:], shared):
            if problem := refused(self.session.run(header, settle=0.0).text, self.session.patterns):
                yield from self._refused(entry, problem)
                return path[:depth]
        return path

    def _refused(self, entry: Entry, problem: str) -> Generator[AnyEvent, str | None, None]:
        answer = yield Asked(
            question=f"{self.name} refuses {shown(entry)!r}: {redacted(problem)}. Leave it out and go on?",
            choices=("leave it out", "stop"),
        )
        if answer != "leave it out":
            raise Failed(
                f"{self.name} refuses {shown(entry)!r}: {redacted(problem)}",
                "settle it on the switch, then: crashcart resume",
            )
        yield from self._leave_out(entry, f"was refused ({redacted(problem)})")
