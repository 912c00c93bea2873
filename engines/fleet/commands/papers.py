"""What fleet check says of a cluster: whether this process may join it, and how long its papers are good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from engines.fleet.config.model import Fleet
from engines.fleet.spread import certificates, denying
from engines.fleet.spread.security import member
from engines.job import units
from engines.job.errors import Refused

SOON = 30.0  # days that a certificate is good for at the least; a third of its life where that is less
DAY = 86400.0  # s

Told = tuple[str, str, str]


def joining(fleet: Fleet) -> Iterator[Told]:
    """What was looked at, what was found, and what is wrong with it: empty where it is good."""
    cluster = fleet.cluster
    if cluster is None:
        return
    what = f"cluster {cluster.scheduler}"
    try:
        member(fleet)
    except Refused as refused:
        yield what, "is not joined from here", f"{refused.why}; {refused.what_helps}"
    else:
        yield what, "may be joined from here", ""
    if cluster.encrypted:
        yield from (_paper(Path(cluster.tls) / name) for name in ("ca.pem", "cert.pem"))
        yield _pair(Path(cluster.tls))
        yield from _denied(Path(cluster.tls))


def _paper(path: Path) -> Told:
    try:
        begins, ends = certificates.lasts(path)
    except (OSError, ValueError) as error:
        return str(path), "cannot be read", units.one_line(str(error))
    left = (ends.timestamp() - time.time()) / DAY
    soon = min(SOON, (ends - begins).total_seconds() / DAY / 3)
    helps = f"crashcart fleet certificate {'NAME --renew' if path.name == 'cert.pem' else 'NAME --into FOLDER'}"
    if left <= 0:
        why = f"it ended {-left:.0f} days ago, and nobody lets it join: {helps}"
    else:
        why = "" if left > soon else f"make another before it ends, in {left:.0f} days: {helps}"
    return str(path), f"is good until {ends:%Y-%m-%d}", why


def _denied(folder: Path) -> Iterator[Told]:
    """Of a list that is there: a member without it lets in who is denied elsewhere, and cannot know of it."""
    what = str(folder / denying.DENIED)
    try:
        if many := denying.count(folder):
            yield what, f"{many} certificates are let in no more", denying.unfit(folder)
    except (OSError, ValueError, TypeError) as error:
        yield what, "cannot be read", units.one_line(str(error))


def _pair(folder: Path) -> Told:
    """Whether the papers are of one making: of a mixed set each is good, and none lets it join."""
    what = str(folder / "key.pem")
    try:
        wrong = certificates.mixed(folder)
    except (OSError, ValueError, TypeError) as error:
        return what, "cannot be compared with cert.pem", units.one_line(str(error))
    helps = "copy the member's whole folder again, or make it anew: crashcart fleet certificate NAME --renew"
    return what, "is compared with cert.pem", f"{wrong}: {helps}" if wrong else ""
