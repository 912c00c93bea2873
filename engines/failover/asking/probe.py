"""The live question: if one address of this site goes away, can the others carry it?"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence

import msgspec

from engines.failover import advice
from engines.failover.advice import Advice
from engines.failover.asking import records
from engines.failover.asking.address import AddressCheck, HttpRequest, probe, trust
from engines.failover.asking.records import Records, View
from engines.failover.asking.site import Server, SiteParams, host_name, servers, web_port
from engines.job.units import one_line

MOST = 400  # addresses asked at once; each takes two sockets, and 1024 files are what a process usually may open


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a probe found. `survives` is None where it cannot be told from here; `seconds` is the whole time."""

    name: str
    survives: bool | None
    verdict: str
    reasons: tuple[str, ...]
    records: Records
    lights: tuple[AddressCheck, ...]
    notes: tuple[str, ...]
    advice: Advice | None
    seconds: float


def answer(params: SiteParams) -> Probed:
    """Ask DNS and every address, all at once. Raises BadParam and Refused for what cannot be asked at all."""
    name, asked = host_name(params.name), servers(params.resolver)
    way = HttpRequest(
        name=name,
        port=web_port(params),
        https=params.scheme == "https",
        path=params.path,
        expect=params.expect,
        timeout=float(params.timeout),
    )
    return asyncio.run(_probed(name, asked, way))


async def look(name: str, asked: Sequence[Server], way: HttpRequest) -> tuple[Records, tuple[AddressCheck, ...]]:
    """Records and lights. Addresses are asked as soon as the first resolver has named them."""
    context = trust(way.https)
    zone = asyncio.create_task(records.authoritative(asked[0], name, way.timeout))
    lights: dict[str, asyncio.Task[AddressCheck]] = {}

    def begin(view: View) -> View:
        for address in view.addresses():
            if address not in lights and len(lights) < MOST:
                lights[address] = asyncio.create_task(probe(address, way, context))
        return view

    async def seen(server: Server) -> View:
        return begin(await records.view(server, name, way.timeout, "resolver"))

    views = list(await asyncio.gather(*map(seen, asked)))
    own, note = await zone
    views += [begin(view) for view in own]
    found = await asyncio.gather(*lights.values())
    return records.gather(name, views, [note] if note else []), tuple(found)


async def _probed(name: str, asked: Sequence[Server], way: HttpRequest) -> Probed:
    began = time.monotonic()
    found, lights = await look(name, asked, way)
    survives, verdict, reasons = judge(found, lights)
    example = next((light.address for light in lights), "")
    return Probed(
        name=name,
        survives=survives,
        verdict=verdict,
        reasons=tuple(reasons),
        records=found,
        lights=lights,
        notes=(*found.notes, *_unasked(found, lights), *differences(lights)),
        advice=advice.take_down(name, example, advice.ports(way.port)) if example else None,
        seconds=round(time.monotonic() - began, 3),
    )


def judge(found: Records, lights: Sequence[AddressCheck]) -> tuple[bool | None, str, list[str]]:
    """The answer first: yes, no, or not to be told from here; with a line of reason for each address that fails it."""
    if found.state != "ok":
        return False, f"no: DNS gives no address for {found.name} ({found.state})", []
    seen = [light for light in lights if light.state != "no-route"]
    unseen = [light.address for light in lights if light.state == "no-route"]
    if not seen:
        return None, f"not to be told from here: this machine has no way to {some(unseen)}", []
    reasons = [f"{light.address} cannot carry the site: {light.said()}" for light in seen if light.state != "ok"]
    reasons += [f"{address} is not judged: this machine has no way to it" for address in unseen]
    lacking = []
    for light in seen:
        others = [other for other in seen if other is not light and _family(other) == _family(light)]
        if not any(other.state == "ok" for other in others):
            lacking.append(light)
    if not lacking:
        good = sum(light.state == "ok" for light in seen)
        return True, f"yes: if any one address goes away, another answers ({good} of {len(seen)} answer)", reasons
    if len(seen) == 1:
        return False, f"no: {found.name} has only one address, {seen[0].address}", reasons
    if not any(light.state == "ok" for light in seen):
        return False, f"no: none of the {len(seen)} addresses answers as it should even now", reasons
    for family in sorted({_family(light) for light in lacking}):
        alone = [light for light in lacking if _family(light) == family]
        reasons.append(_alone(family, alone, [light for light in seen if _family(light) == family]))
    gone = some([light.address for light in lacking])
    return False, f"no: if {gone} goes away, no other address of its family carries the site", reasons


def _alone(family: int, lacking: Sequence[AddressCheck], all_of_it: Sequence[AddressCheck]) -> str:
    if len(all_of_it) == 1:
        return f"visitors with IPv{family} only have one address, {all_of_it[0].address}"
    return f"of the {len(all_of_it)} IPv{family} addresses, {some([one.address for one in lacking])} stands alone"


def some(addresses: Sequence[str]) -> str:
    """Up to four of them, and how many more."""
    more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
    return ", ".join(addresses[:4]) + more


def _family(light: AddressCheck) -> int:
    return ipaddress.ip_address(light.address).version


def differences(lights: Sequence[AddressCheck]) -> list[str]:
    """Notes where copies that answer do not answer alike, or only look as if they had the site."""
    good = [light for light in lights if light.state == "ok"]
    notes = []
    for what, of in (("status", [str(x.status) for x in good]), ("title", [x.title for x in good])):
        if len(set(of)) > 1:
            shown = "; ".join(f"{light.address} {value!r}" for light, value in list(zip(good, of, strict=True))[:4])
            notes.append(f"the copies differ in {what}: {shown}")
    notes += _any_host(good)
    notes += [
        f"{light.address}: its certificate ends in {light.certificate_days} days"
        for light in good
        if light.certificate_days is not None and light.certificate_days < 14
    ]
    return notes


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
    if probed.lights:
        lines.append(f"{'address':40} {'state':13} {'connect':>8} {'tls':>8} {'1st byte':>8}")
    for light in probed.lights:
        times = " ".join(
            f"{'-' if t is None else f'{t:.0f} ms':>8}" for t in (light.connect, light.tls, light.first_byte)
        )
        mark = "[ok]" if light.state == "ok" else "[--]"
        lines.append(f"{light.address:40} {mark} {light.state:8} {times}")
        lines.append(f"  {_page(light)}")
    lines += ["", *_dns(probed.records), *(f"! {note}" for note in probed.notes)]
    if probed.advice:
        lines += ["", *advice.lines(probed.advice)]
    return "\n".join(map(one_line, lines))


def _page(light: AddressCheck) -> str:
    if light.status is None:
        return light.said()
    parts = [light.said(), f"status {light.status}"]
    parts += [f"to {light.location}"] if light.location else []
    parts += [f"title {light.title!r}"] if light.title else []
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
