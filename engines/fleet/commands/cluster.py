"""fleet scheduler, worker and certificate: a cluster of controllers is set up and joined."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from engines.fleet.commands.params import FleetParams
from engines.fleet.config.words import NAME, NAMED
from engines.fleet.spread import certificates, members
from engines.job.contract import Note
from engines.job.params import Params, param
from engines.job.units import one_line

ONLY_NAME = f"{NAME}|^$"


class WorkerParams(FleetParams, frozen=True, kw_only=True):
    """What this worker is for."""

    name: Annotated[
        str,
        param(
            "Name",
            "what the others call it; this machine's name where it is not said",
            pattern=ONLY_NAME,
            allowed=NAMED,
        ),
    ] = ""
    jobs: Annotated[int, param("Jobs", "how many it follows at once", ge=1, le=1000)] = 64
    only: Annotated[tuple[str, ...], param("Only", "repositories that it can reach; all where none is named")] = ()


class CertificateParams(Params, frozen=True, kw_only=True):
    """Whose, and where the authority is kept."""

    name: Annotated[str, param("Name", "the member that shows it", pattern=NAME, allowed=NAMED, positional=True)]
    into: Annotated[
        str, param("Into", "the folder of the authority; it is made where there is none", kind="folder")
    ] = "/etc/crashcart/cluster"
    days: Annotated[int, param("Days", "how long it is good", ge=1, le=3650)] = certificates.DAYS
    renew: Annotated[bool, param("Renew", "another key and certificate for a member that has them")] = False
    deny: Annotated[
        bool, param("Deny", "let no certificate in any more that the member has had so far; --renew makes another")
    ] = False


def schedule(params: FleetParams) -> Iterator[str | bytes | Note]:
    """Until it is stopped. Raises Refused, Failed."""
    yield from (Note(one_line(line)) for line in members.schedule(params.read()))


def work(params: WorkerParams) -> Iterator[str | bytes | Note]:
    """Until it is stopped. Raises Refused."""
    name = params.name or platform.node()
    yield from (Note(one_line(line)) for line in members.serve(params.read, name, params.jobs, params.only))


def scheduled(params: FleetParams) -> str:
    """Never comes back but by a stop."""
    for _ in schedule(params):
        pass
    return ""


def worked(params: WorkerParams) -> str:
    """Never comes back but by a stop."""
    for _ in work(params):
        pass
    return ""


def certificate(params: CertificateParams) -> str:
    """The folder with ca.pem, cert.pem and key.pem, which goes to that member; of one that is denied the list, which
    goes to all others. Raises Refused.
    """
    if params.deny:
        denied = certificates.deny(Path(params.into), params.name)
        if not params.renew:
            return str(denied)
    made = certificates.renew if params.renew else certificates.issue
    return str(made(Path(params.into), params.name, params.days))
