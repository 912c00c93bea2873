"""A point's disk onto a file or device of another host, over ssh, without a second copy, and compared there."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from engines.backup.commands.far_hold import FarHold, held
from engines.backup.commands.far_look import Seen, looked, usable
from engines.backup.commands.far_place import LONGEST, FarPlace, place_at
from engines.backup.commands.restore_params import RestoreParams
from engines.backup.commands.stream import PIECE
from engines.backup.names import PointName, parse
from engines.backup.repository.byte_source import PointBytes, open_point
from engines.backup.repository.repository import NamesOnly, Repository
from engines.job import units
from engines.job.contract import AnyEvent, BytesChange, Finished, Plan, Progress, Step, StepEnded, StepStarted, Warned
from engines.job.errors import BadParam, CrashcartError, Failed, Refused, Stopped
from engines.job.params import plain
from engines.job.word import short

# A file that did not get all its bytes is removed by the far side itself: a line that is cut ends what it reads.
SEND = {
    "device": r"""
[ "$(stat -L -c %t:%T "$path")" = "$(printf %x:%x $major $minor)" ] || { echo "$path is another now" >&2; exit 1; }
[ -z "$holder" ] || [ -d "/proc/$holder" ] || { echo "the line that holds $path was cut" >&2; exit 1; }
dd of="$path" bs=4M iflag=fullblock conv=notrunc,nocreat,fsync status=none
""",
    "file": r"""
umask 077
dd if=/dev/null of="$part" conv=excl status=none || exit 1
if [ -z "$old" ] || { chown --reference="$real" "$part" && chmod --reference="$real" "$part"; }; then
  dd of="$part" ibs=4M obs=64K iflag=fullblock conv=sparse,nocreat,fsync status=none &&
    [ "$(stat -c %s "$part")" = "$size" ] && exit 0
