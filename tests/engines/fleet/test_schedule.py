"""Over 400 nights by an injected clock: one backup a night, none twice, missed ones once, on nights of a change of the
clock, too."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from engines.fleet.config.words import Window, interval, window
from engines.fleet.schedule.calendar import Calendar, StartWindow, fraction, phase
from engines.fleet.schedule.due import Past, backoff, start

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600
DAY = 24 * HOUR
STEP = 300  # s of the clock
NIGHTS = 400
GUESTS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(7)]


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, BERLIN)


def nights(
    calendar: Calendar, uuid: str, *, down: tuple[float, float] = (0, 0), count: int = NIGHTS
) -> list[tuple[str, float]]:
    """The rounds and moments at which one guest was backed up; the controller is away from down[0] to down[1]."""
    now = at("2026-06-01T12:00")
    end = now + count * DAY
    past = Past()
    made = []
    while now < end:
        next_ = start(calendar, past, now, uuid)
        if next_.due(now) and not down[0] <= now < down[1]:
            made.append((next_.round.name, now))
            past = Past(good=now)
        now = max(now + STEP, min(next_.at, end)) if next_.at > now + STEP else now + STEP
    return made


@pytest.mark.parametrize("uuid", GUESTS)
def test_one_backup_a_night_for_400_nights_and_none_twice(uuid: str) -> None:
    made = nights(Calendar(window("22:00-06:00"), DAY, BERLIN), uuid)
    assert [name for name, _ in made] == [(date(2026, 6, 1) + timedelta(days=n)).isoformat() for n in range(NIGHTS)]
    for name, moment in made:
        hour = local(moment).hour
        assert hour >= 22 or hour < 6, (name, local(moment))


def test_the_starts_are_spread_over_half_of_the_window_and_stay_where_they_are() -> None:
    calendar = Calendar(window("22:00-06:00"), DAY, BERLIN)
    opens = at("2026-07-01T22:00")
    past = Past(good=opens - DAY + 60)
    starts = [start(calendar, past, opens, f"guest {number}").at - opens for number in range(400)]
    assert min(starts) < 10 * 60 and 3.8 * HOUR < max(starts) < 4 * HOUR
    assert max(Counter(int(each // (HOUR / 2)) for each in starts).values()) < 80
    assert [start(calendar, past, opens, f"guest {number}").at - opens for number in range(400)] == starts
    assert {start(calendar, past, opens, f"guest {number}", spread=False).at for number in range(9)} == {opens}


@pytest.mark.parametrize("hours", ["22:00-06:00", "02:00-03:00", "02:30-02:45", "00:00-00:00", "01:00-04:00"])
def test_nights_of_a_change_of_the_clock_have_one_round_each(hours: str) -> None:
    calendar = Calendar(window(hours), DAY, BERLIN)
    made = nights(calendar, GUESTS[0], count=320)
    names = [name for name, _ in made]
    assert names == sorted(set(names))
    for night in ("2026-10-24", "2026-10-25", "2026-10-26", "2027-03-27", "2027-03-28", "2027-03-29"):
        assert names.count(night) == 1, night
    assert all(found.closes > found.opens for night in names if (found := _round(calendar, night)))


def _round(calendar: Calendar, night: str) -> StartWindow:
    return calendar.latest(at(f"{night}T23:59"))


def test_three_days_down_are_made_good_by_one_backup() -> None:
    down = (at("2026-08-10T20:00"), at("2026-08-13T20:00"))
    made = dict(nights(Calendar(window("22:00-06:00"), DAY, BERLIN), GUESTS[3], down=down, count=100))
    assert "2026-08-09" in made and not {"2026-08-10", "2026-08-11", "2026-08-12"} & made.keys()
    assert (
        local(made["2026-08-13"]).strftime("%H:%M") == "22:00"
    )  # at once when the window opens, not at its usual time
    assert made["2026-08-14"] - made["2026-08-13"] > DAY  # and after that at its usual time, once


def test_who_comes_back_within_the_window_backs_up_what_was_missed_at_once() -> None:
    calendar = Calendar(window("22:00-06:00"), DAY, BERLIN)
    now = at("2026-08-13T23:10")
    next_ = start(calendar, Past(good=at("2026-08-09T23:00")), now, GUESTS[0])
    assert next_.due(now) and next_.missed and next_.why == "round 2026-08-12 was missed"


def test_a_week_has_its_own_day_for_each_guest() -> None:
    week = 7 * DAY
    days = Counter(phase(f"guest {number}", week) for number in range(700))
    assert set(days) == set(range(7)) and max(days.values()) < 150
    made = nights(Calendar(window("22:00-06:00"), week, BERLIN, phase=3), GUESTS[1])
    gaps = {round((later - earlier) / DAY) for (_, earlier), (_, later) in pairwise(made[1:])}
    assert gaps == {7} and len(made) in (57, 58)


@pytest.mark.parametrize(("every", "days"), [("2d", 2), ("week", 7), ("month", 30)])
def test_a_day_of_several_that_was_missed_is_made_good_on_the_next_that_can_be(every: str, days: int) -> None:
    """And not when the guest's own day comes again: after a month that would be two without a backup."""
    calendar = Calendar(window("22:00-06:00"), interval(every), BERLIN, phase=1)
    own = next(night for night, _ in nights(calendar, GUESTS[1], count=2 * days)[1:])
    opens = at(f"{own}T22:00")
    made = dict(nights(calendar, GUESTS[1], down=(opens - 4 * HOUR, opens + 20 * HOUR), count=4 * days))
    made_good = (date.fromisoformat(own) + timedelta(days=1)).isoformat()
    assert own not in made and local(made[made_good]).strftime("%H:%M") == "22:00"
    later = [name for name in made if name > made_good]
    assert later[0] == (date.fromisoformat(own) + timedelta(days=days)).isoformat()


