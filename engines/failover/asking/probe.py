"""The live question: if one address of this site goes away, can the others carry it?"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from engines.failover import advice
from engines.failover.advice import Advice
from engines.failover.asking import fresh, records
from engines.failover.asking.address import AddressCheck, probe
from engines.failover.asking.records import Records, View
from engines.failover.asking.request import HttpRequest, asked_of, trusted
from engines.failover.asking.site import Server, SiteParams, host_name, proxies, servers
from engines.failover.asking.tls import Handshake
from engines.failover.asking.ttl import seen_after
from engines.failover.asking.verdict import Sight, judge, unlike
from engines.job.units import one_line

LATER = 1.1  # s between two answers of a copy: a time in whole seconds is another by then
MOST = 400  # addresses asked at once; each takes two sockets, and 1024 files are what a process usually may open
NO, UNTOLD = 5, 6  # exit codes, beside 0 for yes


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a probe found. `survives` is None where it cannot be called yes; `seconds` is the whole time.

    sights: by kind of visitor and by what DNS servers tell them; the worst is the verdict.
    seen_after: how long until a change of the records is seen, by client.
    """

    name: str
    survives: bool | None
    verdict: str
    reasons: tuple[str, ...]
    sights: tuple[Sight, ...]
    records: Records
    lights: tuple[AddressCheck, ...]
    notes: tuple[str, ...]
    seen_after: tuple[str, ...]
    advice: Advice | None
    seconds: float


def answer(params: SiteParams) -> Probed:
    """Ask DNS and every address, all at once. Raises BadParam and Refused for what cannot be asked at all."""
    name, asked = host_name(params.name), servers(params.resolver)
    return asyncio.run(_probed(name, asked, asked_of(params), trusted(params)))


def code(probed: Probed) -> int:
    """The exit code of a verdict: 0 yes, 5 no, 6 cannot be called yes."""
    return {True: 0, False: NO, None: UNTOLD}[probed.survives]


def ranked(survives: bool | None) -> int:
    """Outcomes in order, the worst first."""
    return {False: 0, None: 1, True: 2}[survives]


async def look(
    name: str, asked: Sequence[Server], way: HttpRequest, trust: Handshake | None
) -> tuple[Records, tuple[AddressCheck, ...]]:
    """Records and lights. Addresses are asked as soon as the first resolver has named them."""
    zone = asyncio.create_task(records.authoritative(asked[0], name, way.timeout, port=way.port))
    lights: dict[str, asyncio.Task[AddressCheck]] = {}
    pages: dict[str, str] = {}

    def begin(view: View) -> View:
        for address in (*view.addresses(), *view.hinted()):
            if address not in lights and len(lights) < MOST:
                lights[address] = asyncio.create_task(probe(address, way, trust, pages=pages))
        return view

    async def seen(server: Server) -> View:
        return begin(await records.view(server, name, way.timeout, "resolver", port=way.port))

    views = list(await asyncio.gather(*map(seen, asked)))
    own, note = await zone
    views += [begin(view) for view in own]
    found = await asyncio.gather(*lights.values())
    return records.gather(name, views, [note] if note else []), await _told_apart(found, pages, way, trust)


async def _told_apart(
    lights: Sequence[AddressCheck], pages: dict[str, str], way: HttpRequest, trust: Handshake | None
) -> tuple[AddressCheck, ...]:
    """Where copies seem to differ, each is asked once more: what one copy does not say twice sets none apart."""
    good = [light for light in lights if light.state == "ok"]
    if not unlike(good, bool(way.expect)):
        return tuple(lights)
    await asyncio.sleep(LATER)
    later: dict[str, str] = {}
    again = await asyncio.gather(*(probe(one.address, way, trust, hint=False, pages=later) for one in good))
    second = [new if new.state == "ok" else old for old, new in zip(good, again, strict=True)]
    redirects = fresh.urls([(old.redirect, new.redirect) for old, new in zip(good, second, strict=True)])
    titles = fresh.texts([(old.title, new.title) for old, new in zip(good, second, strict=True)])
    texts = [""] * len(good)
    if not any(titles):
        told = [
            (pages[old.address], (later if new is not old else pages)[old.address])
            for old, new in zip(good, second, strict=True)
        ]
        texts = fresh.texts(told, whole=False)
    plain = {
        light.address: msgspec.structs.replace(light, redirect=to, title=title, sha256=_digest(text) or light.sha256)
        for light, to, title, text in zip(good, redirects, titles, texts, strict=True)
    }
    return tuple(plain.get(light.address, light) for light in lights)


def _digest(text: str) -> str:
    """Of a text of which something was left out; empty for any other."""
    return "" if fresh.LEFT_OUT not in text else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


async def _probed(name: str, asked: Sequence[Server], way: HttpRequest, trust: Handshake | None) -> Probed:
    began = time.monotonic()
    found, lights = await look(name, asked, way, trust)
    verdict = judge(found, lights, bool(way.expect))
    example = next((light.address for light in lights), "")
    return Probed(
        name=name,
        survives=verdict.survives,
        verdict=verdict.words,
        reasons=verdict.reasons,
        sights=verdict.sights,
        records=found,
        lights=lights,
        notes=(*found.notes, *_unasked(found, lights), *differences(lights, name), *proxies(name)),
        seen_after=seen_after(_ttl(found)),
        advice=advice.take_down(name, example, advice.ports(way.port)) if example else None,
        seconds=round(time.monotonic() - began, 3),
    )


