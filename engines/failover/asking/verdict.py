"""Can the site be carried by its other addresses: by what each kind of visitor sees, the worst of it the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal

import msgspec

from engines.failover.asking.address import UNJUDGED, AddressCheck
from engines.failover.asking.records import Records, View

Visitors = Literal["IPv4 only", "IPv6 only", "IPv4 and IPv6", "browsers that read the HTTPS record"]
EMPTY = (204, 205)  # RFC 9110 15.3: there is no page in it


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of visitor sees who asks these DNS servers. `survives` is None where it cannot be told."""

    visitors: Visitors
    servers: tuple[str, ...]
    addresses: tuple[str, ...]
    survives: bool | None
    why: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Yes, no (False) or not to be told (None): the worst sight decides. `words` begin with the answer."""

    survives: bool | None
    words: str
    reasons: tuple[str, ...]
    sights: tuple[Sight, ...]


Outcome = tuple[bool | None, str]


def judge(found: Records, lights: Sequence[AddressCheck], expected: bool = False) -> Verdict:
    """Of records and lights; `expected`: the lights were held against an expected text, so titles may differ."""
    if found.state != "ok":
        words = f"no: DNS gives no address for {found.name} ({found.state})"
        return Verdict(survives=False, words=words, reasons=(), sights=())
    known = {light.address: light for light in lights}
    sights = _merged([sight for view in _views(found) for sight in _sights(view, known, expected)])
    worst = min(sights, key=_rank)
    seen = {address for sight in sights for address in sight.addresses}
    reasons = [
        f"{light.address} cannot carry the site: {light.said()}"
        for light in lights
        if light.state not in ("ok", *UNJUDGED) and light.address in seen
    ]
    apart = len({(sight.survives, sight.why) for sight in sights}) > 1
    if apart:
        reasons += [f"{_who(sight)}: {_said(sight)}" for sight in sights if sight is not worst]
    words = _said(worst, f"{_who(worst)}: " if apart and worst.survives is not True else "")
    survives = worst.survives
    good = [light for light in lights if light.state == "ok" and light.address in seen]
    if survives and (differ := unlike(good, expected)):
        survives, words = None, f"cannot be called yes: DNS servers send their visitors to different sites: {differ}"
    return Verdict(survives=survives, words=words, reasons=tuple(reasons), sights=tuple(sights))


def _rank(sight: Sight) -> int:
    return {False: 0, None: 1, True: 2}[sight.survives]


def _said(sight: Sight, who: str = "") -> str:
    if sight.survives is None:
        return f"cannot be called yes: {who}{sight.why}"
    return f"{'yes' if sight.survives else 'no'}: {who}{sight.why}"


def _who(sight: Sight) -> str:
    more = f" and {len(sight.servers) - 2} more" if len(sight.servers) > 2 else ""
    by = f" by {', '.join(sight.servers[:2])}{more}" if sight.servers else ""
    return f"{'visitors with ' if sight.visitors.startswith('IPv') else ''}{sight.visitors}{by}"


def _views(found: Records) -> list[View]:
    return [view for view in found.views if view.speaks()]


def _merged(sights: Sequence[Sight]) -> list[Sight]:
    """Servers that show the same kind of visitor the same are told together."""
    merged: dict[tuple[object, ...], Sight] = {}
    for sight in sights:
        key = (sight.visitors, sight.addresses, sight.survives, sight.why)
        had = merged.get(key)
        servers = tuple(dict.fromkeys((*(had.servers if had else ()), *sight.servers)))
        merged[key] = msgspec.structs.replace(sight, servers=servers)
    return list(merged.values())


def _sights(view: View, known: Mapping[str, AddressCheck], expected: bool) -> list[Sight]:
    four, six = view.offers.get("A", ()), view.offers.get("AAAA", ())

    def sight(visitors: Visitors, offers: Sequence[tuple[str, ...]], ttl: int | None) -> Sight:
        outcomes = [_of(offer, known, expected) for offer in offers]
        survives, why = min(outcomes, key=lambda one: {False: 0, None: 1, True: 2}[one[0]])
        if len(offers) > 1 and all(len(offer) == 1 for offer in offers) and survives is False:
            why = (
                f"DNS gives one address per answer, in turn: a visitor has no other before the TTL{_long(ttl)} is over"
            )
        addresses = tuple(dict.fromkeys(address for offer in offers for address in offer))
        return Sight(visitors=visitors, servers=(view.server,), addresses=addresses, survives=survives, why=why)

    if not four and not six:
        first = view.answer("A")
        survives = False if first.state in ("no such name", "no record") else None  # or the server itself is ill
        why = f"the DNS server gives no address ({first.state})"
        return [Sight(visitors="IPv4 and IPv6", servers=(view.server,), addresses=(), survives=survives, why=why)]
    found = []
    if four:
        found.append(sight("IPv4 only", four, view.answer("A").ttl))
    if six:
        found.append(sight("IPv6 only", six, view.answer("AAAA").ttl))
    if four and six:
        both = [(*a, *b) for a, b in product(four, six)]
        found.append(sight("IPv4 and IPv6", both, view.answer("A").ttl))
    return found + _hinted(view, known, expected)


def _hinted(view: View, known: Mapping[str, AddressCheck], expected: bool) -> list[Sight]:
    """What HTTPS records name and A and AAAA do not: where one of them is not the site, some visitors meet it."""
    hinted = view.hinted()
    wrong = [one for one in hinted if one in known and known[one].state not in ("ok", *UNJUDGED)]
    if set(hinted) <= set(view.addresses()):
        return []
    both = [known[one] for one in (*hinted, *view.addresses()) if one in known and known[one].state == "ok"]
    apart = unlike(both, expected)
    if not wrong and not apart:
        return []
    why = f"the HTTPS record names {some(wrong)}, which does not carry the site" if wrong else f"not alike: {apart}"
    reads: Visitors = "browsers that read the HTTPS record"
    return [Sight(visitors=reads, servers=(view.server,), addresses=hinted, survives=None, why=why)]


def _long(ttl: int | None) -> str:
    return "" if ttl is None else f" ({ttl} s)"


def _of(offer: Sequence[str], known: Mapping[str, AddressCheck], expected: bool) -> Outcome:
    """One answer's addresses: does another carry the site whichever goes away?"""
    seen = [known[address] for address in offer if address in known and known[address].state not in UNJUDGED]
    unseen = [address for address in offer if address not in {light.address for light in seen}]
    good = [light for light in seen if light.state == "ok"]
    if not seen:
        return None, f"not judged from here: {_unreached(unseen, known)}"
    if len(offer) == 1:
        return False, f"there is only one address, {offer[0]}"
    lacking = [one for one in offer if not any(light.address != one for light in good)]
    if lacking and unseen:
        return None, f"not judged from here: {_unreached(unseen, known)}, and without it {some(lacking)} stands alone"
    if not good:
        return False, f"none of the {len(offer)} addresses answers as it should even now"
    if lacking:
        return False, f"if {some(lacking)} goes away, no other address carries the site"
    if apart := unlike(good, expected):
        return None, f"the copies are not alike: {apart}"
    if nothing := _no_page(good):
        return None, nothing
    return True, f"if any one address goes away, another answers ({len(good)} of {len(offer)} answer)"


