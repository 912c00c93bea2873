"""Guests, hosts and rules of a fleet that exists nowhere: for plans, which touch nothing."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engines.backup.guests.model import Guest, GuestDisk
from engines.fleet.config.load import parsed
from engines.fleet.config.model import Fleet

HOSTS = 40
NIGHT = datetime(2026, 8, 13, 23, 0, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
DAY = 86400.0


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def guest(number: int, name: str = "", host: str = "", **given: object) -> Guest:
    disk = GuestDisk(name="vda", source=f"/dev/vg/{number}", kind="block", format="raw")
    return Guest(
        **{
            "uuid": uuid(number),
            "name": name or f"web{number}",
            "host": host or f"hv{number % HOSTS}",
            "running": True,
            "found": "libvirt",
            "disks": (disk,),
            **given,
        }  # type: ignore[arg-type]
    )


def fleet(guests: str = "[{match: all, policy: gold}]", more: str = "") -> Fleet:
    """Forty hosts, two repositories on one uplink, and the rules that are given."""
    hosts = ", ".join(f"hv{number}: {{ssh: root@hv{number}, slots: 4}}" for number in range(HOSTS))
    return parsed(
        f"""
hosts: {{{hosts}}}
repositories: {{off1: {{url: /r1, slots: 40, uplink: wan}}, off2: {{url: /r2, slots: 40, uplink: wan}}}}
uplinks: {{wan: {{slots: 60, limit: ['07:00-22:00 30M', 'else none']}}}}
policies:
  gold: {{every: day, window: '22:00-06:00', to: [off1, off2], keep: {{daily: 14}}, prove: month, retries: 3}}
  lead: {{every: week, to: [off1]}}
guests: {guests}
zone: Europe/Berlin
{more}""".encode()
    )
