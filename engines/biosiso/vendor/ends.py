"""Which flasher call a batch ends with, on every way through it that its conditions and jumps leave open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from engines.biosiso.vendor.batch import FlashLine, Script
from engines.biosiso.vendor.flow import Step

MOST = 100_000  # places with their pasts that are looked at in all batches; beyond, every call is said to be possible
DEEPEST = 8  # batches that call one another
KEEPS = re.compile(
    r"(?:echo|rem|set|cls|pause|cd|chdir|md|mkdir|rd|rmdir|ren|rename|copy|del|erase|type|ver|vol|path|prompt|shift|break"
    r"|verify|[a-z]:)(?![a-z0-9_])",
    re.IGNORECASE,
)
"""Commands of DOS itself, behind which the flasher's own result is still the last one."""
GOTO = re.compile(r"goto\b\s*:?\s*(?P<name>\S+)", re.IGNORECASE)
CALL = re.compile(r"(?P<call>call\s+|gosub\s+)?(?P<name>\"[^\"]+\"|[^\s/]+)", re.IGNORECASE)
LEAVES = re.compile(r"(?:quit|cancel|exit\s+/b)\b", re.IGNORECASE)
BOOTS = re.compile(
    r"(?:\S*[\\/])?(?:(?:reset|reboot|warmboot|coldboot)(?:\.com|\.exe)?(?:\s|$)|fdapm\S*\s+(?:warm|cold)boot\b)",
    re.IGNORECASE,
)
MAY_LEAVE = re.compile(r"exit\b", re.IGNORECASE)  # not in a DOS that was booted, where it is the only shell

State = tuple[FlashLine | None, bool]
"""The last call, and whether the last result is that of a flasher which worked."""


class Ends:
    """The batches of one package, by name. `programs`: base names that DOS runs before a batch of the same name."""

    def __init__(self, scripts: Iterable[Script], programs: Iterable[str]) -> None:
        self._scripts: Mapping[str, Script] = {
            script.file.rpartition("/")[2].lower(): script for script in reversed(list(scripts))
        }
        self._programs = {name.lower() for name in programs}
        self._seen = 0

    def of(self, script: Script) -> tuple[FlashLine, ...]:
        """Every call with which the script can end where all flashers work; in the order of the script."""
        found = {last for last, _ in self._run(script, {(None, False)}, 0) if last}
        if self._seen > MOST:
            found |= set(script.flash_lines)
        return tuple(sorted(found, key=lambda line: (line.file != script.file, line.file, line.line, line.args)))

    def called(self, script: Script) -> set[str]:
        """The other scripts that it starts."""
        steps = [step for step in script.flow.steps if step.op == "do"]
        return {other.file for step in steps if (other := self._other(step)) and other.file != script.file}

    def _run(self, script: Script, before: set[State], depth: int, start: int = 0) -> set[State]:
        calls = _calls(script)
        ends: set[State] = set()
        todo = [(start, last, works) for last, works in before]
        seen = set(todo)
        while todo and self._seen <= MOST:
            self._seen += 1
            at, last, works = todo.pop()
            if at >= len(script.flow.steps):
                ends.add((last, works))
                continue
            for place in self._after(script, at, (last, works), calls, depth):
                if place not in seen:
                    seen.add(place)
                    todo.append(place)
        return ends

    def _after(
        self, script: Script, at: int, state: State, calls: Mapping[int, FlashLine], depth: int
    ) -> Iterator[tuple[int, FlashLine | None, bool]]:
        step, (last, works) = script.flow.steps[at], state
        over = len(script.flow.steps)
        if step.op == "jump":
            yield (step.to, *state)
        elif step.op == "if":
            if not works or step.test != "fails":
                yield (at + 1, *state)
            if not works or step.test != "works":
                yield (step.to, *state)
        elif found := GOTO.match(step.text):
            for place in _labels(script, found["name"]):
                yield (place, *state)
        elif at in calls:
            yield (at + 1, calls[at], True) if calls[at].flashes else (at + 1, last, False)
        elif LEAVES.match(step.text) or BOOTS.match(step.text):
            yield (over, *state)
        elif MAY_LEAVE.match(step.text):
            yield (over, *state)
            yield (at + 1, *state)
        elif (begin := _own_label(script, step)) is not None and depth < DEEPEST:
            for each in self._run(script, {state}, depth + 1, begin):
                yield (at + 1, *each)
        elif (other := self._other(step)) and depth < DEEPEST:
            stays = step.returns or step.text.lower().startswith("call")
            for each in self._run(other, {state}, depth + 1):
                yield (at + 1 if stays else over, *each)
        else:
            yield (at + 1, last, works and bool(KEEPS.match(step.text)))

    def _other(self, step: Step) -> Script | None:
        found = CALL.match(step.text)
        if not found:
            return None
        base = re.split(r"[\\/]", found["name"].strip('"').lower())[-1]
        if base.endswith(".bat"):
            return self._scripts.get(base)
        return None if base in self._programs else self._scripts.get(f"{base}.bat")


def _calls(script: Script) -> dict[int, FlashLine]:
    """The flasher's call by the step that makes it."""
    return {line.step: line for line in script.flash_lines}


def _labels(script: Script, name: str) -> list[int]:
    """Where a GOTO leads: anywhere, if a variable says where; out of the batch, if nowhere. DOS looks at 8 letters."""
    labels, name = script.flow.labels, name.lower()
    if "%" in name:
        return [*sorted(set(labels.values())), len(script.flow.steps)]
    short = [place for label, place in labels.items() if label[:8] == name[:8]]
    return [labels.get(name, short[0] if short else len(script.flow.steps))]


def _own_label(script: Script, step: Step) -> int | None:
    """The part of the same batch that a CALL :LABEL or GOSUB runs."""
    found = CALL.match(step.text)
    if not found or not found["call"]:
        return None
    name = found["name"].lower()
    if not name.startswith(":") and not step.text.lower().startswith("gosub"):
        return None
    return script.flow.labels.get(name.removeprefix(":"))
