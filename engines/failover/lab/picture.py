"""The SYN timelines as a picture: one row a visit, when it knocked where, and when it saw a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from engines.failover.lab.measurement import Seen

MOST = 80  # rows
LEFT, WIDTH, ROW, TOP = 230, 640, 20, 46  # pixels
FINE = 0.1  # s; the axis is even up to here and logarithmic beyond, since races take 0.25 s and SYN ladders 131 s
TICKS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
COLOURS = {"A": "#b3261e", "B": "#1a5fb4", "C": "#26734d"}
ENDS = {
    "moved": ("#1a7f37", "page"),
    "back": ("#1a7f37", "page"),
    "error": ("#b3261e", "error"),
    "waiting": ("#8a6d00", "still waiting"),
    "stayed": ("#8a6d00", "the dead copy's page"),
}
STYLE = "text{font:12px sans-serif;fill:#1b1b1b}.dim{fill:#666}line{stroke:#ddd}"


def svg(found: Sequence[Seen], letters: str) -> str:
    """The picture as text; `letters` in the order of the site's records, the last of them alive."""
    rows = sorted(found, key=lambda seen: (seen.client, seen.fault, seen.idle, seen.run))
    shown = [seen for seen in rows if seen.syns or seen.seconds is not None][:MOST]
    longest = max((_end(seen) for seen in shown), default=1.0)
    height = TOP + ROW * len(shown) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 40} {height}" role="img">',
        f"<title>SYN timelines</title><style>{STYLE}</style>",
        f'<rect width="100%" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18">{_legend(letters)}</text>',
    ]
    for tick in TICKS:
        if tick <= longest:
            x = _x(tick, longest)
            parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 24}"/>')
            parts.append(f'<text class="dim" x="{x}" y="{height - 8}" text-anchor="middle">{tick:g} s</text>')
    for at, seen in enumerate(shown):
        parts += _row(seen, TOP + ROW * at, longest, letters[-1])
    if len(rows) > MOST:
        parts.append(f'<text class="dim" x="8" y="{height - 8}">and {len(rows) - MOST} more</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _end(seen: Seen) -> float:
    return max([0.5, seen.seconds or 0.0, *(at for at, _ in seen.syns)])


def _x(seconds: float, longest: float) -> float:
    def scaled(value: float) -> float:
        return math.log1p(max(0.0, value) / FINE)

    return round(LEFT + WIDTH * scaled(seconds) / scaled(longest), 1)


def _legend(letters: str) -> str:
    dark = ", ".join(letters[:-1])
    words = (
        f"x: a SYN to {dark} (dark); o: a SYN to {letters[-1]} (alive); |: what the visitor saw; seconds from the load"
    )
    return escape(words)


def _row(seen: Seen, y: int, longest: float, alive: str) -> list[str]:
    name = escape(f"{seen.client} {seen.fault or f'idle {seen.idle:g} s'} {seen.run}")
    parts = [f'<text x="8" y="{y + 4}">{name}</text>']
    for at, letter in seen.syns:
        x, colour = _x(at, longest), COLOURS.get(letter, "#444")
        words = f"<title>SYN to {escape(letter)} at {at:.2f} s</title>"
        if letter == alive:
            parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="none" stroke="{colour}">{words}</circle>')
        else:
            cross = f"M{x - 4} {y - 4}L{x + 4} {y + 4}M{x - 4} {y + 4}L{x + 4} {y - 4}"
            parts.append(f'<path d="{cross}" stroke="{colour}">{words}</path>')
    if seen.outcome in ENDS and seen.seconds is not None:
        x, (colour, words) = _x(seen.seconds, longest), ENDS[seen.outcome]
        said = f"<title>{words} {seen.seconds:.2f} s</title>"
        parts.append(f'<path d="M{x} {y - 7}V{y + 7}" stroke="{colour}" stroke-width="3">{said}</path>')
    return parts