def _ttl(found: Records) -> int | None:
    """The largest that any server gives: a resolver's own copy has grown older already."""
    return max((one.ttl for view in found.views for one in view.answers[:2] if one.ttl is not None), default=None)


def differences(lights: Sequence[AddressCheck], name: str) -> list[str]:
    """Notes on copies that answer, where they only look as if they had the site or will not for long."""
    good = [light for light in lights if light.state == "ok"]
    notes = [*_any_host(good), *_led(good, name), *_others(good)]
    if any(fresh.LEFT_OUT in light.redirect + light.title for light in good):
        notes.append(f"what is new with each request is not compared, and shown as {fresh.LEFT_OUT}")
    notes += [
        f"{light.address}: its certificate ends in {light.certificate_days} days"
        for light in good
        if light.certificate_days is not None and light.certificate_days < 14
    ]
    return notes


def _led(good: Sequence[AddressCheck], name: str) -> list[str]:
    """What a redirect that all copies give leaves open."""
    led = {light.redirect for light in good if not light.round}
    if len(led) != 1 or not (where := next(iter(led))):
        return []
    host = (urlsplit(where).hostname or "").rstrip(".")
    helps = "ask it, too: --follow" if host == name.rstrip(".").lower() else f"probe {host or 'it'}, too"
    return [f"every copy sends its visitors on to {where[:200]}, which was not asked; {helps}"]


def _others(good: Sequence[AddressCheck]) -> list[str]:
    """Other ways in that browsers take from the second visit on (RFC 7838)."""
    told = {light.alternatives for light in good if light.alternatives}
    return [f"copies name other ways in, which browsers take later and which were not tried: {one}" for one in told]


def _unasked(found: Records, lights: Sequence[AddressCheck]) -> list[str]:
    left = len(found.addresses) - len(lights)
    return [f"{left} more addresses were not asked: {MOST} at most"] if left > 0 else []


def _any_host(good: Sequence[AddressCheck]) -> list[str]:
    hinted = [light.address for light in good if light.any_host]
    if hinted and len(hinted) == len(good):
        return ["every copy gives the same page for a name that does not exist: usual for a server with one site"]
    words = "gives the same page for a name that does not exist: it may lack this site (a hint)"
    return [f"{address} {words}" for address in hinted]


def table(probed: Probed) -> str:
    """The answer first, then the lights, then DNS, then how to take a copy down."""
    lines = [f"{probed.name}: {probed.verdict}", *(f"  {reason}" for reason in probed.reasons), ""]
    lines += lamps(probed.lights)
    lines += ["", *_dns(probed.records), *(f"! {note}" for note in probed.notes)]
    if probed.seen_after:
        lines += ["", "A change of these records is seen by", *(f"  {line}" for line in probed.seen_after)]
    if probed.advice:
        lines += ["", *advice.lines(probed.advice)]
    return "\n".join(map(one_line, lines))


def lamps(lights: Sequence[AddressCheck]) -> list[str]:
    """Two lines an address, under a heading."""
    if not lights:
        return []
    lines = [f"{'address':40} {'state':13} {'connect':>8} {'tls':>8} {'1st byte':>8}"]
    for light in lights:
        times = " ".join(
            f"{'-' if t is None else f'{t:.0f} ms':>8}" for t in (light.connect, light.tls, light.first_byte)
        )
        mark = "[ok]" if light.state == "ok" else "[--]"
        lines.append(f"{light.address:40} {mark} {light.state:8} {times}")
        lines.append(f"  {_page(light)}")
    return [one_line(line) for line in lines]


def _page(light: AddressCheck) -> str:
    if light.status is None:
        return light.said()
    parts = [light.said(), f"status {light.status}"]
    parts += [f"to {led}"] if (led := light.location or light.redirect) else []
    parts += [f"title {light.title[:80]!r}"] if light.title else []
    parts += [f"certificate {light.certificate_days} days"] if light.certificate_days is not None else []
    return ", ".join(parts)


def _dns(found: Records) -> list[str]:
    lines = [f"{'DNS server':24} {'role':13} {'order':9} {'TTL':>6}  A and AAAA"]
    for view in found.views:
        first = view.answer("A")
        given = ", ".join(view.addresses()[:8]) or first.state
        more = len(view.addresses()) - 8
        flags = [word for word, on in (("validated", first.validated), ("signed", first.signed)) if on]
        ttl = "-" if first.ttl is None else str(first.ttl)
        aliases = f" by way of {', '.join(first.aliases)}" if first.aliases else ""
        tail = (f" and {more} more" if more > 0 else "") + aliases + (f" ({', '.join(flags)})" if flags else "")
        lines.append(f"{view.server:24} {view.role:13} {view.order or '-':9} {ttl:>6}  {given}{tail}")
    return lines
