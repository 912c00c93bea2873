"""Whether something is due: missed rounds once, failures again after a while, and nothing twice in a round."""

from __future__ import annotations

from dataclasses import dataclass

from engines.fleet.schedule.calendar import Calendar, StartWindow, fraction

FIRST_WAIT = 60.0  # s after the first failure; twice as long after each
LONGEST_WAIT = 6 * 3600.0  # s


@dataclass(frozen=True)
class Past:
    """What was done before. Unix times in s.

    good: when the newest good point was begun; None for never.
    tries, failed_at: of the current round; `tried` is that round's name.
    """

    good: float | None = None
    tried: str = ""
    tries: int = 0
    failed_at: float = 0.0


@dataclass(frozen=True)
class NextStart:
    """The next start. at: not before then (Unix time in s); due where that is not after now.

    missed: whether the round before had none, so that nothing is waited for. why: in words.
    """

    round: StartWindow
    at: float
    why: str
    missed: bool = False

    def due(self, now: float) -> bool:
        """Whether it may start now."""
        return self.at <= now < self.round.closes


def backoff(tries: int) -> float:
    """Seconds to wait after so many failures in a row: 2^n minutes, up to 6 hours."""
    return min(FIRST_WAIT * 2.0 ** min(tries, 20), LONGEST_WAIT)


def start(calendar: Calendar, past: Past, now: float, uuid: str, *, spread: bool = True, retries: int = 3) -> NextStart:
    """When the guest is backed up next, looked at from `now`."""
    current = calendar.latest(now)
    if past.good is not None and past.good >= current.opens:
        return _usual(calendar.after(current), uuid, spread)
    turn = calendar.turn(now)
    following = calendar.next_turn(turn)
    if now >= turn.closes:
        return NextStart(following, following.opens, _missed(past, current), missed=True)
    if past.tried == turn.name and past.tries > retries:
        return NextStart(following, following.opens, f"failed {past.tries} times in round {turn.name}", missed=True)
    if turn == current:
        found = _first(calendar, past, current, uuid, spread)
    else:
        found = NextStart(turn, turn.opens, _missed(past, current), missed=True)
    if past.tried != turn.name or not past.tries:
        return found
    again = max(found.at, past.failed_at + backoff(past.tries))
    if again >= turn.closes:
        why = f"failed {past.tries} times, round {turn.name} ends"
        return NextStart(following, following.opens, why, missed=True)
    return NextStart(turn, again, f"try {past.tries + 1}", missed=found.missed)


def _first(calendar: Calendar, past: Past, current: StartWindow, uuid: str, spread: bool) -> NextStart:
    """The first try in a round."""
    if past.good is None or past.good < calendar.before(current).opens:
        return NextStart(current, current.opens, _missed(past, calendar.before(current)), missed=True)
    return _usual(current, uuid, spread)


def _missed(past: Past, round_: StartWindow) -> str:
    return "it has no backup yet" if past.good is None else f"round {round_.name} was missed"


def _usual(round_: StartWindow, uuid: str, spread: bool) -> NextStart:
    """Spread by the guest's identity over the first half of the window."""
    share = fraction(uuid) if spread else 0.0
    return NextStart(round_, round_.opens + share * (round_.closes - round_.opens) / 2, "its time of the round")