fi
rm -f "$part"
echo "$part did not get all its bytes" >&2
exit 1
""",
}
SUM = 'dd if="$written" iflag=nocache count=0 status=none 2>/dev/null; head -c "$size" "$written" | sha256sum'
PLACE = {
    "old": 'mv -fT "$part" "$real" && sync "$real"',
    "new": 'mv -nT "$part" "$real"; [ ! -e "$part" ] || { echo "$real is there by now" >&2; exit 1; }; sync "$real"',
}
REMOVE = 'rm -f "$part"'


def place_of(params: RestoreParams) -> FarPlace:
    """Where a target is. Raises BadParam."""
    return place_at(params.target, params.ssh_config)


def planned(task: str, glance: NamesOnly, name: PointName, params: RestoreParams) -> Plan:
    """The plan, after a look at the far side. Raises BadParam, Refused."""
    for option in ("delta", "salvage", "wipe_tail"):
        if getattr(params, option):
            raise BadParam(option, True, "nothing with it to another host", "restore to a file or device of this one")
    there = place_of(params)
    seen = looked(there)
    usable(there, seen, powered_off=params.powered_off)
    size = _size(glance, name, params)
    _fits(there, seen, name, size or 0)
    existed, device = seen.kind != "nothing", seen.kind == "device"
    at = there.path if seen.real == there.path else f"{there.path}, which is {seen.real},"
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
                before_size=seen.length if existed else None,
                after_size=seen.length if device else size,
            ),
        ),
        facts=(
            ("point", str(name)),
            ("target", f"{'new file' if not existed else seen.kind} {at} on {there.host}"),
            ("repository", glance.store.where),
        ),
        undo=_undo(seen.kind),
        undoable=False,
        confirm=short(there.path) if existed else "",
        detail={
            "existed": existed,
            "device": device,
            "part": "" if device else f"{seen.real}.crashcart-part-{secrets.token_hex(6)}",
        },
        state={"point": str(name), **seen.state},
    ).sealed()


def _undo(kind: str) -> str:
    return {
        "device": "it cannot be: what was on the device is overwritten",
        "file": "it cannot be: once the new file has taken its place, the old one is gone; until then it is as it was",
    }.get(kind, "it cannot be from here: see there whether the file came to be, and whose it is, before you remove it")


def _size(glance: NamesOnly, name: PointName, params: RestoreParams) -> int | None:
    if glance.config.cipher != "none" and not (params.key_file or params.passphrase):
        return None
    with Repository.of(params) as repository:
        return repository.present(name).head.size


def _fits(there: FarPlace, seen: Seen, name: PointName, size: int) -> None:
    if seen.kind == "device" and seen.length < size:
        raise Refused(
            f"{there.path} on {there.host} has {seen.length} bytes, and {name} needs {size}", "name a larger device"
        )


def sent(repository: Repository, plan: Plan) -> Iterator[AnyEvent]:
    """Send it, have it read there, compare. Raises Failed, Missing, Damaged, Stopped; says what it leaves there."""
    sending = _Sending(place_of(plan.params), plan)
    try:
        yield from sending.all(repository)
    except CrashcartError as error:
        raise sending.after(error) from None


@dataclass
class _Sending:
    there: FarPlace
    plan: Plan
    left: str = ""  # what is to be said of the far side if it ends now
    hold: FarHold | None = None  # on a device

    def __post_init__(self) -> None:
        self.name = parse(self.plan.params.point)
        self.device, self.part = bool(self.plan.detail["device"]), str(self.plan.detail.get("part", ""))
        if self.plan.detail.get("again"):
            self.left = f"{self.there.path} is half overwritten" if self.device else self.part

    def all(self, repository: Repository) -> Iterator[AnyEvent]:
        """The whole of it; a device is held meanwhile."""
        with ExitStack() as stack:
            if self.device:
                self.hold = stack.enter_context(held(self.there))
                if self.hold.warning:
                    yield Warned(text=self.hold.warning)
            yield from self._all(repository)

    def _all(self, repository: Repository) -> Iterator[AnyEvent]:
        seen = self.same()
        with open_point(repository, self.name, f"restore to {self.there.host}") as source:
            _fits(self.there, seen, self.name, source.size)
            if self.part and self.left:
                self.there.ask(REMOVE, part=self.part)
            digest = yield from self.send(source, seen)
            size = source.size
        yield StepEnded(step="write")
        yield StepStarted(step="verify")
        yield from self.compare(seen, size, digest)
        if self.part:
            self.place()
        self.left = ""
        yield StepEnded(step="verify")
        yield Finished(
            summary=f"{self.name} is on {self.there.host} at {self.there.path}: {units.size(size)} ({size} bytes), read"
            f" back there and the same, SHA-256 {digest}",
            result={"point": str(self.name), "target": self.plan.target, "written": size, "same": 0},
        )

    def same(self, *, sent: bool = False) -> Seen:
        """What lies there, if it is what the plan was made for and free. Raises Refused."""
        seen = looked(self.there)
        if not seen.is_still(self.plan.state, sent=sent):
            before = self.plan.state
            raise Refused(
                f"{self.there.path} on {self.there.host} is not what it was at the review: then {before['kind']} of"
                f" {before['size']} bytes, now {seen.kind} of {seen.length} bytes, or another one",
                "see what it is, then begin anew",
            )
        usable(self.there, seen, powered_off=self.plan.params.powered_off)
        return seen

    def send(self, source: PointBytes, seen: Seen) -> Generator[Progress, None, str]:
        """All bytes; gives their SHA-256."""
        digest, size = hashlib.sha256(), source.size
        major, _, minor = seen.number.partition(":")
        with tempfile.TemporaryFile() as errors:
            self.left = f"{self.there.path} is half overwritten" if self.device else self.part
            sending = self.there.begin(
                SEND["device" if self.device else "file"],
                errors,
                part=self.part,
                size=size,
                real=seen.real,
                old="old" if seen.kind == "file" else "",
                major=major,
                minor=minor,
                holder=self.hold.process if self.hold else "",
            )
            assert sending.stdin is not None
            try:
                with suppress(BrokenPipeError), sending.stdin as far:  # what the far side says of it comes at its end
                    for at in range(0, size, PIECE):
                        piece = source.read(at, PIECE)
                        digest.update(piece)
                        self._still_held()
                        far.write(piece)
                        yield Progress(done=at + len(piece), total=size)
                yield from _ended(sending, size)
            finally:
                _end(sending)
            if sending.returncode:
                errors.seek(0)
                raise self.there.failed(sending.returncode, errors.read())
        return digest.hexdigest()

    def _still_held(self) -> None:
        if self.hold:
            self.hold.demand()

    def compare(self, seen: Seen, size: int, digest: str) -> Iterator[Progress]:
        """Have it read there. Raises Failed where it is another."""
        if self.device:
            self.left = f"{self.there.path} is overwritten and was not compared"
        summing = self.there.begin(SUM, written=seen.real if self.device else self.part, size=size)
        try:
            yield from _ended(summing, size)
            assert summing.stdout is not None and summing.stderr is not None
            found, wrong = summing.stdout.read(LONGEST).decode("ascii", "replace").split(), summing.stderr.read(LONGEST)
        finally:
            _end(summing)
        if summing.returncode or not found:
            raise self.there.failed(summing.returncode, wrong)
        self._still_held()
        if found[0] != digest:
            if self.device:
                self.left = f"{self.there.path} is overwritten and not whole"
            raise Failed(
                f"what lies on {self.there.host} is not {self.name}: its SHA-256 is {found[0]}, and {digest} was sent",
                "look at that disk (dmesg there), then send it anew",
            )

    def place(self) -> None:
        """The whole file takes its place, if that is as it was."""
        seen = self.same(sent=True)
        try:
            self.there.ask(PLACE["old" if seen.kind == "file" else "new"], part=self.part, real=seen.real)
        except Failed as failed:
            failed.what_helps = f"see what lies at {seen.real} there: the line may have gone after it took its place"
            raise

    def after(self, error: CrashcartError) -> CrashcartError:
        """The error, with what stays there: a file's part is removed where the line still works."""
        if not self.left:
            return error
        if self.part:
            with suppress(Failed, Refused):
                self.there.ask(REMOVE, part=self.part)
                self.left = ""
        left = (f"on {self.there.host}: {self.left}",) if self.left else ()
        if isinstance(error, Refused):
            return Failed(error.why, error.what_helps, left)
        if isinstance(error, (Failed, Stopped)):
            error.left_behind = (*error.left_behind, *left)
        return error


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
