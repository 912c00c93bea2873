"""The fix by a new vcsid: copy, change, wait for the reboot, put back, save, verify; taken up wherever it was cut."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engines.job.contract import Events, Log, Warned
from engines.job.errors import Failed, Refused
from engines.vdx.fix import link_up, outcome
from engines.vdx.fix.fix_run import FixRun
from engines.vdx.fix.progress import backup_file, furthest, load
from engines.vdx.fix.reboot import Expected, waiting
from engines.vdx.fix.restore import Restored, Restorer
from engines.vdx.judging import planning
from engines.vdx.line.patterns import fits, own_file
from engines.vdx.line.session import Answer, SessionLost, denied, refused
from engines.vdx.switch import config, parse


class ByVcsid:
    """One run of it. `wanted` is the vcsid to set: the new one, or the old one where a run is taken back."""

    def __init__(self, ground: FixRun, wanted: int, *, undoing: bool = False) -> None:
        self.ground = ground
        self.side = ground.detail.changed
        self.wanted = wanted
        self.undoing = undoing
        self.restored = Restored()
        self.before = ""
        self.vcsid: int | None = None
        self.taken_up = False
        self.said = ""  # by the switch to the command, on one line

    def execute(self) -> Events:
        """From the first step."""
        yield from self.ground.step("connect", self._connect())
        yield from self.ground.step("backup", self._backup())
        yield from self._change_on()

    def resume(self, earlier: Path) -> Events:
        """From where the record of an earlier run ends."""
        ground = self.ground
        folder = furthest(earlier)
        found = load(folder)
        if found is None or not found.reached("asked"):
            yield from self.execute()
            return
        ground.progress = found
        ground.reset = True
        self._take_copy(folder)
        if found.phase == "asked":
            yield from self._after_asked()
        yield from self._restore_on()

    def undo(self, earlier: Path) -> Events:
        """Set the old vcsid again and put the same configuration back."""
        folder = furthest(earlier)
        found = load(folder)
        if found is None or not found.reached("asked"):
            raise Refused(f"run {earlier.name} changed nothing on {self.side.label}", "there is nothing to take back")
        self.ground.reset = True
        self.ground.progress.user = found.user
        yield from self.ground.step("connect", self._look_again(folder))
        if self.vcsid != self.wanted:
            yield from self._change_on()
        else:
            yield from self._restore_on()

    def left(self) -> tuple[str, ...]:
        """What a run that ends now leaves behind."""
        progress, name = self.ground.progress, self.side.label
        if not progress.reached("asked"):
            return ()
        copy = self.ground.context.folder / backup_file(self.side.which)
        if not progress.reached("back"):
            return (
                f"{name} was told to reboot with vcsid {self.wanted}; its configuration is not put back (copy: {copy})",
            )
        if not progress.reached("saved"):
            return (f"{name} has rebooted; its configuration is put back in part and not saved (copy: {copy})",)
        said = "and the link is up" if progress.reached("verified") else "the link is not verified"
        return (f"{name} has vcsid {self.wanted}; {said}",)

    # ── the steps ───────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> Events:
        """Log in, and see that it is the switch of the plan and as the plan saw it."""
        self.ground.reach_phase("begun")
        for side in (self.side, self.ground.detail.other):
            if side is not None:
                yield from self.ground.unchanged(side)
        yield from self._note_uptime()

    def _note_uptime(self) -> Events:
        session = yield from self.ground.session(self.side.which)
        self.ground.progress.uptime = parse.uptime(session.run("show system").text, self.ground.patterns)
        yield Log(text=f"{self.side.label}: up for {self.ground.progress.uptime} s, reached by {session.way}")

    def _look_again(self, folder: Path) -> Events:
        self._take_copy(folder)
        self.ground.reach_phase("begun")
        answer = yield from self.ground.ask(self.side.which, lambda session: session.run("show vcs").text)
        self._same_switch(answer)
        self.vcsid = parse.number(self.ground.patterns.vcs_id, answer)
        yield from self._note_uptime()

    def _backup(self) -> Events:
        detail = self.ground.detail
        yield from self.ground.take_backup(self.side, detail.ports, detail.digest)
        self._take_copy(self.ground.context.folder)
        self.ground.reach_phase("backed-up")

    def _take_copy(self, folder: Path) -> None:
        name = backup_file(self.side.which)
        try:
            self.before = (folder / name).read_text()
        except OSError as error:
            raise Refused(
                f"{folder / name}: {error.strerror}", "the copy of the configuration is needed; restore that file"
            ) from None
        if folder != self.ground.context.folder:
            self.ground.write(name, self.before)

    def _change_on(self) -> Events:
        yield from self.ground.step("change", self._change())
        yield from self._wait_on()

    def _wait_on(self) -> Events:
        self.ground.reset = True
        yield from self.ground.step("wait", self._wait())
        if not self.ground.progress.reached("back"):
            raise Failed(
                f"{self.side.label} took the command and neither went down nor changed its vcsid{self._words()}",
                "see its log (show logging raslog); crashcart resume sends the command again",
            )
        yield from self._restore_on()

    def _words(self) -> str:
        return f" (it said: {self.said})" if self.said else ""

    def _after_asked(self) -> Events:
        """A run that was cut around its yes: the reboot is under way, or the yes never arrived."""
        self.ground.reset = self.taken_up = True
        yield from self.ground.step("wait", self._wait())
        if not self.ground.progress.reached("back"):
            yield Log(text=f"{self.side.label} never went down: the command had not arrived")
            self.taken_up = False
            yield from self.ground.step("change", self._change())
            yield from self.ground.step("wait", self._wait())

    def _change(self) -> Events:
        """Send the command in the form that the switch knows, and answer the one question that is armed."""
        ground = self.ground
        assert self.side.rbridge is not None
        session = yield from ground.session(self.side.which)
        armed = ground.questions(ground.patterns.vcs_question)
        for command in planning.commands(self.wanted, self.side.rbridge, ground.patterns):
            yield Log(text=f"{self.side.label}# {command}")
            try:
                answer = session.run(command, armed=armed, leaving=True, seconds=60.0)
            except SessionLost as lost:
                ground.reach_phase("asked")
                self.said = " ".join(lost.said.split())[-400:]
                yield Warned(text=f"{lost}: whether the command was taken is not known; looking")
                break
            for question in answer.questions:
                yield Log(text=f"{self.side.label} asked: {question!r}; answered yes")
            problem = refused(answer.text, ground.patterns)
            if problem and "syntax error" in problem.lower() and not answer.questions:
                self.said = problem
                continue
            self._taken(command, answer, problem)
            ground.reach_phase("asked")
            break
        else:
            raise Failed(
                f"{self.side.label} knows none of the forms of 'vcs vcsid' listed in patterns.yaml ({self.said})",
                "nothing was changed; add its form (vcs_command) to vdx-patterns.yaml",
            )
        ground.hang_up(self.side.which)

    def _taken(self, command: str, answer: Answer, problem: str) -> None:
        """Whether the answer lets a reboot be expected. Raises Failed with the switch's own words."""
        patterns, words = self.ground.patterns, " ".join(answer.text.split())[-400:]
        self.said = words
        if not problem and (answer.ended or not words or fits(patterns.going_down, words)):
            return
        if problem or fits(patterns.not_taken, words):
            self.ground.reach_phase("backed-up")
            rights = denied(answer.text, patterns)
            raise Failed(
                f"{self.side.label} refuses {command!r}: {words}",
                "nothing was changed; log in as a user that may give it (role admin)"
                if rights
                else "nothing was changed; see its manual for what it wants first",
            )
        if not fits(patterns.taken, words):
            self.ground.reach_phase("asked" if answer.questions else "backed-up")
            raise Failed(
                f"{self.side.label} answers {command!r} in words not known here: {words}",
                f"see whether it reboots, then: crashcart resume. If they mean yes, add them (taken) to {own_file()}",
            )

    def _wait(self) -> Events:
        ground = self.ground
        access = yield from ground.access(self.side.which)
        expected = Expected(self.wanted, ground.progress.uptime, ground.params.reboot_timeout, self.taken_up)
        back = yield from waiting(access, ground.lender, expected)
        ground.progress.stages = back.stages
        if back.session is None:
            ground.reach_phase("backed-up")
            return
        ground.adopt(self.side.which, back.session, back.access)
        answer = back.session.run("show vcs").text
        self._same_switch(answer)
        if back.session.hostname != self.side.hostname:
            yield Log(text=f"it calls itself {back.session.hostname} now: its configuration was reset")
        ground.progress.user = back.access.user
        ground.reach_phase("back")

    def _same_switch(self, vcs: str) -> None:
        here = next((member.wwn for member in parse.members(vcs) if member.here), "")
        if here and self.side.wwn and here != self.side.wwn:
            raise Failed(
                f"another switch answers at this address (WWN {here}, not {self.side.wwn})",
                "find out which has the address",
            )

    def _restore_on(self) -> Events:
        yield from self.ground.step("restore", self._restore())
        yield from self.ground.step("save", self._save())
        yield from self.ground.step("verify", self._verify())
        yield outcome.last_word(self.ground, self.side, self.wanted, self.before, self.restored, undoing=self.undoing)

    def _restore(self) -> Events:
        ground = self.ground
        answer = yield from ground.ask(self.side.which, lambda session: session.run("show vcs").text)
        rbridge = next((member.rbridge for member in parse.members(answer) if member.here), self.side.rbridge)
        before = self.before
        if rbridge != self.side.rbridge and rbridge is not None and self.side.rbridge is not None:
            yield Warned(
                text=f"the rbridge-id is {rbridge} now, it was {self.side.rbridge}; "
                "the configuration is put back with the new one"
            )
            before = config.renumbered(before, self.side.rbridge, rbridge)
            port = config.renumbered(self.side.interface, self.side.rbridge, rbridge)
            self.side = msgspec.structs.replace(self.side, rbridge=rbridge, interface=port)
        restorer = Restorer((yield from ground.session(self.side.which)), self.side.hostname, before, self.restored)
        yield from self._rounds(restorer)
        ground.write("running-config.after", self.restored.running)
        ground.progress.left_out = self.restored.left_out
        ground.reach_phase("restored")
        self.before = before

    def _rounds(self, restorer: Restorer) -> Events:
        for _ in range(3):
            try:
                yield from restorer.rounds()
                return
            except SessionLost as lost:
                yield Log(text=f"{lost}; logging in again")
                self.ground.hang_up(self.side.which)
                restorer.session = yield from self.ground.session(self.side.which)
        raise Failed(
            f"the line to {self.side.label} was lost three times",
            "crashcart resume goes on, over --console if there is one",
        )

    def _save(self) -> Events:
        yield from self.ground.save(self.side)
        self.ground.reach_phase("saved")

    def _verify(self) -> Events:
        ground = self.ground
        ends = [(yield from ground.end(self.side))]
        link_up.ids(ends[0], self.wanted)
        if not self.undoing:
            if ground.detail.other is not None:
                ends.append((yield from ground.end(ground.detail.other)))
            link_up.no_isl(ends)
            yield from self._watch(ends)
        ground.reach_phase("verified")

    def _watch(self, ends: list[link_up.WatchedEnd]) -> Events:
        price = (
            f"The way back is crashcart undo: vcsid {self.side.vcsid} again, another reboot of {self.side.label} "
            "and another restore"
        )
        for attempt in range(3):
            try:
                yield from self.ground.watch(ends, price)
                return
            except SessionLost as lost:
                if attempt == 2:
                    raise
                yield Log(text=f"{lost}; logging in again")
                for end in ends:
                    self.ground.hang_up(end.side.which)
                    end.session = yield from self.ground.session(end.side.which)
