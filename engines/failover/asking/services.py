"""HTTPS records (RFC 9460): where browsers that read them go, beside what A and AAAA say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

MOST = 8  # records that are looked at; hints taken of each


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One record. priority 0: an alias for `target`. `target` is empty where it is the name itself.

    leads: the target's own addresses, as the same server gives them.
    """

    priority: int
    target: str = ""
    alpn: tuple[str, ...] = ()
    port: int | None = None
    hints: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()


def services(records: Sequence[Any]) -> tuple[Service, ...]:
    """From dnspython's records, most wanted first."""
    found = [_service(record) for record in list(records)[:MOST]]
    return tuple(sorted(found, key=lambda one: one.priority))


def _service(record: Any) -> Service:
    params = {int(key): value for key, value in record.params.items()}
    alpn, port = params.get(1), params.get(3)
    hinted = [address for key in (4, 6) if params.get(key) for address in params[key].addresses[:MOST]]
    return Service(
        priority=record.priority,
        target=record.target.to_text(omit_final_dot=True).strip("."),
        alpn=tuple(one.decode("latin-1") for one in alpn.ids[:MOST]) if alpn else (),
        port=port.port if port else None,
        hints=tuple(hinted),
    )


def notes(found: Sequence[Service], addresses: Sequence[str], server: str) -> list[str]:
    """What a technician must know of them."""
    said = []
    for one in found:
        if one.priority == 0:
            said.append(f"{server}: the HTTPS record sends browsers that read it on to {_target(one) or 'nowhere'}")
            continue
        apart = [address for address in one.hints if address not in addresses]
        if apart:
            said.append(
                f"{server}: the HTTPS record hints at {', '.join(apart)}, which A and AAAA do not give: browsers that"
                " read it go there, and its hints must change with the addresses"
            )
        elif one.hints:
            said.append(f"{server}: the HTTPS record repeats addresses: its hints must change with A and AAAA")
        if one.target or one.port:
            where = (_target(one) or "the same name") + (f", port {one.port}" if one.port else "")
            said.append(f"{server}: the HTTPS record sends browsers that read it to {where}")
        if "h3" in one.alpn:
            said.append(f"{server}: the HTTPS record offers HTTP/3 (UDP), which was not tried")
    return said


def _target(one: Service) -> str:
    """The target, with its addresses where they were asked for."""
    return one.target + (f" ({', '.join(one.leads[:4])})" if one.leads else "")
