"""A site with several addresses: what its visitors would see, measured here, and a watch for the maintenance itself."""

from __future__ import annotations

from tui.pages.failover import LabPage, WatchPage
from tui.wizard import Form, Wizard

LAB = Wizard(
    "failover",
    Form("Visitors", "clients", "faults", why="Real clients, and how the address goes dark under them."),
    Form("Site", "scheme", "addresses", "ladder", why="Made for this, in namespaces of its own; nobody's is touched."),
    Form("Patience", "runs", "cap", "patience", "idle", "output", why="A higher cap measures to the end, and lasts."),
    title="how long real clients wait when an address goes dark",
    live=LabPage,
    keeps=("clients", "faults", "scheme", "addresses", "ladder", "runs", "cap", "patience", "idle"),
)

WATCH = Wizard(
    "failover-watch",
    Form("Site", "name", "scheme", "port", "path", "expect", why="Start it before the maintenance, stop it after."),
    Form("Manner", "interval", "minutes", "timeout", "resolver", why="The defaults fit most sites."),
    Form("Telling", "on_change", "on_change_url", "metrics", "metrics_listen", why="Who else is told; none is needed."),
    title="watch a site's addresses during maintenance",
    live=WatchPage,
    keeps=(
        *("name", "scheme", "port", "path", "expect", "interval", "minutes", "timeout", "resolver"),
        *("on_change", "on_change_url", "metrics", "metrics_listen"),
    ),
)
