"""All members of a collection, over however many pages a BMC spreads them (DSP0266 7.5.3, Members@odata.nextLink)."""

from __future__ import annotations

from typing import Any

import msgspec

from engines.biosiso.bmc.redfish import Client
from engines.biosiso.bmc.resources import Link

PAGES = 32  # of one collection that are asked for


class _Page(msgspec.Struct, frozen=True):
    members: list[Link] | None = msgspec.field(name="Members")
    more: str | None = msgspec.field(name="Members@odata.nextLink", default=None)
    bare: str | None = msgspec.field(name="@odata.nextLink", default=None)
    count: Any = msgspec.field(name="Members@odata.count", default=None)


class Listed(msgspec.Struct, frozen=True):
    """The members, each once, in the BMC's order; and how many more it counts than it lists."""

    members: tuple[Link, ...]
    missing: int


def listed(client: Client, path: str) -> Listed:
    """Ask for a collection, page by page. Raises Unanswered or Failed."""
    found: dict[str, Link] = {}
    asked: set[str] = set()
    count = 0
    while path and path not in asked and len(asked) < PAGES:
        asked.add(path)
        page = client.get(path, _Page)
        found |= {link.path: link for link in page.members or ()}
        count = max(count, page.count if isinstance(page.count, int) else 0)
        further = (page.more or page.bare or "").removeprefix(str(client.door))
        path = client.own(further, "a next page") if further else ""
    unread = int(bool(path and path not in asked))  # there are more pages than are asked for
    return Listed(tuple(found.values()), max(unread, count - len(found), 0))
