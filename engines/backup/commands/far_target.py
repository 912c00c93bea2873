"""A point's disk onto a file or device of another host, over ssh, without a second copy, and compared there."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from engines.backup.commands.restore_params import RestoreParams
from engines.backup.commands.stream import PIECE
from engines.backup.names import PointName, parse
from engines.backup.repository.byte_source import open_point
from engines.backup.repository.repository import NamesOnly, Repository
from engines.host.child import bind_to_parent
from engines.job import units
from engines.job.contract import BytesChange, Finished, Plan, Progress, Step, StepEnded, StepStarted
from engines.job.errors import BadParam, Failed, Refused
from engines.job.params import plain
from engines.job.word import short

SCHEME = "ssh://"
ANSWERS_WITHIN = 120.0  # s for a question; sending and comparing take as long as they take
LONGEST = 4096  # bytes of an answer, or of what ssh says
OPTIONS = ("BatchMode=yes", "ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4")
LOOK = """
p={path}
if [ -b "$p" ]; then
  n=$(printf '%d:%d' 0x$(stat -L -c %t "$p") 0x$(stat -L -c %T "$p"))
  cut -d' ' -f3 /proc/self/mountinfo | grep -qx "$n" && u=mounted
  [ -n "$(ls /sys/dev/block/$n/holders 2>/dev/null)" ] && u=held
  echo device $(blockdev --getsize64 "$p") ${{u:-free}}
elif [ -f "$p" ]; then echo file $(stat -L -c %s "$p") free
elif [ -e "$p" ] || [ -L "$p" ]; then echo other 0 free
elif [ -d "$(dirname "$p")" ]; then echo nothing 0 free
else echo nowhere 0 free; fi
readlink -f "$(dirname "$p")"
"""
SEND = {
    "device": "dd of={path} bs=4M iflag=fullblock conv=notrunc,fsync status=none",
    "file": "umask 077; dd of={part} ibs=4M obs=64K iflag=fullblock conv=sparse,fsync status=none"
    " && truncate -s {size} {part}",
}
SUM = "dd if={path} iflag=nocache count=0 status=none 2>/dev/null; head -c {size} {path} | sha256sum"
PLACE = "mv -fT {part} {path} && sync {path}"


@dataclass(frozen=True)
class FarPlace:
    """A path on a host, as ssh://[USER@]HOST[:PORT]/PATH says it. config: ssh's own file of settings."""

    host: str
    port: int
    path: str
    config: str

    def ask(self, script: str) -> str:
        """What the far side prints. Raises Failed."""
        with self.begin(script) as asked:
            try:
                said, wrong = asked.communicate(timeout=ANSWERS_WITHIN)
            except subprocess.TimeoutExpired:
                asked.kill()
                raise Failed(
                    f"{self.host} did not answer in {ANSWERS_WITHIN:.0f} s", "look at it, then again"
                ) from None
        if asked.returncode:
            raise self.failed(asked.returncode, wrong)
        return str(said[:LONGEST].decode("utf-8", "replace"))

    def begin(self, script: str, errors: IO[bytes] | int = subprocess.PIPE, **words: object) -> subprocess.Popen[bytes]:
        """Run it there."""
        quoted = {
            name: shlex.quote(str(word)) for name, word in {**words, "path": self.path, "part": self.part}.items()
        }
        options = [part for option in OPTIONS for part in ("-o", option)]
        where = [*(("-F", self.config) if self.config else ()), *(("-p", str(self.port)) if self.port else ())]
        argv = ["ssh", *options, *where, "--", self.host, f"LC_ALL=C sh -c {shlex.quote(script.format(**quoted))}"]
        return subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, preexec_fn=bind_to_parent()
        )

    @property
    def part(self) -> str:
        """Where a new file grows until it is whole."""
        return f"{self.path}.crashcart-part"

    def failed(self, code: int, wrong: bytes) -> Failed:
        """What ssh or the far side said."""
        words = " ".join(wrong[-LONGEST:].decode("utf-8", "replace").split()) or f"it ended with {code}"
        return Failed(
            f"{self.host}: {words}", f"try: ssh {self.host} true; what lies at {self.path} there is not whole"
        )


def is_far(target: str) -> bool:
    """Whether a target is one of another host."""
    return target.startswith(SCHEME)


def place_of(params: RestoreParams) -> FarPlace:
    """Where a target is. Raises BadParam."""
    try:
        url = urlsplit(params.target)
        port = url.port or 0
    except ValueError:
        url, port = urlsplit(""), 0
    plain_host = url.netloc.rpartition(":")[0] if port else url.netloc
    plainly = plain_host and not plain_host.startswith("-") and "\n" not in params.target and not url.query
    if not plainly or len(url.path) < 2 or url.path.endswith("/") or ":" in (url.username or ""):
        raise BadParam("target", params.target, "ssh://[USER@]HOST[:PORT]/PATH", "name a file or device there")
    return FarPlace(plain_host, port, url.path, params.ssh_config)


