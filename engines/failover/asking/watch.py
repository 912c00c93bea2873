"""The watch over a site during maintenance: lights, changes with how long each state lasted, a log for the ticket."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from engines.failover import advice
from engines.failover.advice import WARNING
from engines.failover.asking import records
from engines.failover.asking.address import WORDS, AddressCheck, HttpRequest, asked_of, probe, trusted
from engines.failover.asking.probe import MOST
from engines.failover.asking.records import Records
from engines.failover.asking.site import Server, SiteParams, host_name, servers, web_port
from engines.failover.asking.verdict import judge
from engines.failover.results import Watched
from engines.job.contract import (
    AnyEvent,
    Cancel,
    Context,
    Engine,
    Events,
    Finished,
    Log,
    Measured,
    Plan,
    Section,
    Step,
    StepEnded,
    StepStarted,
)
from engines.job.errors import Refused, Stopped
from engines.job.params import param, plain
from engines.job.units import one_line

DNS_EVERY = 30.0  # s between looks at the records
HEARTBEAT = 60.0  # s between readings while nothing changes
KEPT = 64  # addresses that have left DNS but stay in the ledger
SHOWN = 32  # addresses in one reading; the ledger in the report has all
GONE = "gone"
WELL = ("ok", "no-route", GONE)
"""States that count as no outage."""
TAIL = 200  # changes kept for the report; watch.log holds all


class WatchParams(SiteParams, frozen=True, kw_only=True):
    """Which site, how often, how long."""

    interval: Annotated[int, param("Interval", "seconds between looks at each address", ge=1, le=3600)] = 2
    minutes: Annotated[int, param("Minutes", "end by itself after so long; 0: when it is stopped", ge=0)] = 0


@dataclass
class Spell:
    """One address: its state and since when (Unix time), and what it has been through so far."""

    state: str
    since: float
    first_down: float = 0.0
    last_back: float = 0.0
    down: float = 0.0
    changes: int = 0

    @property
    def dark(self) -> bool:
        """Whether it counts as down: not while it is unjudged or not in DNS at all."""
        return self.state not in WELL

    def take(self, state: str, now: float) -> float | None:
        """The next look; seconds that the previous state lasted where it changes."""
        if state == self.state:
            return None
        lasted, dark = now - self.since, self.dark
        if dark:
            self.down += lasted
        if state == "ok" and dark:
            self.last_back = now
        elif state not in WELL and not dark and not self.first_down:
            self.first_down = now
        self.state, self.since = state, now
        self.changes += 1
        return lasted

    def outage(self, now: float) -> float:
        """Seconds it was not well, this state included."""
        return self.down + (now - self.since if self.dark else 0.0)


@dataclass
class Watching:
    """Everything a watch keeps, which does not grow with its length."""

    began: float
    spells: dict[str, Spell] = field(default_factory=dict)
    changes: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    looks: int = 0
    dark: float = 0.0
    dark_since: float = 0.0

    def take(self, lights: Sequence[AddressCheck], now: float) -> Iterator[str]:
        """One look at every address that is in DNS now; a line for each change."""
        self.looks += 1
        for light in lights:
            spell = self.spells.get(light.address)
            if spell is None:
                self.spells[light.address] = Spell(light.state, now, first_down=0.0 if light.state in WELL else now)
                yield f"{light.address}: {light.said()}"
            elif (lasted := spell.take(light.state, now)) is not None:
                yield f"{light.address}: {light.said()} (the state before lasted {span(lasted)})"
        if any(light.state != "no-route" for light in lights):
            yield from self._whole(any(light.state == "ok" for light in lights), now)

    def _whole(self, up: bool, now: float) -> Iterator[str]:
        if not up and not self.dark_since:
            self.dark_since = now
            yield "no address answers: the site is down"
        elif up and self.dark_since:
            self.dark += now - self.dark_since
            yield f"the site is back after {span(now - self.dark_since)}"
            self.dark_since = 0.0

    def forget(self, current: Collection[str], now: float) -> None:
        """Of addresses that are no longer in DNS keep at most KEPT: a name that moves all day costs no memory."""
        gone = [address for address in self.spells if address not in current]
        for address in gone:  # what nobody is sent to any more is no outage
            self.spells[address].take(GONE, now)
        for address in gone[: max(0, len(gone) - KEPT)]:
            del self.spells[address]

    def outage(self, now: float) -> float:
        """Seconds without any address that answered."""
        return self.dark + (now - self.dark_since if self.dark_since else 0.0)

    def reading(self, now: float) -> dict[str, Any]:
        """For the live page: at most SHOWN addresses, dark ones first."""
        shown = sorted(self.spells.items(), key=lambda one: not one[1].dark)[:SHOWN]
        return {
            "addresses": [
                {
                    "address": address,
                    "state": spell.state,
                    "dark": spell.dark,
                    "words": WORDS[spell.state],
                    "since": round(spell.since, 3),
                    "outage": round(spell.outage(now), 1),
                    "changes": spell.changes,
                }
                for address, spell in shown
            ],
            "more": len(self.spells) - len(shown),
            "outage": round(self.outage(now), 1),
            "dark": bool(self.dark_since),
            "at": round(now, 3),
            "looks": self.looks,
        }


class Watch(Engine[WatchParams]):
    """Looks until it is stopped; being stopped is its normal end."""

    name: ClassVar[str] = "failover-watch"
    verb: ClassVar[str] = "watch"
    title: ClassVar[str] = "watch a site's addresses during maintenance"
    kind: ClassVar[str] = "work"
    result: ClassVar[type[Watched]] = Watched
    irreversible: ClassVar[str] = "watching changes nothing that could be taken back"
    params = WatchParams

    @override
    def target(self, params: WatchParams) -> str:
        """Two watches of one site need not wait for each other, but one run holds one lock: by site and port."""
        return f"failover watch {host_name(params.name)}:{web_port(params)}"

    @override
    def plan(self, params: WatchParams, cancel: Cancel) -> Plan:
        """Ask DNS once, so that a name without addresses is refused before the maintenance begins."""
        name, asked = host_name(params.name), servers(params.resolver)
        cancel.check()
        found = asyncio.run(_resolve(name, asked, params.timeout, web_port(params)))
        if found.state != "ok":
            raise Refused(f"DNS gives no address for {name} ({found.state})", "correct the name, or name a --resolver")
        length = f"for {params.minutes} minutes" if params.minutes else "until it is stopped"
        return Plan(
            task=self.name,
            target=name,
            params=plain(params),
            steps=(Step(id="watch", title=f"Watch {name} {length}"),),
            facts=(
                ("addresses", ", ".join(found.addresses[:8])),
                ("looks", f"every {params.interval} s; at DNS every {DNS_EVERY:.0f} s"),
            ),
            undo="nothing is changed",
            state={"name": name},
        ).sealed()

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """Look, tell changes, sum up."""
        params: WatchParams = plan.params
        name = host_name(params.name)
        watching = Watching(time.time())
        yield StepStarted(step="watch")
        with suppress(Stopped):
            yield from _rounds(name, params, watching, context)
        now = time.time()
        with suppress(Stopped):  # the driver says it once more at this yield
            yield StepEnded(step="watch")
        yield Finished(
            summary=_summary(name, watching, now),
            result=watching.reading(now) | {"seconds": round(now - watching.began, 1)},
            sections=(
                *_advised(name, watching, params),
                Section(title="Addresses", text="\n".join(_ledger(watching, now)), brief=_brief(watching, now)),
                Section(title=f"Changes (the last {TAIL}; watch.log has all)", text="\n".join(watching.changes)),
            ),
        )

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Watch on, with a new count."""
        return self.execute(plan, context)


