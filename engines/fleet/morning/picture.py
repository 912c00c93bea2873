"""The night as a picture: a line a host and job, when it ran and for how long, and how it ended."""

from __future__ import annotations

from datetime import datetime
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from engines.fleet.ledger.rows import GOOD, Job
from engines.fleet.morning.night import Night, took, what
from engines.job import units

LEFT, WIDTH, ROW, TOP, RIGHT = 240, 720, 18, 40, 40  # pixels
MOST = 150  # rows; of more, those that took longest and all that ended badly
LEAST = 2.0  # pixels of the shortest bar
STYLE = "text{font:12px sans-serif;fill:#1b1b1b}.dim{fill:#666}line{stroke:#ddd}"
COLOURS = {"done": "#1a7f37", "warned": "#8a6d00", "running": "#1a5fb4"}
BAD = "#b3261e"


def svg(night: Night) -> str:
    """The picture as text."""
    jobs = _shown(night)
    begins = min((job.started or night.begins for job in jobs), default=night.begins)
    ends = max((begins + 1.0, *(_end(job, night) for job in jobs)))
    height = TOP + ROW * len(jobs) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img">',
        f"<title>{escape(f'The night of {night.name}')}</title><style>{STYLE}</style>",
        f'<rect width="100%" height="{height}" fill="#fff"/>',
        '<text x="8" y="18">green: done; yellow: with warnings; red: not; blue: still at work</text>',
    ]
    for share in range(0, 5):
        at = begins + (ends - begins) * share / 4
        x = round(LEFT + WIDTH * share / 4, 1)
        form = "%H:%M:%S" if ends - begins < 600 else "%H:%M"
        clock = datetime.fromtimestamp(at, ZoneInfo(night.zone)).strftime(form)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 22}"/>')
        parts.append(f'<text class="dim" x="{x}" y="{height - 8}" text-anchor="middle">{clock}</text>')
    for number, job in enumerate(jobs):
        parts += _bar(job, TOP + ROW * number, begins, ends, night)
    if len(night.jobs) > len(jobs):
        parts.append(f'<text class="dim" x="8" y="{height - 8}">and {len(night.jobs) - len(jobs)} more</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _shown(night: Night) -> list[Job]:
    ranked = sorted(night.jobs, key=lambda job: (job.state in GOOD, -took(job, night.standing.at)))
    chosen = {job.key for job in ranked[:MOST]}
    return sorted((job for job in night.jobs if job.key in chosen), key=lambda job: (job.host, job.started or 0.0))


def _end(job: Job, night: Night) -> float:
    return (job.started or 0.0) + took(job, night.standing.at)


def _bar(job: Job, y: int, begins: float, ends: float, night: Night) -> list[str]:
    scale = WIDTH / (ends - begins)
    x = LEFT + ((job.started or begins) - begins) * scale
    width = max(LEAST, took(job, night.standing.at) * scale)
    colour = COLOURS.get(job.state, BAD)
    label = units.one_line(f"{job.host}: {what(job)}")
    said = units.one_line(
        f"{label}, {units.span(took(job, night.standing.at))}, {units.size(job.stored)} stored, {job.state}"
    )
    short = label if len(label) <= 38 else label[:37] + "…"
    return [
        f'<text x="8" y="{y + 4}">{escape(short)}</text>',
        f'<rect x="{x:.1f}" y="{y - 6}" width="{width:.1f}" height="12" fill="{colour}">'
        f"<title>{escape(said)}</title></rect>",
    ]
