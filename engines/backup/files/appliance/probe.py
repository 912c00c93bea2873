"""What file systems an appliance sees on its disk, and which of them have a journal to replay.

Two scripts ask it all: under emulation each libguestfs call about a device takes tenths of a second.
"""

from __future__ import annotations

import re

import msgspec

from engines.backup.files.appliance.calls import Shell
from engines.backup.files.model import NOT_REPLAYED, VolumeInfo
from engines.backup.files.volumes.known import CLOSED

SECTOR = 512
NAMES = {
    "crypto_LUKS": "luks",
    "LVM2_member": "lvm2",
    "swsuspend": "swap",
    "BitLocker": "bitlocker",
    "zfs_member": "zfs",
    "VMFS_volume_member": "vmfs",
    "VMFS": "vmfs",
    "ReFS": "refs",
    "isw_raid_member": "imsm",
    "LVM1_member": "lvm1",
    "ddf_raid_member": "ddf",
    "oracleasm": "asm",
    "DM_integrity": "integrity",
    "DM_verity_hash": "verity",
    "DM_snapshot_cow": "cow",
    "ceph_bluestore": "bluestore",
}
NOT_SERVED = ("", "swap", *CLOSED)
LOGICAL = re.compile(r"LDM-.*|LVM-\w{64}")  # device mapper uuids; an LVM volume's inner parts have a suffix
# The disk itself, its partitions, arrays and volumes, as /sys lists them, then what blkid knows of each, one by one:
# asked about many it ends at the first that holds nothing. What libguestfs leaves inactive (volumes that are skipped,
# or lack a part) is brought up before, and what is divided into partitions once more gets a loop device for them. The
# kernel finds the appliance's own root and the guest's disks in any order; libguestfs's calls say sda to the first of
# these, which is the first on their bus. Of the others only that is listed which the first one is a part of.
LIST = b"""for m in loop dm-snapshot dm-thin-pool dm-raid dm-cache dm-cache-smq dm-mirror dm-writecache; do
modprobe -q $m; done
lvm vgchange -ay -K --activationmode partial >/dev/null 2>&1; udevadm settle
cd /sys/class/block; root=$(mountpoint -d /); count=0; low=9999; for d in sd[a-z] sd[a-z][a-z]; do
[ -e $d ] || continue; read dev < $d/dev; [ $dev = $root ] && continue
at=$(readlink -f $d/device); at=${at%:*}; at=${at##*:}
count=$((count+1)); [ $at -ge $low ] || { low=$at; disk=$d; }; done
[ $count = 1 ] || btrfs device scan >/dev/null 2>&1
apart() { [ $count != 1 ] || return 1; found=; own $1 && return 1; [ $found ]; }
own() { for s in ${1%%p[0-9]*}/slaves/*; do [ -e $s ] || continue; found=1; s=${s##*/}
case $s in $disk|$disk[0-9]*) return 0;; esac; own $s && return 0; done; return 1; }
echo $disk; for d in $disk $disk[0-9]* md[0-9]* dm-[0-9]*; do
[ -e $d ] || continue; case $d in md*|dm-*) ! apart $d || continue;; esac
size=; start=; part=; name=; uuid=
read size < $d/size; read start < $d/start; read part < $d/partition; read name < $d/dm/name; read uuid < $d/dm/uuid
echo "$d|$size|$start|$part|$name|$uuid"; all="$all $d"
done 2>/dev/null
for d in $all; do case $d in dm-*)
[ -n "$(blkid -p -o value -s PTTYPE /dev/$d)" ] && [ -z "$(blkid -p -o value -s TYPE /dev/$d)" ] || continue
l=$(losetup -P -f --show /dev/$d) || continue; udevadm settle; l=${l#/dev/}
read name < $d/dm/name
for p in $l/$l""p*; do p=${p#$l/}; read size < $p/size && read part < $p/partition || continue
echo "$p|$size|0|$part|$name-p$part|LOOP"; all="$all $p"; done;; esac; done 2>/dev/null
echo; for d in $all; do said=$(blkid -p -o export /dev/$d); case $said in *TYPE=drbd*)
under=$(blkid -p -u noraid -o export /dev/$d) && said=$under;; esac; printf '%s\n\n' "$said"; done || true"""
# What LVM makes a volume of; it lets nobody else use these endings (lvm(8), reserved names).
PARTS = re.compile(
    r"_(rimage|rmeta|mimage|mlog|cdata|cmeta|cvol|corig|tdata|tmeta|vdata|vorigin|pmspare|iorig|imeta)(_\d+)?$"
)
LOOPED = "LOOP"
# ext: s_feature_incompat at 1024+96, bit 4 (fs/ext4/ext4.h); btrfs: log_root at 64 KiB+96 (fs/btrfs/ctree.h).
ASK = {
    "ext3": "[ $(( $(od -An -tu4 -j1120 -N4 %s) & 4 )) = 0 ] || echo dirty",
    "ext4": "[ $(( $(od -An -tu4 -j1120 -N4 %s) & 4 )) = 0 ] || echo dirty",
    "btrfs": "[ $(od -An -td8 -j65632 -N8 %s) = 0 ] || echo dirty",
    "xfs": "xfs_logprint -t %s 2>&1 | grep -qaF '<DIRTY>' && echo dirty",
}