def _no_page(good: Sequence[AddressCheck]) -> str:
    """Why copies that are alike prove nothing, as no visitor gets a page from them; empty where one does."""
    first = good[0]
    if all(_refuses(light) for light in good):
        if first.status == 400 and "certificate" in first.title.lower():  # nginx says so in a page
            return "every copy asks for a client certificate: give one (--client-cert)"
        return f"every copy answers {first.status}: name a page that the site has (--path)"
    if all(light.status in EMPTY for light in good):
        return f"every copy answers {first.status}, which holds no page: name one that the site has (--path)"
    if all(light.round for light in good):
        helps = "name another (--path), or keep cookies (--follow)"
        return f"every copy sends visitors back to the same page ({first.redirect}): {helps}"
    if _class(first) == "3xx" and not any(light.redirect for light in good):
        return f"every copy answers {first.status} without saying where to: name a page that the site has (--path)"
    return ""


def _refuses(light: AddressCheck) -> bool:
    """A refusal of any kind: whether the site is behind it cannot be seen. A login (401) is what its visitors meet."""
    return light.status is not None and 400 <= light.status < 500 and light.status != 401


def _unreached(unseen: Sequence[str], known: Mapping[str, AddressCheck]) -> str:
    if not any(address in known for address in unseen):
        return f"{some(unseen)} was not asked"
    if asking := [one for one in unseen if one in known and known[one].state == "client-cert"]:
        return f"{some(asking)} asks for a client certificate ({known[asking[0]].why})"
    kind = "IPv6" if all(":" in address for address in unseen) else "way"
    return f"this machine has no {kind} to reach {some(unseen)}"


def unlike(good: Sequence[AddressCheck], expected: bool = False) -> str:
    """What sets copies that answer apart, as visitors would notice it; empty where nothing does."""
    statuses = [_class(light) for light in good]
    if len(set(statuses)) > 1:
        return _listed("status", good, [str(light.status) for light in good])
    led = [light.redirect for light in good]
    if len(set(led)) > 1:
        return _listed("redirect", good, [f"to {one}" if one else "to nowhere" for one in led])
    if expected or (statuses and statuses[0] == "3xx") or all(led):
        return ""
    titles = [light.title for light in good]
    if len(set(titles)) > 1:
        return _listed("title", good, [repr(_shown(title, titles)) if title else "none" for title in titles])
    if not any(titles) and len({light.sha256 for light in good}) > 1:
        told = _listed("content", good, [f"page {light.sha256[:8]}" for light in good])
        return f"{told}, with no title to compare (name a text that a healthy page holds: --expect)"
    return ""


def _shown(title: str, titles: Sequence[str]) -> str:
    """A title's beginning; where they differ only behind it, what is there."""
    if len({one[:80] for one in titles}) == len(set(titles)):
        return title[:80]
    alike = next(at for at in range(len(max(titles, key=len)) + 1) if len({one[: at + 1] for one in titles}) > 1)
    return f"...{title[max(0, alike - 20) : alike + 60]}"


def _class(light: AddressCheck) -> str:
    status = light.status or 0
    return str(status) if 400 <= status < 500 else f"{status // 100}xx"


def _listed(what: str, good: Sequence[AddressCheck], values: Sequence[str]) -> str:
    """Which copy shows what; those that show the same stand together."""
    by_value: dict[str, list[str]] = {}
    for light, value in zip(good, values, strict=True):
        by_value.setdefault(value, []).append(light.address)
    more = f"; and {len(by_value) - 4} other" if len(by_value) > 4 else ""
    return f"{what}: " + "; ".join(f"{some(who)} {value}" for value, who in list(by_value.items())[:4]) + more


def some(addresses: Sequence[str]) -> str:
    """Up to four of them, and how many more."""
    more = f" and {len(addresses) - 4} more" if len(addresses) > 4 else ""
    return ", ".join(addresses[:4]) + more