def _rounds(name: str, params: WatchParams, watching: Watching, run: Context) -> Iterator[AnyEvent]:
    way, context, asked = asked_of(params), trusted(params), servers(params.resolver)
    found: Records | None = None
    until = watching.began + params.minutes * 60 if params.minutes else float("inf")
    next_dns = next_beat = 0.0
    while (now := time.time()) < until:
        said: list[str] = []
        if now >= next_dns:
            next_dns = now + DNS_EVERY
            new = asyncio.run(_resolve(name, asked, params.timeout, way.port))
            said += _moved(found.addresses if found else (), new)
            found = new if new.addresses or found is None else found
            watching.forget(found.addresses, time.time())
        assert found is not None
        lights = asyncio.run(_lights(found.addresses, way, context))
        said += watching.take(lights, time.time())
        for line in said:
            stamped = f"{_clock(time.time())} {one_line(line)}"
            _append(run, stamped)
            watching.changes.append(stamped)
            yield Log(text=stamped)
        if said or now >= next_beat:
            next_beat = now + HEARTBEAT
            verdict = judge(found, lights, bool(way.expect)).words
            yield Measured(kind="lights", data=watching.reading(time.time()) | {"verdict": verdict})
        run.cancel.sleep(max(0.0, min(now + params.interval, until) - time.time()))


def _append(run: Context, line: str) -> None:
    with suppress(OSError), (run.folder / "watch.log").open("a") as log:  # a full state disk must not end the watch
        log.write(line + "\n")


async def _resolve(name: str, asked: Sequence[Server], timeout: float, port: int) -> Records:
    seen = (records.view(server, name, float(timeout), "resolver", port=port) for server in asked)
    views = await asyncio.gather(*seen)
    return records.gather(name, views)


async def _lights(addresses: Sequence[str], way: HttpRequest, context: Any) -> list[AddressCheck]:
    return list(await asyncio.gather(*(probe(address, way, context, hint=False) for address in addresses[:MOST])))


def _moved(before: tuple[str, ...], found: Records) -> list[str]:
    if not found.addresses:
        return [f"DNS gives no address now: {found.state}"]
    if not before:
        return []
    lines = [f"DNS: {address} is new" for address in found.addresses if address not in before]
    return lines + [f"DNS: {address} is gone" for address in before if address not in found.addresses]


def _summary(name: str, watching: Watching, now: float) -> str:
    outage = watching.outage(now)
    whole = f"{name} was down for {span(outage)}" if outage else f"{name} answered at every look"
    return f"{whole}; watched {span(now - watching.began)}, {watching.looks} looks"


def _advised(name: str, watching: Watching, params: WatchParams) -> list[Section]:
    texts = [advice.take_down(name, address, advice.ports(web_port(params))) for address in list(watching.spells)[:1]]
    return [Section(title="Taking a copy down", text="\n".join([*advice.lines(one), "", WARNING])) for one in texts]


def _brief(watching: Watching, now: float) -> str:
    shown = list(watching.spells.items())[:SHOWN]
    lines = [f"{address:15} {spell.state}, dark {span(spell.outage(now))} in all" for address, spell in shown]
    more = len(watching.spells) - len(shown)
    return "\n".join(lines + ([f"and {more} more"] if more else []))


def _ledger(watching: Watching, now: float) -> list[str]:
    lines = [f"{'address':40} {'now':14} {'outage':>10} {'changes':>8}  first down, last back"]
    for address, spell in watching.spells.items():
        times = ", ".join(_clock(at) if at else "-" for at in (spell.first_down, spell.last_back))
        lines.append(f"{address:40} {spell.state:14} {span(spell.outage(now)):>10} {spell.changes:8}  {times}")
    return lines


def span(seconds: float) -> str:
    """`3.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%SZ", time.gmtime(at))