def probed(disk: Shell) -> tuple[tuple[VolumeInfo, ...], dict[str, str]]:
    """The volumes, and the appliance's device of each by name. Raises BrowseError, Damaged."""
    listed, _, told = disk.shell(LIST).decode("utf-8", "replace").partition("\n\n")
    own, *lines = listed.splitlines()
    known = _told(told)
    infos: list[VolumeInfo] = []
    places: dict[str, str] = {}
    real: dict[str, str] = {}
    for line in lines:
        device, size, start, part, name, uuid = line.split("|")
        found = known.get(f"/dev/{device}", {})
        if _is_container(device, int(size), uuid, found) or (device.startswith("dm-") and PARTS.search(name)):
            continue
        inner = uuid == LOOPED
        volume = _name(device.replace(own, "sda"), part, name, places)
        real[volume] = f"/dev/mapper/{name}" if name and not inner else f"/dev/{device}"
        places[volume] = real[volume].replace(f"/dev/{own}", "/dev/sda")
        infos.append(_info(volume, int(size) * SECTOR, int(start or 0) * SECTOR, found))
    dirty = _dirty(disk, {info.name: (real[info.name], info.format) for info in infos})
    return tuple(_marked(info, dirty) for info in infos), places


def _told(said: str) -> dict[str, dict[str, str]]:
    """blkid's export format: KEY=value lines, the value escaped for a shell, a blank line between devices."""
    found = {}
    for block in said.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        facts = {key: re.sub(r"\\(.)", r"\1", value) for key, _, value in pairs}
        found[facts.get("DEVNAME", "")] = facts
    return found


def _is_container(device: str, size: int, uuid: str, found: dict[str, str]) -> bool:
    """Whether what is in it is listed by itself: a partitioned disk, a member, an extended partition."""
    format_ = found.get("TYPE", "")
    if NAMES.get(format_, format_) in CLOSED:
        return False
    if format_.endswith("_member") or ("PTTYPE" in found and not format_):
        return True
    if device.startswith("dm-"):
        return not LOGICAL.fullmatch(uuid)
    return size <= 2


def _name(device: str, part: str, name: str, taken: dict[str, str]) -> str:
    """p1, vg0-root, md127, or disk; the device mapper's own name where the short one is taken."""
    short = name.replace("--", "-") or (f"p{part}" if part else "disk" if device == "sda" else device)
    return short if short not in taken else name or device


def _info(name: str, size: int, offset: int, found: dict[str, str]) -> VolumeInfo:
    format_ = NAMES.get(found.get("TYPE", ""), found.get("TYPE", ""))
    return VolumeInfo(
        name=name,
        format=format_,
        offset=offset,
        size=size,
        label=found.get("LABEL", ""),
        uuid=found.get("UUID", ""),
        partuuid=found.get("PART_ENTRY_UUID", ""),
        partlabel=found.get("PART_ENTRY_NAME", ""),
        drivers=() if format_ in NOT_SERVED else ("libguestfs",),
    )


def _dirty(disk: Shell, asked: dict[str, tuple[str, str]]) -> set[str]:
    """Names of the volumes whose journal holds what their files lack."""
    lines = [f"echo '{name}' $({ASK[form] % device})" for name, (device, form) in asked.items() if form in ASK]
    said = disk.shell("\n".join(lines).encode()) if lines else b""
    return {line.split()[0] for line in said.decode().splitlines() if line.endswith(" dirty")}


def _marked(info: VolumeInfo, dirty: set[str]) -> VolumeInfo:
    return msgspec.structs.replace(info, dirty=NOT_REPLAYED) if info.name in dirty else info
