"""Every guest of every hypervisor: how they stand, and a round of backups."""

from __future__ import annotations

from tui.fleet.guests import Guests
from tui.wizard import Door, Form, Section, Wizard

FLEET = Section(
    "Fleet",
    "every guest of every hypervisor, and how last night went",
    "Needs a fleet.yaml. Guests without a backup stand first.",
    doors=(Door("Guests", "how every guest stands", "By what the repositories really hold.", lambda _: Guests()),),
)

RUN = Wizard(
    "fleet",
    Form("Fleet", "fleet", "only", "now", why="A round does what is due; the review says where to see who that is."),
    title="one round: back up every guest whose turn it is",
    under=FLEET,
    name="Run a round",
    keeps=("fleet",),
)
