"""The watch over a site during maintenance: lights, changes with how long each state lasted, a log for the ticket."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from engines.failover import advice
from engines.failover.advice import WARNING
from engines.failover.asking import records, telling
from engines.failover.asking.address import AddressCheck, probe
from engines.failover.asking.ledger import TAIL, Watching, brief, clock, ledger, span
from engines.failover.asking.probe import MOST
from engines.failover.asking.records import Records
from engines.failover.asking.request import HttpRequest, asked_of, trusted
from engines.failover.asking.site import Server, SiteParams, host_name, servers, web_port
from engines.failover.asking.tls import Handshake
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
    Warned,
)
from engines.job.errors import BadParam, Refused, Stopped
from engines.job.params import param, plain
from engines.job.units import one_line

DNS_EVERY = 30.0  # s between looks at the records
PARTS = 10  # looks, of a server that gives a part of its addresses at a time
HEARTBEAT = 60.0  # s between readings while nothing changes


class WatchParams(SiteParams, frozen=True, kw_only=True):
    """Which site, how often, how long."""

    interval: Annotated[int, param("Interval", "seconds between looks at each address", ge=1, le=3600)] = 2
    minutes: Annotated[int, param("Minutes", "end by itself after so long; 0: when it is stopped", ge=0)] = 0
    metrics: Annotated[
        str,
        param("Metrics file", "Prometheus text, written anew at each look", kind="output", metavar="FILE.prom"),
    ] = ""
    metrics_listen: Annotated[
        str, param("Metrics port", "the same over HTTP, at /metrics", allowed="PORT or ADDRESS:PORT", metavar="PORT")
    ] = ""
    on_change: Annotated[
        str,
        param(
            "On change", "run this by sh at each change; $CRASHCART_CHANGE says what", kind="command", metavar="COMMAND"
        ),
    ] = ""
    on_change_url: Annotated[str, param("URL on change", "post each change to it, as JSON", metavar="URL")] = ""


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
        asked_of(params), trusted(params)
        outlets = _outlets(params)
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
                *outlets,
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
        page, hooks = telling.Page(), telling.Hooks(params.on_change, params.on_change_url)
        with suppress(Stopped), telling.served(params.metrics_listen, page):
            for event in _rounds(name, params, watching, context):
                if isinstance(event, Measured) and event.kind == "look":
                    yield from _told(event.data, params, page, hooks)
                else:
                    yield event
        hooks.close()
        for line in hooks.trouble():
            with suppress(Stopped):
                yield Warned(text=one_line(line))
        now = time.time()
        with suppress(Stopped):  # the driver says it once more at this yield
            yield StepEnded(step="watch")
        yield Finished(
            summary=_summary(name, watching, now),
            result=watching.reading(now) | {"seconds": round(now - watching.began, 1)},
            sections=(
                *_advised(name, watching, params),
                Section(title="Addresses", text="\n".join(ledger(watching, now)), brief=brief(watching, now)),
                Section(title=f"Changes (the last {TAIL}; watch.log has all)", text="\n".join(watching.changes)),
            ),
        )

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Watch on, with a new count."""
        return self.execute(plan, context)


def _rounds(name: str, params: WatchParams, watching: Watching, run: Context) -> Iterator[AnyEvent]:
    way, trust, asked = asked_of(params), trusted(params), servers(params.resolver)
    dns = InDns()
    until = watching.began + params.minutes * 60 if params.minutes else float("inf")
    next_dns = next_beat = 0.0
    while (now := time.time()) < until:
        said: list[str] = []
        if now >= next_dns:
            next_dns = now + DNS_EVERY
            said += dns.take(asyncio.run(_resolve(name, asked, params.timeout, way.port)))
            watching.forget(dns.addresses, time.time())
        assert dns.records is not None
        lights = asyncio.run(_lights(dns.addresses, way, trust))
        said += watching.take(lights, time.time())
        stamped = [f"{clock(time.time())} {one_line(line)}" for line in said]
        _append(run, stamped)  # and kept, all of the look, before any is told, where the run may be stopped
        watching.changes.extend(stamped)
        for line in stamped:
            yield Log(text=line)
        verdict = judge(dns.records, lights, bool(way.expect)).words
        reading = watching.reading(time.time()) | {"verdict": verdict}
        yield Measured(kind="look", data=reading | {"name": name, "changes": said})
        if said or now >= next_beat:
            next_beat = now + HEARTBEAT
            yield Measured(kind="lights", data=reading)
        run.cancel.sleep(max(0.0, min(now + params.interval, until) - time.time()))


