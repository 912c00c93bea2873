"""What a lab is asked to measure: its parameters, and one order for each visit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engines.failover.faults import FAULTS
from engines.failover.lab.ladder import Ladder
from engines.failover.lab.measurement import Order, Seen
from engines.failover.visitors.clients import Client
from engines.job.errors import BadParam
from engines.job.params import Params, param

CLIENTS = ("chromium", "firefox", "curl", "python")
LETTERS = "ABC"
IDLE_LIMIT = 3600.0  # s


def words(given: Sequence[str]) -> tuple[str, ...]:
    """A list that may also come as one word with commas."""
    return tuple(part.strip() for item in given for part in item.split(",") if part.strip())


class LabParams(Params, frozen=True, kw_only=True):
    """What the lab measures."""

    clients: Annotated[
        tuple[str, ...],
        param(
            "Clients",
            "who visits: chromium, firefox, webkit, curl, curl-timeout, wget, busybox-wget, python, requests, httpx,"
            " aiohttp, node, java, go; or browsers, or all",
            allowed="names, browsers or all",
            metavar="NAME,…",
        ),
    ] = CLIENTS
    faults: Annotated[
        tuple[str, ...],
        param(
            "Faults",
            "how the address goes dark: drop, rst, icmp, close, reset, hang, tls-hang, 503, slow, mid-session,"
            " mid-session-rst",
            allowed="names of faults",
            metavar="NAME,…",
        ),
    ] = ("drop", "rst")
    ladder: Annotated[
        Literal["own", "linux", "linux-old", "windows", "short"],
        param("SYN ladder", "how long the clients' kernel knocks at a silent address; own is this machine's"),
    ] = "own"
    scheme: Annotated[
        Literal["http", "https"], param("Scheme", "https has an authority of the lab's own, which the clients trust")
    ] = "http"
    addresses: Annotated[int, param("Addresses", "A records of the site; all but the last go dark", ge=2, le=3)] = 2
    runs: Annotated[int, param("Runs", "how often each is measured; the table shows medians", ge=1, le=99)] = 3
    cap: Annotated[int, param("Cap", "seconds after which a wait is given up as 'more than'", ge=2, le=900)] = 30
    patience: Annotated[
        int, param("Patience", "mid-session: seconds a visitor waits before a reload", ge=1, le=300)
    ] = 8
    idle: Annotated[
        tuple[str, ...],
        param("Idle", "also come back after so many seconds, with the order turned", allowed="seconds", metavar="S,…"),
    ] = ()
    output: Annotated[
        str,
        param("Table", "also write the table here, for crashcart failover predict", kind="output", metavar="FILE.yaml"),
    ] = ""


def faults_of(params: LabParams) -> tuple[str, ...]:
    """The names of the faults. Raises BadParam."""
    if "tls-hang" in words(params.faults) and params.scheme == "http":
        raise BadParam("faults", "tls-hang", "faults that http has", "add --scheme https")
    for name in words(params.faults):
        if name not in FAULTS:
            raise BadParam("faults", name, "names among " + ", ".join(FAULTS))
    return words(params.faults)


def idle_of(params: LabParams) -> tuple[float, ...]:
    """The pauses in seconds. Raises BadParam."""
    try:
        found = tuple(float(text) for text in words(params.idle))
    except ValueError:
        raise BadParam("idle", ", ".join(params.idle), "seconds such as 10,70") from None
    if any(not 0 <= seconds <= IDLE_LIMIT for seconds in found):
        raise BadParam("idle", ", ".join(params.idle), f"seconds from 0 to {IDLE_LIMIT:.0f}")
    return found


def orders_of(
    params: LabParams,
    clients: Sequence[Client],
    faults: Sequence[str],
    idle: Sequence[float],
    missing: dict[str, str],
    ladder: Ladder,
    scratch: str,
    witness: bool,
) -> list[Order]:
    """One order for each client that is not missing, each fault or pause, and each run."""
    visits = [(fault, 0.0) for fault in faults] + [("", seconds) for seconds in idle]
    return [
        Order(
            client=client.name,
            fault=fault,
            idle=seconds,
            run=run,
            letters=LETTERS[: params.addresses],
            cap=float(params.cap),
            patience=float(params.patience),
            sysctls=ladder.settings,
            scratch=scratch,
            witness=witness,
            https=params.scheme == "https",
        )
        for client in clients
        if client.name not in missing
        for fault, seconds in visits
        for run in range(1, params.runs + 1)
    ]


def key(one: Order | Seen) -> tuple[str, str, float, int]:
    """What an order and its result have in common."""
    return one.client, one.fault, one.idle, one.run


def kept(earlier: Path | None) -> list[Seen]:
    """Results of an earlier run that hold; a line torn by its end is measured again."""
    path = earlier / "results.jsonl" if earlier else None
    found = []
    for line in path.read_bytes().splitlines() if path and path.exists() else ():
        try:
            seen = msgspec.json.decode(line, type=Seen)
        except msgspec.DecodeError:
            continue
        if seen.outcome != "broken":
            found.append(seen)
    return found
