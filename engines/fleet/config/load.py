"""fleet.yaml from its file: read, and held to itself (names that are used are there)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engines.fleet.config import words
from engines.fleet.config.model import CONTROLLER, Fleet, Match, Rule
from engines.fleet.config.reading import Reading
from engines.job import jobfile
from engines.job.errors import Refused

PATH = Path("/etc/crashcart/fleet.yaml")
LIMIT = 1024 * 1024  # bytes; YAML bombs need room


class Mistakes(Refused):
    """fleet.yaml cannot be used; `lines` has one for each mistake: key, value, what is allowed."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        super().__init__(f"{name} has {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}", f"correct {name}")
        self.lines = tuple(mistakes)


def load(path: Path = PATH) -> Fleet:
    """The fleet of a file. Raises Refused, Mistakes."""
    return parsed(jobfile.own(path, "fleet file", LIMIT), str(path))


def parsed(raw: bytes, name: str = "fleet.yaml") -> Fleet:
    """The fleet of a text; `name` is what errors call it. Raises Refused, Mistakes."""
    if len(raw) > LIMIT:
        raise Refused(f"fleet file {name} is over {LIMIT} bytes", "match guests by patterns instead of one by one")
    data = jobfile.yaml_of(raw, f"fleet file {name}", "write hosts, repositories, policies and guests")
    reading = Reading()
    fleet = reading.read(Fleet, data)
    if fleet is not None:
        reading.mistakes += _unknown(fleet)
    if reading.mistakes or fleet is None:
        raise Mistakes(name, reading.mistakes)
    return fleet


def _unknown(fleet: Fleet) -> Iterator[str]:
    """Names that are used and stand nowhere, and what there is none of."""
    named = {"hosts": fleet.hosts, "repositories": fleet.repositories, "policies": fleet.policies}
    yield from (f"{key} is nothing, allowed is names, each with its keys" for key, value in named.items() if not value)
    for name, repository in fleet.repositories.items():
        yield from _one(f"repositories.{name}.uplink", repository.uplink, fleet.uplinks, needed=False)
        yield from _one(f"repositories.{name}.host", repository.host, fleet.hosts)
    yield from _one("lease", fleet.lease, fleet.repositories)
    if fleet.lease in fleet.repositories and fleet.repositories[fleet.lease].host:
        yield f"lease is {fleet.lease!r}, allowed is a repository without host: each controller reaches it itself"
    if fleet.cluster and fleet.cluster.encrypted and not fleet.cluster.tls:
        yield "cluster.tls is nothing, allowed is a folder with ca.pem, cert.pem and key.pem"
    for name, host in fleet.hosts.items():
        if name == CONTROLLER:
            yield f"a name in hosts is {name!r}, allowed is any other: upkeep that names no host is done there"
        if not host.find:
            yield f"hosts.{name}.find is nothing, allowed is a list of libvirt, {{lvm: PATTERN}}"
    for name, policy in fleet.policies.items():
        if len(set(policy.to)) < len(policy.to):
            yield f"policies.{name}.to is {list(policy.to)}, allowed is each repository once"
        if policy.interval < words.DAY and policy.interval > policy.hours.minutes * 60:
            within = f"up to the window's {policy.hours.minutes} minutes, or whole days"
            yield f"policies.{name}.every is {policy.every!r}, allowed is {within}"
        if not policy.to and fleet.repositories:
            yield f"policies.{name}.to is nothing, allowed is a list of {', '.join(fleet.repositories)}"
        for to in policy.to:
            yield from _one(f"policies.{name}.to", to, fleet.repositories)
        yield from _same_place(f"policies.{name}.to", policy.to, fleet)
    for number, rule in enumerate(fleet.guests, 1):
        yield from _rule(f"guests[{number}]", rule, fleet)
    for number, alert in enumerate(fleet.alerts, 1):
        if (alert.to is None) == (not alert.ping_file):
            yield f"alerts[{number}] is neither or both, allowed is one of to, ping_file"


def _same_place(key: str, to: Sequence[str], fleet: Fleet) -> Iterator[str]:
    """Two names of one repository: what goes to both is there once. A folder is each host's own."""
    seen: dict[tuple[str, str], str] = {}
    for name in dict.fromkeys(each for each in to if each in fleet.repositories):
        repository = fleet.repositories[name]
        host = "" if "://" in repository.url else repository.host
        first = seen.setdefault((repository.url.rstrip("/"), host), name)
        if first != name:
            yield f"{key} has {name!r}, which is {first} by another name; allowed is each repository once"


def _rule(key: str, rule: Rule, fleet: Fleet) -> Iterator[str]:
    if bool(rule.skip) == (rule.match is not None):
        yield f"{key} is neither or both, allowed is one of match, skip"
    if rule.skip and not rule.why:
        yield f"{key}.why is nothing, allowed is why {rule.skip} is not backed up"
    if isinstance(rule.match, Match) and rule.match == Match():
        yield f"{key}.match is nothing, allowed is all, or one or more of metadata, name, tag, host"
    yield from _one(f"{key}.policy", rule.policy, fleet.policies)
    named = rule.match.metadata if isinstance(rule.match, Match) else ""
    if rule.match is not None and not rule.skip and not rule.policy and not named and fleet.policies:
        yield f"{key}.policy is nothing, allowed is one of {', '.join(fleet.policies)}"
    if named and not rule.policy:
        yield from _one(f"{key}.match.metadata", named, fleet.policies)


def _one(key: str, name: str, known: dict[str, Any], *, needed: bool = True) -> Iterator[str]:
    """needed: where there is none at all of what must be there, that is told by itself."""
    if name and name not in known and (known or not needed):
        yield f"{key} is {name!r}, allowed is one of {', '.join(known) or 'none, since none is declared'}"