def test_a_week_that_failed_is_tried_again_the_next_night() -> None:
    calendar = Calendar(window("22:00-06:00"), 7 * DAY, BERLIN)
    own = calendar.latest(at("2026-08-13T12:00"))
    past = Past(good=own.opens - 7 * DAY, tried=own.name, tries=4, failed_at=own.opens + HOUR)
    next_ = start(calendar, past, own.opens + 2 * HOUR, GUESTS[0])
    assert next_.round == calendar.next_turn(own) and next_.at == own.opens + DAY and next_.missed
    assert start(calendar, past, next_.at, GUESTS[0]).due(next_.at)


ZONES = [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "America/Havana",
    "Pacific/Chatham", "Antarctica/Troll", "Africa/Casablanca", "America/St_Johns",
]  # fmt: skip
WINDOWS = ["22:00-06:00", "01:30-02:30", "02:00-02:30", "02:30-02:45", "00:00-00:30", "23:30-00:30", "00:00-00:00"]


@pytest.mark.parametrize("zone", ZONES)
def test_each_date_has_its_round_in_every_zone_whatever_clocks_do(zone: str) -> None:
    """Some leave out half an hour, two, or midnight itself."""
    for hours in WINDOWS:
        calendar = Calendar(window(hours), DAY, ZoneInfo(zone))
        this = calendar.latest(at("2026-02-01T23:59", ZoneInfo(zone)))
        for _ in range(400):
            next_ = calendar.after(this)
            assert date.fromisoformat(next_.name) == date.fromisoformat(this.name) + timedelta(days=1)
            assert this.opens < this.closes <= next_.opens, (zone, this, next_)
            assert calendar.latest(this.opens) == calendar.latest(next_.opens - 1) == this
            assert calendar.before(next_) == this
            this = next_


def test_several_a_day_are_as_many_on_a_day_of_23_and_of_25_hours() -> None:
    calendar = Calendar(window("00:00-00:00"), 6 * HOUR, BERLIN)
    names = Counter(name[:10] for name, _ in nights(calendar, GUESTS[2], count=320))
    assert names["2026-10-24"] == names["2027-03-28"] == 4 and names["2026-10-25"] == 5  # the last of those is short


@pytest.mark.parametrize("back", [HOUR, DAY])
def test_a_clock_that_is_set_back_makes_nothing_twice_in_a_round(back: int) -> None:
    calendar = Calendar(window("22:00-06:00"), DAY, BERLIN)
    good = at("2026-08-13T23:30")
    for minutes in range(0, 600, 5):
        now = good - back + minutes * 60
        next_ = start(calendar, Past(good=good), now, GUESTS[0])
        assert next_.round.name == "2026-08-14" or (now < at("2026-08-13T22:00") and not next_.due(now)), (now, next_)


def test_hours_within_a_window_have_a_round_each() -> None:
    calendar = Calendar(Window(22 * 60, 2 * 60), HOUR, BERLIN)
    made = nights(calendar, GUESTS[2], count=30)
    assert Counter(name[:10] for name, _ in made).most_common(1)[0][1] == 4
    assert {name[10:] for name, _ in made} == {".1", ".2", ".3", ".4"}


def test_a_failure_waits_longer_each_time_up_to_six_hours_and_ends_with_the_retries() -> None:
    assert [backoff(tries) / 60 for tries in (1, 2, 3, 8, 9, 40)] == [2, 4, 8, 256, 360, 360]
    calendar = Calendar(window("22:00-06:00"), DAY, BERLIN)
    failed = at("2026-08-13T23:00")
    past = Past(good=at("2026-08-12T23:00"), tried="2026-08-13", tries=2, failed_at=failed)
    usual = calendar.latest(failed).opens + fraction(GUESTS[0]) * 4 * HOUR
    assert start(calendar, past, failed, GUESTS[0]).at == max(usual, failed + 240)
    given_up = Past(good=past.good, tried="2026-08-13", tries=4, failed_at=failed)
    next_ = start(calendar, given_up, failed, GUESTS[0], retries=3)
    assert (next_.round.name, next_.why) == ("2026-08-14", "failed 4 times in round 2026-08-13")


def test_a_backup_that_outlives_its_window_is_not_stacked() -> None:
    calendar = Calendar(window("22:00-23:00"), DAY, BERLIN)
    begun = at("2026-08-13T22:50")
    next_ = start(calendar, Past(good=begun), at("2026-08-14T22:10"), "x", spread=False)
    assert next_.round.name == "2026-08-14" and not next_.missed
