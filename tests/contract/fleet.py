"""A fleet of one guest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import tasks
from engines.fleet.ledger.holds import holds
from engines.fleet.ledger.ledger import Ledger
from engines.job.jobfile import Job
from tests.contract.backup import of_repository
from tests.contract.target import Case, Target, named
from tests.engines.backup import lab as backup_lab
from tests.engines.backup.guests.host import domain, node, raw


def fleet_of_one(folder: Path) -> tuple[str, dict[str, Any]]:
    """A repository, and the fleet.yaml of this host as its own hypervisor, with one guest that is off."""
    image = backup_lab.disk(folder / "web1.img", {0: 1}, backup_lab.MIB)
    uri = node(folder / "host.xml", domain(1, "web1", raw(image)))
    repo, path = backup_lab.init(folder / "repository"), folder / "fleet.yaml"
    path.write_text(
        f"hosts: {{hv1: {{ssh: local, connect: '{uri}'}}}}\nrepositories: {{near: {{url: '{repo}'}}}}\n"
        "policies: {gold: {to: [near], retries: 0}}\nguests: [{match: all, policy: gold}]\n"
        f"ledger: {folder}/ledger.sqlite\n"
    )
    return repo, {"fleet": str(path)}


@contextmanager
def rounded(folder: Path) -> Iterator[Target]:
    """A fleet of one guest; what counts is what its points hold."""
    repo, given = fleet_of_one(folder)
    of = of_repository("backup-verify", folder, {"repo": repo})

    def state() -> dict[str, str]:
        return {name: seen for name, seen in of.state().items() if "ledger.sqlite" not in name}

    yield Target(tasks.engine("fleet"), Job(task="fleet", params={**given, "only": "*", "now": True}), state)


def of_holds(task: str, folder: Path, **params: str) -> Target:
    """What counts is what is held."""

    def state() -> dict[str, str]:
        with Ledger(folder / "ledger.sqlite") as ledger:
            return {hold.id: hold.words for hold in holds(ledger)}

    return Target(tasks.engine(task), Job(task=task, params={"fleet": str(folder / "fleet.yaml"), **params}), state)


@contextmanager
def held(folder: Path) -> Iterator[Target]:
    """A host that is held."""
    fleet_of_one(folder)
    yield of_holds("fleet-hold", folder, name="hv1", why="its memory is swapped")


@contextmanager
def released(folder: Path) -> Iterator[Target]:
    """One that was, and is seen to again."""
    fleet_of_one(folder)
    backup_lab.done("fleet-hold", fleet=str(folder / "fleet.yaml"), name="near", why="it moves")
    yield of_holds("fleet-release", folder, name="near")


CASES = (
    Case("fleet", named("fleet"), rounded, ({"fleet": "/nowhere"},), adds=True, moments=1),
    Case("fleet hold", named("fleet-hold"), held, ({"fleet": "/nowhere"}, {"name": "web9"}, {"why": " "}), moments=3),
    Case("fleet release", named("fleet-release"), released, ({"fleet": "/nowhere"}, {"name": "web9"}), moments=2),
)
