"""How many jobs at once: by host, by repository and by uplink, each with its number; a job takes one of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engines.fleet.config.model import CONTROLLER, Fleet

AT_CONTROLLER = 2  # jobs of the controller itself, and of each worker in its place
WORKERS = 16  # that may be given such jobs before their own slots say that there are fewer


class Limits:
    """What is taken of what there is. Used by one thread."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._most = {
            f"host {CONTROLLER}": AT_CONTROLLER * (WORKERS if fleet.cluster else 1),
            **{f"host {name}": host.slots for name, host in fleet.hosts.items()},
            **{f"repository {name}": repository.slots for name, repository in fleet.repositories.items()},
            **{f"uplink {name}": uplink.slots for name, uplink in fleet.uplinks.items()},
        }
        self._taken: Counter[str] = Counter()

    @property
    def all(self) -> dict[str, int]:
        """How many there are of each."""
        return dict(self._most)

    @property
    def jobs(self) -> int:
        """How many can be at work at once, at the very most."""
        return sum(most for name, most in self._most.items() if name.startswith("host "))

    def needs(self, host: str, repository: str) -> tuple[str, ...]:
        """What a job takes one of each."""
        return (f"host {host}", *self.stores(repository))

    def stores(self, repository: str) -> tuple[str, ...]:
        """The same of what only reads a repository, on no host."""
        to = self._fleet.repositories.get(repository)
        uplink = (f"uplink {to.uplink}",) if to and to.uplink else ()
        return (f"repository {repository}", *uplink)

    def readers(self, repository: str) -> int:
        """How many may read a repository at once, by its own slots and those of its uplink."""
        return min(self._most[name] for name in self.stores(repository))

    def take(self, needs: Iterable[str], *, by_force: bool = False) -> bool:
        """Take one of each, or nothing. by_force: what runs already counts, whether there is room or not."""
        needs = tuple(needs)
        if not by_force and any(self._taken[name] >= self._most.get(name, 0) for name in needs):
            return False
        self._taken.update(needs)
        return True

    def free(self, needs: Iterable[str]) -> None:
        """Give them back."""
        self._taken.subtract(tuple(needs))
