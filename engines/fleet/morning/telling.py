"""After a round: notices go out or wait in the ledger, and addresses that alarm on silence are called."""

from __future__ import annotations

import http.client
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from engines.fleet.config.model import Fleet
from engines.fleet.ledger.ledger import Ledger
from engines.fleet.morning.notices import Memory, Notice, compose, settle
from engines.fleet.morning.sending import Letter, Sent
from engines.fleet.morning.standing import Standing
from engines.host.child import module, start
from engines.host.files import open_file

KEPT = "notices"
PATIENCE = 60.0  # s that services have for all letters of a round
PING = 20.0  # s
NO_ADDRESS = "it has no http or https address on its first line"
LARGEST = 65536  # bytes of a file with addresses


def tell(fleet: Fleet, ledger: Ledger, standing: Standing, night: str, *, whole: bool) -> Iterator[str]:
    """Send what is new and what waits; what did not work, in words. whole: whether pings are called."""
    memory = ledger.remembered(KEPT, Memory) or Memory()
    memory.waiting += compose(fleet.alerts, standing, night, memory)
    ledger.remember(KEPT, msgspec.to_builtins(memory), standing.at)  # a kill from here on repeats, and loses nothing
    if memory.waiting:
        sent, why = _sent(memory.waiting)
        if why:
            yield f"{why}; it is tried again after the next round"
        for notice in settle(memory, sent, standing.at):
            yield f"given up after {notice.tries} tries: {notice.title}"
        ledger.remember(KEPT, msgspec.to_builtins(memory), standing.at)
    if whole:
        yield from _pinged([alert.ping_file for alert in fleet.alerts if alert.ping_file])


def _sent(waiting: Sequence[Notice]) -> tuple[dict[int, bool], str]:
    letters: list[Letter] = []
    places: list[int] = []
    whys: list[str] = []
    for place, notice in enumerate(waiting):
        try:
            addresses = _lines(notice.to)
        except OSError as error:
            whys.append(f"{notice.to} cannot be read: {error.strerror}")
            continue
        letters.append(Letter(addresses=addresses, title=notice.title, body=notice.body))
        places.append(place)
    good, why = _posted(letters)
    return dict(zip(places, good, strict=False)), "; ".join([*whys, *([why] if why else [])])


def _posted(letters: Sequence[Letter]) -> tuple[list[bool], str]:
    """By letter, whether it was taken; and why not."""
    if not letters:
        return [], ""
    child = start(module("engines.fleet.morning.sending"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        said, _ = child.communicate(msgspec.json.encode(letters), timeout=PATIENCE)
        found = msgspec.json.decode(said, type=Sent)
    except (subprocess.TimeoutExpired, msgspec.MsgspecError):
        return [], f"notices were not taken within {PATIENCE:.0f} s"
    finally:
        child.kill()
        child.wait()
    return found.good, found.why


def rehearse(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """By file of alerts: why its addresses could not be used, or nothing. Nobody is written to, and nothing called."""
    for file in dict.fromkeys(alert.to.apprise_file for alert in fleet.alerts if alert.to):
        try:
            addresses = _lines(file)
        except OSError as error:
            yield file, f"it cannot be read: {error.strerror}"
            continue
        _, why = _posted([Letter(addresses=[address], title="", body="", dry=True) for address in addresses])
        yield file, why if addresses else "it names no address: write one of apprise's a line, such as mailtos://..."
    for file in dict.fromkeys(alert.ping_file for alert in fleet.alerts if alert.ping_file):
        try:
            why = "" if _web(_lines(file)) else NO_ADDRESS
        except OSError as error:
            why = f"it cannot be read: {error.strerror}"
        yield file, why


def _web(lines: Sequence[str]) -> str:
    """The address that is called; empty where there is none of the web's."""
    return next((line for line in lines[:1] if line.startswith(("https://", "http://")) and _whole(line)), "")


def _whole(line: str) -> bool:
    """Whether it is an address as it stands: one word of ASCII, with a host and a port that there can be."""
    try:
        parts = urllib.parse.urlsplit(line)
        return bool(parts.hostname) and parts.port != 0 and line.isascii() and line.isprintable() and " " not in line
    except ValueError:
        return False


def _pinged(files: Sequence[str]) -> Iterator[str]:
    """Addresses that raise an alarm when they are not called."""
    for file in files:
        try:
            if not (address := _web(_lines(file))):
                yield f"{file}: {NO_ADDRESS}"
                continue
            with urllib.request.urlopen(address, timeout=PING) as answer:  # noqa: S310  by its scheme, above
                answer.read(1024)
        except http.client.HTTPException:
            yield f"the address in {file} does not answer as a web server does"
        except (OSError, ValueError) as error:
            yield f"the address in {file} was not reached: {getattr(error, 'reason', error)}"


def _lines(file: str) -> list[str]:
    with os.fdopen(open_file(Path(file)), "rb") as stream:
        text = stream.read(LARGEST).decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
