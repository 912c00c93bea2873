"""How long until a change of records is seen, by client: from the TTL, and from what was measured of clients."""

from __future__ import annotations

from engines.failover.asking.ledger import span

MEASURED = "measured in November 2026 on Linux with TTL 5 and 300"
CLIENTS = (  # client, seconds beyond the resolver's TTL for which its own copy was kept, and what else was seen
    ("chromium 156, open", 65, "then follows the new records, once its kept connection has ended (40 to 70 s idle)"),
    ("firefox 153, open", 70, "then asks again, but stays with the address that it used while DNS still gives it"),
    ("webkit 2.50, open", None, "did not ask again within 9.5 minutes: until it is closed"),
)
LONG = 300  # s; more than this is long in a maintenance


def seen_after(ttl: int | None) -> tuple[str, ...]:
    """Lines for people; none where the TTL is not known."""
    if ttl is None:
        return ()
    lines = [f"new visitors, and programs that ask each time: up to {span(ttl)} (TTL {ttl}, kept by their resolver)"]
    for client, beyond, words in CLIENTS:
        after = "" if beyond is None else f"up to {span(ttl + beyond)}, "
        lines.append(f"{client}: {after}{words}")
    lines.append(f"browsers: {MEASURED}; what looks names up once and keeps them (proxies, pools) until its restart")
    if ttl > LONG:
        lines.append(f"before a planned change, lower the TTL to 60 and wait {span(ttl)}")
    return tuple(lines)
