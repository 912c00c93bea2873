"""What a site's visitors will see when an address goes dark: from its records and the dated tables, nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from engines.failover import tables
from engines.failover.advice import WARNING, Advice, ports, take_down
from engines.failover.advice import lines as advised
from engines.failover.asking.site import SiteParams
from engines.failover.faults import FAULTS
from engines.failover.tables import Cell, Table
from engines.job.params import param

FaultName = Literal["drop", "rst", "icmp", "hang", "tls-hang", "503", "mid-session"]
WITHIN = {"drop": "mid-session", "mid-session": "mid-session", "rst": "mid-session-rst"}
"""By fault: the one that a visitor who has the site open meets."""


class PredictParams(SiteParams, frozen=True, kw_only=True):
    """Which site, which fault, which table."""

    fault: Annotated[FaultName, param("Fault", "how the address goes dark")] = "drop"
    table: Annotated[
        str, param("Table", "a table that the lab wrote, instead of the shipped one", kind="file", metavar="FILE.yaml")
    ] = ""


class Share(msgspec.Struct, frozen=True):
    """The share of new visitors (0 to 1) who are sent to `address` first."""

    address: str
    share: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One client. A part that nobody measured is None and is said so; never a number in its place."""

    client: str
    version: str
    new: Cell | None
    already: Cell | None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, from `tables` in their order; `published` holds the old set beside it."""

    name: str
    fault: str
    order: str
    shares: tuple[Share, ...]
    share_words: str
    clients: tuple[Told, ...]
    measured: tuple[str, str]
    published: tuple[Cell, ...]
    published_from: str
    notes: tuple[str, ...]
    advice: Advice | None = None


def shares(addresses: Sequence[str], order: str) -> tuple[tuple[Share, ...], str]:
    """Who is sent where, of the IPv4 addresses (or IPv6, where there are no others), in words too."""
    four = [address for address in addresses if ipaddress.ip_address(address).version == 4] or list(addresses)
    if not four:
        return (), "the name has no address: nobody is sent anywhere"
    if order == "rotating":
        each = 1 / len(four)
        words = f"the order rotates: about 1 in {len(four)} new visitors is sent to each address first"
        return tuple(Share(address, round(each, 4)) for address in four), words
    if len(four) == 1:
        return (Share(four[0], 1.0),), "there is only one address: every visitor is sent to it"
    if order != "fixed":
        return (), "whether the order is fixed or rotates was not seen, so shares are not known"
    words = f"the order is fixed: every new visitor is sent to {four[0]} first, none to the others"
    return tuple(Share(address, 1.0 if at == 0 else 0.0) for at, address in enumerate(four)), words


def predict(
    name: str,
    addresses: Sequence[str],
    order: str,
    fault: str,
    measured: Table,
    published: Table | None = None,
    *,
    singly: bool = False,
    ttl: int | None = None,
) -> Prediction:
    """A pure function of the records, the fault and the tables. `singly`: DNS gives one address per answer, in turn."""
    found, words = shares(addresses, order)
    new_fault = "drop" if fault == "mid-session" else fault
    told = [_told(cells, new_fault, WITHIN.get(fault, "")) for cells in _by_client(measured)]
    clients = tuple(one for one in told if one.new or one.already)
    alone = _alone(addresses, singly, ttl)
    notes = list(alone)
    shown = [] if alone else [cell for one in clients for cell in (one.new, one.already) if cell]
    if len(found) > 2 and shown:
        notes += ["measured with two addresses, one dark"] if any(cell.addresses == 2 for cell in shown) else []
        more = [cell for cell in measured.cells if cell.addresses > 2 and cell.fault == new_fault]
        notes += [f"with two of three addresses dark: {one.client} {one.version} {tables.said(one)}" for one in more]
    elif any(cell.addresses > 2 for cell in shown):
        notes.append(
            "some cells were measured with two of three addresses dark: fewer wait so long where one of two is"
        )
    if not alone and any(ipaddress.ip_address(address).version == 6 for address in addresses):
        notes.append("measured with IPv4; between IPv6 and IPv4 most clients change over within a second")
    if not alone:
        notes.append("a cell holds for the client version, kernel and date that it names; other versions may differ")
    return Prediction(
        name=name,
        fault=fault,
        order=order,
        shares=found,
        share_words=words,
        clients=() if alone else clients,
        measured=(measured.title, measured.source),
        published=tuple(c for c in published.cells if c.fault == new_fault) if published and not alone else (),
        published_from=published.source if published and not alone else "",
        notes=tuple(notes),
    )


def _alone(addresses: Sequence[str], singly: bool, ttl: int | None) -> list[str]:
    """Why no visitor of one family can move by itself, so that no seconds can be given; empty where one can."""
    four = [one for one in addresses if ipaddress.ip_address(one).version == 4]
    six = [one for one in addresses if ipaddress.ip_address(one).version == 6]
    if singly:
        over = f" ({ttl} s)" if ttl is not None else ""
        return [
            f"DNS gives one address per answer, in turn: who was given the dark one has no other before the TTL{over}"
            " is over, and may be given it again then; no client moves by itself, so there are no seconds"
        ]
    if len(four) == 1 and len(six) == 1:
        return [
            "visitors with IPv4 and IPv6 move to the other family, most clients within a second (RFC 8305)",
            "visitors with IPv4 only, or IPv6 only, have one address: they wait until it comes back",
        ]
    if len(addresses) == 1:
        return ["with one address nothing can take over: every visitor waits for it to come back"]
    return []


def _by_client(table: Table) -> list[list[Cell]]:
    """Cells of each client: those with one of two addresses dark, or else what was measured with more."""
    grouped: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in sorted(table.cells, key=lambda cell: cell.addresses != 2):
        grouped.setdefault((cell.client, cell.version, cell.ladder), []).append(cell)
    return list(grouped.values())


def _told(cells: Sequence[Cell], fault: str, within: str) -> Told:
    new = next((cell for cell in cells if cell.fault == fault), None)
    already = next((cell for cell in cells if within and cell.fault == within), None)
    if already and already.outcome == "oneshot":
        already = (
            msgspec.structs.replace(new, fault=already.fault, note="opens a new connection each time") if new else None
        )
    return Told(client=cells[0].client, version=cells[0].version, new=new, already=already)


def answer(params: PredictParams) -> Prediction:
    """Look the records up and predict. Raises Refused and BadParam."""
    import asyncio
    from pathlib import Path

    from engines.failover.asking import records
    from engines.failover.asking.site import host_name, servers, web_port

    name, asked = host_name(params.name), servers(params.resolver)
    measured = tables.read(Path(params.table) if params.table else tables.MEASURED)
    published = tables.read(tables.PUBLISHED)

    async def views() -> records.Records:
        seen = [records.view(server, name, float(params.timeout), "resolver") for server in asked]
        return records.gather(name, await asyncio.gather(*seen))

    found = asyncio.run(views())
    view = next((one for one in found.views if one.addresses()), None)
    addresses = view.addresses() if view else ()
    offers = view.offers.get("A", ()) if view else ()
    singly = len(offers) > 1 and all(len(offer) == 1 for offer in offers)
    told = predict(name, addresses, found.order, params.fault, measured, published, singly=singly, ttl=found.ttl)
    if told.shares:
        down = take_down(name, told.shares[0].address, ports(web_port(params)))
        told = msgspec.structs.replace(told, advice=down)
    if found.state != "ok":
        notes = (f"DNS gives no address: {found.state}", *told.notes)
        return msgspec.structs.replace(told, notes=notes)
    others = [one for one in found.views if one.addresses() and set(one.addresses()) != set(addresses)]
    apart = [
        f"{one.server} gives others ({', '.join(one.addresses()[:4])}): this is for visitors of {view.server}, "
        f"for its visitors say --resolver {one.server}"
        for one in others
        if view
    ]
    return msgspec.structs.replace(told, notes=(*apart, *told.notes))


def table(told: Prediction) -> str:
    """For people, 80 columns."""
    lines = [f"{told.name}, when an address goes dark by: {FAULTS[told.fault].words}", f"  {told.share_words}"]
    lines += [f"  {share.address:40} {share.share:5.0%} of new visitors" for share in told.shares]
    if told.clients:
        lines += ["", f"{'client':13} {'version':16} {'new visitor':22} {'already on the site':26}"]
    for client in told.clients:
        lines.append(
            f"{client.client:13} {client.version:16.16} {_said(client.new):22} {_said(client.already):26}".rstrip()
        )
        lines.append(f"{'':13} {_origin(client.new or client.already)}")
        if client.already and client.already.reloads:
            lines.append(f"{'':13}   already on the site: {client.already.note}")
    lines += ["", f"figures: {told.measured[0]}; {told.measured[1]}"] if told.clients else []
    if told.published:
        lines += ["", f"as published ({told.published_from}), not measured here:"]
        lines += [f"{cell.client:13} {cell.version:16} {tables.said(cell):22} {cell.date}" for cell in told.published]
    lines += ["", *(f"! {note}" for note in told.notes), "", WARNING]
    lines += ["", *advised(told.advice)] if told.advice else []
    return "\n".join(lines)


def _said(cell: Cell | None) -> str:
    return tables.said(cell) if cell else "not measured"


def _origin(cell: Cell | None) -> str:
    if cell is None:
        return ""
    kernel = (
        f"SYN ladder {cell.ladder} ({cell.ladder_seconds} s)"
        if cell.ladder_seconds
        else f"SYN ladder {cell.ladder or 'unknown'}"
    )
    agreeing = f"{cell.agreeing} of " if cell.agreeing not in (None, cell.runs) else ""
    runs = f", {agreeing}{cell.runs} runs" if cell.runs > 1 else ", 1 run"
    dark = f", {cell.addresses - 1} of {cell.addresses} addresses dark" if cell.addresses > 2 else ""
    return f"  {kernel}, {cell.date}{runs}{dark}"
