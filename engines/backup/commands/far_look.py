"""What lies at a path of another host, and what its kernel has made of it: mounts, swap, devices built on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.backup.commands.far_place import FarPlace
from engines.job.errors import Failed, Refused

# Mounts of all namespaces are asked for; btrfs gives its own numbers, so there the mounted device counts.
# What opens a device for itself alone without a trace in /sys (ZFS) is found by asking for the same.
LOOK = r"""
number() { printf '%d:%d' "0x$(stat -L -c %t "$1")" "0x$(stat -L -c %T "$1")"; }
r=$(readlink -f "$path") || r=$path
if [ -b "$r" ]; then
  n=$(number "$r"); s=/sys/dev/block/$n
  w=$(cat "$s/dm/uuid" "$s/device/wwid" "$s/../device/wwid" "$s/device/serial" 2>/dev/null | head -n1)
  echo "device $(blockdev --getsize64 "$r") $n $(printf %s "$w" | tr -c 'A-Za-z0-9._:-' _)"
  echo "$r"
  [ -d "$s" ] || echo "use of it is not told by /sys"
  all=" "
  for f in "$s/dev" "$s"/*/partition; do
    [ -e "$f" ] || continue
    d=${f%/*}; e=$(readlink -f "$d"); all="$all$(cat "$d/dev") "
    for h in "$d"/holders/*; do [ -e "$h" ] && echo "use ${e##*/} is part of ${h##*/}"; done
  done
  cat /proc/[0-9]*/mountinfo 2>/dev/null |
    sed -n 's/^[0-9]* [0-9]* \([0-9]*:[0-9]*\) [^ ]* \([^ ]*\) .* - [^ ]* \([^ ]*\) .*$/\1 \2 \3/p' | sort -u |
    while read -r m at from; do
      case $m in 0:*) from=$(printf %b "$from"); [ -b "$from" ] && m=$(number "$from");; esac
      case $all in *" $m "*) echo "use $m is mounted at $at";; esac
    done
  while read -r f rest; do
    [ -b "$f" ] && case $all in *" $(number "$f") "*) echo "use $f is swap";; esac
  done </proc/swaps
  if command -v perl >/dev/null; then
    perl -MFcntl -e 'sysopen(F, $ARGV[0], O_RDONLY | O_EXCL) or $! + 0 == 16 and print "use it is held\n"' "$r"
  fi
elif [ -f "$r" ]; then
  echo "file $(stat -c '%s %d:%i:%.9Y:%.9Z' "$r")"
  echo "$r"
  for b in /sys/block/loop*/loop/backing_file; do
    [ -e "$b" ] && [ "$(cat "$b")" -ef "$r" ] && b=${b%/loop/*} && echo "use it is attached as ${b##*/}"
  done
  while read -r f rest; do [ "$(printf %b "$f")" -ef "$r" ] && echo "use it is swap"; done </proc/swaps
elif [ -e "$path" ] || [ -L "$path" ]; then echo other 0; echo "$r"
elif [ -d "$(dirname "$r")" ]; then echo nothing 0; echo "$r"
else echo nowhere 0; echo "$r"; fi
exit 0
"""


@dataclass(frozen=True)
class Seen:
    """kind: device, file, nothing, nowhere (no folder for it), other. length: bytes. real: its path without links.

    number: MAJOR:MINOR, or of a file device, inode and times of its last writing and last change: inodes come again.
    which: the device's own name for itself, empty where it has none.
    uses: sentences, one for each use.
    """

    kind: str
    length: int
    real: str
    number: str
    which: str
    uses: tuple[str, ...]

    @property
    def state(self) -> dict[str, Any]:
        """What must be the same when it is written. A device may go by another number after a boot."""
        found = {"kind": self.kind, "size": self.length}
        return {**found, "which": self.which} if self.kind == "device" else {**found, "which": self.number + self.real}

    def is_still(self, state: dict[str, Any], *, sent: bool) -> bool:
        """Whether it is what `state` tells, which may be of an earlier version, without the times.

        sent: hours have gone by; who changed a file's mode or linked it meanwhile did not write to it.
        """
        now, then = self.state, {name: state.get(name) for name in self.state}
        if self.kind == "file":
            marks = len(str(then["which"]).partition("/")[0].split(":"))
            for one in (now, then):
                known, _, real = str(one["which"]).partition("/")
                one["which"] = (*known.split(":")[: min(marks, 3 if sent else 4)], real)
        return now == then


def looked(there: FarPlace) -> Seen:
    """Raises Refused where it cannot be seen."""
    try:
        first, real, *others = there.ask(LOOK).removesuffix("\n").split("\n")
        kind, length, number, which, *_ = [*first.split(), "", ""]
        uses = tuple(line.removeprefix("use ") for line in others if line.startswith("use "))
        if kind not in ("device", "file", "nothing", "nowhere", "other") or len(uses) < len(others):
            raise ValueError(kind)
        return Seen(kind, int(length), real, number, which, uses)
    except (Failed, ValueError) as failed:
        why = failed.why if isinstance(failed, Failed) else f"{there.host} answers what no shell of GNU's tools would"
        raise Refused(why, f"try: ssh {there.host} true; it needs a shell and GNU coreutils") from None


def usable(there: FarPlace, seen: Seen, *, powered_off: bool) -> None:
    """Raises Refused where a restore to it would do harm."""
    if seen.kind == "nowhere":
        raise Refused(f"{there.host} has no folder for {there.path}", "make it there first")
    if seen.kind == "other":
        raise Refused(f"{there.path} on {there.host} is neither a file nor a block device", "name one that is")
    if seen.uses:
        raise Refused(
            f"{there.path} on {there.host} is in use there: {', '.join(seen.uses[:4])}",
            "let it go there first (umount, swapoff, losetup -d, vgchange -an, dmsetup)",
        )
    if seen.kind != "device" and seen.real.split("/")[1] in ("dev", "proc", "sys"):
        raise Refused(f"there is no device {there.path} on {there.host}", "look there how it is called (lvs, lsblk)")
    if seen.kind in ("device", "file") and not powered_off:
        raise Refused(
            f"whether something on {there.host} uses {there.path} cannot be told from here",
            "see that nothing does, then say so: --powered-off",
        )
