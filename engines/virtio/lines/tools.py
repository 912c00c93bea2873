"""Configuration of initrd tools and package scripts: what the next update would undo the conversion by."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from engines.virtio.lines.disks import Disks, comment, partition, split

MODULES = ("virtio_blk", "virtio_pci")
SUSE = re.compile(r"^(INITRD_MODULES=)([\"']?)([^\"'\n]*)\2", re.MULTILINE)
ARCH = re.compile(r"^([ \t]*MODULES=)([(\"'])([^)\"'#]*)([)\"'])", re.MULTILINE)
ARRAY = re.compile(r"^[ \t]*MODULES=\(", re.MULTILINE)
ALPINE = re.compile(r"^(features=)([\"']?)([^\"'\n#]*)\2", re.MULTILINE)
DEVICES = re.compile(r"\s*DEVICE\s", re.IGNORECASE)
LONGEST = 200  # characters of a pattern
INSTALL = re.compile(
    r"^(Name: grub-pc/install_devices(?:_disks_changed)?\n(?:(?!Name:)\S.*\n)*?Value:[ \t]*)(.*)$", re.MULTILINE
)


def _with(listed: str, wanted: tuple[str, ...]) -> str:
    there = {word.replace("-", "_") for word in listed.split()}
    return " ".join([*listed.split(), *(name for name in wanted if name not in there)])


def _complete(listed: str, wanted: tuple[str, ...]) -> bool:
    return set(wanted) <= {word.replace("-", "_") for word in listed.split()}


def suse(text: str, _disks: Disks) -> str:
    """INITRD_MODULES of /etc/sysconfig/kernel with virtio's; only where it is set."""
    return SUSE.sub(
        lambda found: (
            found.group()
            if _complete(found.group(3), MODULES)
            else f'{found.group(1)}"{_with(found.group(3), MODULES)}"'
        ),
        text,
    )


def arch(text: str, _disks: Disks) -> str:
    """MODULES of mkinitcpio.conf, an array or a text of words, with virtio's; one with comments gets a line more."""
    more = f"MODULES+=({' '.join(MODULES)})\n"
    if ARRAY.search(text) and not ARCH.search(text) and more not in text:
        return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{more}"
    return ARCH.sub(
        lambda found: (
            found.group()
            if _complete(found.group(3), MODULES)
            else f"{found.group(1)}{found.group(2)}{_with(found.group(3), MODULES)}{found.group(4)}"
        ),
        text,
    )


def alpine(text: str, _disks: Disks) -> str:
    """Features of mkinitfs.conf with virtio."""

    def listed(found: re.Match[str]) -> str:
        if _complete(found.group(3), ("virtio",)):
            return found.group()
        quote = found.group(2) or '"'
        return f"{found.group(1)}{quote}{_with(found.group(3), ('virtio',))}{quote}"

    return ALPINE.sub(listed, text)


def mdadm(text: str, disks: Disks) -> str:
    """DEVICE lines that would not look at the new disks look at all partitions; members are renamed."""
    return "".join(line if comment(line) else _scanned(disks.renamed(line), disks) for line in split(text))


def _scanned(line: str, disks: Disks) -> str:
    words = line.split()[1:]
    if not DEVICES.match(line) or "partitions" in words or any("/dev/vd" in word for word in words):
        return line
    devices = [f"/dev/{partition(name, number)}" for name in disks.names for number in ("", "1")]
    if not any(word.startswith("/dev/disk/") or _matches(word, devices) for word in words):
        return line
    body = line.rstrip("\r\n")
    return f"{body} /dev/{disks.new[:2]}*{line[len(body) :]}"


def _matches(word: str, devices: list[str]) -> bool:
    """As mdadm.conf(5) says: a pattern of the shell."""
    return len(word) <= LONGEST and any(fnmatchcase(device, word) for device in devices)


def installed_to(text: str) -> list[str]:
    """The disks that Debian's grub-pc installs itself on, by debconf's words."""
    return list(dict.fromkeys(device for _, listed in INSTALL.findall(text) for device in re.split(r",\s*", listed)))


def debconf(text: str, disks: Disks) -> str:
    """Where Debian's grub-pc installs itself at its next update."""

    def value(found: re.Match[str]) -> str:
        return found.group(1) + "".join(disks.whole(each) for each in re.split(r"(,\s*)", found.group(2)))

    return INSTALL.sub(value, text)


def words(text: str, disks: Disks) -> str:
    """Every naming on lines that are no comments: files that hold a kernel's arguments."""
    return "".join(line if comment(line) else disks.renamed(line) for line in split(text))
