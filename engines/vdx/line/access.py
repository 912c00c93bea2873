"""How a switch is reached, and what the logins of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engines.job.contract import Cancel
from engines.job.params import Secret
from engines.vdx.line.address import Address
from engines.vdx.line.patterns import Patterns
from engines.vdx.line.transcript import Transcript

LOGIN = 60.0  # s from the password to the prompt: AAA servers are slow when they are down


@dataclass(frozen=True)
class Ways:
    """What ssh is given besides a password: a key's file, the agent, a machine to jump over, a config of the user's."""

    key_file: str = ""
    agent: bool = False
    jump: str = ""
    config: str = ""

    @property
    def keys(self) -> bool:
        """Whether a login may go without a password."""
        return bool(self.key_file or self.agent or self.config)

    @property
    def direct(self) -> bool:
        """Whether the switch's own port can be looked at from here."""
        return not self.jump and not self.config


@dataclass(frozen=True)
class Access:
    """How one switch is reached. `name` is what the technician calls it: the switch, or the mate.

    password: empty where a key is to do. host_keys: fingerprints agreed to beforehand.
    """

    name: str
    where: Address
    user: str
    password: Secret
    console: str = ""
    ways: Ways = Ways()
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionOpener:
    """What logins share: wordings, the stop request, and a transcript for each (None for no record)."""

    patterns: Patterns
    cancel: Cancel
    transcript: Callable[[Access], Transcript | None]
