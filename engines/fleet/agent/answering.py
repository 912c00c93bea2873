"""The agent: reads one request, answers it, and never runs a word of it as a command."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator

import msgspec

from engines.backup.guests.finding import find
from engines.backup.sources.lvm.report import volumes
from engines.fleet.agent import holding, slots, starting, wire
from engines.host.version import version
from engines.job import folders
from engines.job.errors import CrashcartError, Failed, Refused

LOCAL = re.compile(r"(?:[a-z]+:///[^?#\s]*)?")
LONGEST = 1024 * 1024  # bytes of a request
LOOK_THERE = "see to it on that host: crashcart doctor"
BUSY = 75  # exit code: nothing is wrong, try again later


def main() -> int:
    """Answer the request on stdin by lines on stdout; the exit code is 0, 3 where it is declined, 75 where busy."""
    raw = sys.stdin.buffer.read(LONGEST + 1)
    code = 0
    for answer in _answers(raw):
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
        code = {wire.Declined: 3, wire.Busy: BUSY}.get(type(answer), code)
    return code


def _answers(raw: bytes) -> Iterator[wire.AnyAnswer]:
    try:
        request = msgspec.json.decode(raw, type=wire.AnyRequest)
    except (msgspec.MsgspecError, RecursionError) as error:
        yield wire.Declined(why=f"this is no request: {error}", what_helps="it is asked by: crashcart fleet")
        return
    if request.version != wire.VERSION:
        helps = "install the same crashcart on controller and hosts"
        yield wire.Declined(why=f"request {request.version}, this agent answers {wire.VERSION}", what_helps=helps)
        return
    try:
        yield from _answered(request)
    except (Refused, Failed) as error:
        yield wire.Declined(why=error.why, what_helps=error.what_helps)
    except CrashcartError as error:
        yield wire.Declined(why=str(error))
    except OSError as error:
        yield wire.Declined(why=f"{error.filename or 'the host'}: {error.strerror or error}", what_helps=LOOK_THERE)


def _answered(request: wire.AnyRequest) -> Iterator[wire.AnyAnswer]:
    match request:
        case wire.Find():
            local(request.connect)
            found = find(request.connect, libvirt=request.libvirt, patterns=request.patterns)
            yield wire.Guests(found=found)
        case wire.About():
            yield _about()
        case wire.Start():
            local(request.job.params.get("libvirt", ""))
            yield from starting.start(request)
        case wire.Attach():
            yield from starting.attach(request.key)
        case wire.Stop():
            yield starting.stop(request.key)
        case wire.Slots():
            taken = slots.taken(request.slots)
            yield wire.Taken(taken=taken, free=request.slots - taken)
        case wire.Holds():
            yield wire.Held(holding=holding.look(request.repository))
        case wire.Fit():
            points, free = holding.try_out(request.repository)
            yield wire.Fits(points=points, free=free)


def local(uri: object) -> None:
    """libvirt's addresses can name a program to run, or another host: a controller has no say in either. Refused."""
    if not isinstance(uri, str) or not LOCAL.fullmatch(uri):
        raise Refused(f"{uri!r} is no libvirt of this host alone", "name one like qemu:///system, without parameters")


def _about() -> wire.HostState:
    state = folders.state()
    while not state.exists():  # on a host that never ran anything
        state = state.parent
    room = os.statvfs(state)
    free = room.f_bavail * room.f_frsize
    return wire.HostState(version=version(), clock=time.time(), machine=platform.node(), free=free, pools=_pools())


def _pools() -> dict[str, float]:
    """The thin pools of this host, where it has LVM at all."""
    try:
        found = [volume for volume in volumes() if volume.lv_attr[0] == "t"]
    except Refused:
        return {}
    return {str(pool): max(map(float, filter(None, (pool.data_percent, pool.metadata_percent, "0")))) for pool in found}