def _told(look: dict[str, Any], params: WatchParams, page: telling.Page, hooks: telling.Hooks) -> Iterator[AnyEvent]:
    """Give a look to those who asked for it; the first one is no change."""
    page.text = telling.prometheus(look["name"], look)
    if params.metrics:
        with suppress(OSError):  # a full disk must not end the watch; the next look writes again
            telling.put(params.metrics, page.text)
    if look["changes"] and look["looks"] > 1:
        hooks.tell(look)
    for line in hooks.trouble():
        yield Warned(text=one_line(line))


def _outlets(params: WatchParams) -> list[tuple[str, str]]:
    """For the review: who is told of what. Raises BadParam."""
    facts = []
    if params.metrics:
        file = Path(params.metrics)
        if (file.exists() and not file.is_file()) or not file.parent.is_dir():
            raise BadParam("metrics", params.metrics, "a file in a folder that is there")
        facts.append(("metrics", f"{params.metrics}, written anew at each look"))
    if params.metrics_listen:
        host, port = telling.place(params.metrics_listen)
        facts.append(("metrics at", f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"))
    facts += [("on each change", f"sh -c {params.on_change!r}")] if params.on_change else []
    facts += [("on each change", f"POST to {telling.web(params.on_change_url)}")] if params.on_change_url else []
    return facts


def _append(run: Context, lines: Sequence[str]) -> None:
    with suppress(OSError), (run.folder / "watch.log").open("a") as log:  # a full state disk must not end the watch
        log.writelines(f"{line}\n" for line in lines)


async def _resolve(name: str, asked: Sequence[Server], timeout: float, port: int) -> Records:
    seen = (records.view(server, name, float(timeout), "resolver", port=port) for server in asked)
    views = await asyncio.gather(*seen)
    return records.gather(name, views)


async def _lights(addresses: Sequence[str], way: HttpRequest, trust: Handshake | None) -> list[AddressCheck]:
    return list(await asyncio.gather(*(probe(address, way, trust, hint=False) for address in addresses[:MOST])))


class InDns:
    """What DNS gives now; of servers that give a part of their addresses at a time, what the last PARTS looks gave."""

    def __init__(self) -> None:
        self.records: Records | None = None
        self.addresses: tuple[str, ...] = ()
        self._recent: deque[tuple[str, ...]] = deque(maxlen=PARTS)

    def take(self, new: Records) -> list[str]:
        """One look; a line for each address that came or went."""
        if not new.addresses:
            self.records = self.records or new
            return [f"DNS gives no address now: {new.state}"]
        if not any(len(offers) > 1 for view in new.views for offers in view.offers.values()):
            self._recent.clear()
        self._recent.append(new.addresses)
        before, now = self.addresses, tuple(dict.fromkeys(one for given in reversed(self._recent) for one in given))
        self.records, self.addresses = new, now
        if not before:
            return []
        lines = [f"DNS: {address} is new" for address in now if address not in before]
        return lines + [f"DNS: {address} is gone" for address in before if address not in now]


def _summary(name: str, watching: Watching, now: float) -> str:
    outage = watching.outage(now)
    whole = f"{name} was down for {span(outage)}" if outage else f"{name} answered at every look"
    return f"{whole}; watched {span(now - watching.began)}, {watching.looks} looks"


def _advised(name: str, watching: Watching, params: WatchParams) -> list[Section]:
    texts = [advice.take_down(name, address, advice.ports(web_port(params))) for address in list(watching.spells)[:1]]
    return [Section(title="Taking a copy down", text="\n".join([*advice.lines(one), "", WARNING])) for one in texts]
