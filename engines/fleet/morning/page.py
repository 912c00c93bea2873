"""The night as one HTML page with its picture, which needs nothing else."""

from __future__ import annotations

import html

from engines.fleet.morning import picture
from engines.fleet.morning.night import Night, markdown
from engines.job import web


def page(night: Night) -> str:
    """The page as text."""
    title = html.escape(f"crashcart fleet: the night of {night.name}")
    drawn = picture.svg(night) if night.jobs else ""
    body = web.blocks(markdown(night))
    return web.framed(title, f"{body}\n{drawn}")