def planned(task: str, glance: NamesOnly, name: PointName, params: RestoreParams) -> Plan:
    """The plan, after a look at the far side. Raises BadParam, Refused."""
    for option in ("delta", "salvage", "wipe_tail"):
        if getattr(params, option):
            raise BadParam(option, True, "nothing with it to another host", "restore to a file or device of this one")
    there = place_of(params)
    try:
        kind, length, used, folder = there.ask(LOOK).split(maxsplit=3)
    except (Failed, ValueError) as failed:
        why = failed.why if isinstance(failed, Failed) else f"{there.host} answers what no shell of GNU's tools would"
        raise Refused(why, f"try: ssh {there.host} true; it needs a shell and GNU coreutils") from None
    _usable(there, kind, used, folder.strip(), params)
    size = _size(glance, name, params)
    if kind == "device" and size is not None and int(length) < size:
        raise Refused(f"{params.target} has {length} bytes, and {name} needs {size}", "name a larger device")
    existed = kind != "nothing"
    return Plan(
        task=task,
        target=params.target,
        params={**plain(params), "repo": glance.store.where, "point": str(name)},
        steps=(
            Step(id="write", title=f"Send {name} to {params.target}"),
            Step(id="verify", title=f"Read it back on {there.host} and compare"),
        ),
        changes=(
            BytesChange(
                target=params.target,
                summary=f"{'overwritten with' if existed else 'new file with'} the disk of {name}",
                before_size=int(length) if existed else None,
                after_size=int(length) if kind == "device" else size,
            ),
        ),
        facts=(("point", str(name)), ("target", f"{kind} on {there.host}"), ("repository", glance.store.where)),
        undo="it cannot be from here: remove it there",
        undoable=False,
        confirm=short(there.path) if existed else "",
        detail={"existed": existed, "device": kind == "device"},
        state={"point": str(name), "kind": kind, "size": length},
    ).sealed()


def _usable(there: FarPlace, kind: str, used: str, folder: str, params: RestoreParams) -> None:
    if kind == "nowhere":
        raise Refused(f"{there.host} has no folder for {there.path}", "make it there first")
    if kind == "other":
        raise Refused(f"{there.path} on {there.host} is neither a file nor a block device", "name one that is")
    if used != "free":
        raise Refused(
            f"{there.path} on {there.host} is {used} there", "let it go there first (umount, lvchange, dmsetup)"
        )
    if kind != "device" and folder.split("/")[1:2] in (["dev"], ["proc"], ["sys"]):
        raise Refused(f"there is no device {there.path} on {there.host}", "look there how it is called (lvs, lsblk)")
    if kind in ("device", "file") and not params.powered_off:
        raise Refused(
            f"whether something on {there.host} uses {there.path} cannot be told from here",
            "see that nothing does, then say so: --powered-off",
        )


def _size(glance: NamesOnly, name: PointName, params: RestoreParams) -> int | None:
    if glance.config.cipher != "none" and not (params.key_file or params.passphrase):
        return None
    with Repository.of(params) as repository:
        return repository.present(name).head.size


def sent(repository: Repository, plan: Plan) -> Iterator[Progress | StepStarted | StepEnded | Finished]:
    """Send it, have it read there, compare. Raises Failed, Missing, Damaged."""
    there, name = place_of(plan.params), parse(plan.params.point)
    device = bool(plan.detail["device"])
    digest = hashlib.sha256()
    with open_point(repository, name, f"restore to {there.host}") as source, tempfile.TemporaryFile() as errors:
        size = source.size
        sending = there.begin(SEND["device" if device else "file"], errors, size=size)
        assert sending.stdin is not None
        try:
            with suppress(BrokenPipeError), sending.stdin as far:  # what the far side says of it comes at its end
                for at in range(0, size, PIECE):
                    piece = source.read(at, PIECE)
                    digest.update(piece)
                    far.write(piece)
                    yield Progress(done=at + len(piece), total=size)
            yield from _ended(sending, size)
        finally:
            _end(sending)
        if sending.returncode:
            errors.seek(0)
            raise there.failed(sending.returncode, errors.read())
    yield StepEnded(step="write")
    yield StepStarted(step="verify")
    summing = there.begin(SUM.replace("{path}", "{path}" if device else "{part}"), size=size)
    try:
        yield from _ended(summing, size)
        assert summing.stdout is not None and summing.stderr is not None
        found, wrong = summing.stdout.read(LONGEST).decode("ascii", "replace").split(), summing.stderr.read(LONGEST)
    finally:
        _end(summing)
    if summing.returncode or not found:
        raise there.failed(summing.returncode, wrong)
    if found[0] != digest.hexdigest():
        raise Failed(
            f"what lies on {there.host} is not {name}: its SHA-256 is {found[0]}, and {digest.hexdigest()} was sent",
            f"look at that disk (dmesg there), then send it anew; {there.path if device else there.part} is not whole",
        )
    if not device:
        there.ask(PLACE)
    yield StepEnded(step="verify")
    yield Finished(
        summary=f"{name} is on {there.host} at {there.path}: {units.size(size)} ({size} bytes), read back there and the"
        f" same, SHA-256 {digest.hexdigest()}",
        result={"point": str(name), "target": plan.target, "written": size, "same": 0},
    )


def _ended(child: subprocess.Popen[bytes], size: int) -> Iterator[Progress]:
    """Until it ends; each tick is a chance to stop."""
    while True:
        try:
            child.wait(1.0)
            return
        except subprocess.TimeoutExpired:
            yield Progress(done=size, total=size)


def _end(child: subprocess.Popen[bytes]) -> None:
    """It is over, one way or the other."""
    if child.poll() is None:
        child.kill()
    child.wait()
