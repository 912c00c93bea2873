"""Configuration of initrd tools and package scripts: what the next update would undo the conversion by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from engines.virtio.lines import tables
from engines.virtio.lines.disks import Disks, comment, numbered, partition, split

MODULES = ("virtio_blk", "virtio_pci")
# In quotes it may go on over several lines; words in part in quotes, in part not, are not taken apart.
VALUE = r"(?:([\"'])((?:[^\"'\\\n]|\\?\n)*+)\2|([^\"'\\\n#]*+)(?![\"'\\]))"
SUSE = re.compile(r"^(INITRD_MODULES=)" + VALUE, re.MULTILINE)
ARCH = re.compile(r"^([ \t]*MODULES=)(?:(\()([^)#]*)(\))|(\")([^\"#]*)(\")|(')([^'#]*)('))", re.MULTILINE)
ADDS = re.compile(r"[ \t]*add_device\+?=")
OMITTED = re.compile(r"^([ \t]*omit_drivers\+?=)((?:[^\\\n#]|\\\n)*)", re.MULTILINE)
NEEDED = ("virtio", "virtio_blk", "virtio_pci", "virtio_net", "virtio_ring")
PATTERN = re.compile(r"(?<![^\s\"'=])(virtio[^\s\"']*)(?:[ \t]+|(?=[\s\"']|$))")
BARE = re.compile(r"^([ \t]*MODULES=)([\w-]*)(?=[ \t]*(?:#.*)?$)", re.MULTILINE)
ADDED = re.compile(r"^[ \t]*MODULES\+=", re.MULTILINE)
ARRAY = re.compile(r"^[ \t]*MODULES=\(", re.MULTILINE)
ALPINE = re.compile(r"^(features=)" + VALUE, re.MULTILINE)
DEVICES = re.compile(r"\s*DEV(?:I(?:C(?:E)?)?)?\s", re.IGNORECASE)  # mdadm takes three letters for the word
MEMBERS = re.compile(r"(\bdevices=[\"']?)([^\s\"']+)", re.IGNORECASE)
SAID = re.compile(r"(?:^|(?<=\s))#")
LONGEST = 200  # characters of a pattern
MOST = 256  # patterns of a line
PARTITIONS = tuple(str(number) for number in range(1, 32))  # more than any tool of the time makes
INSTALL = re.compile(
    r"^(Name: grub-pc/install_devices(?:_disks_changed)?\n(?:(?!Name:)\S.*\n)*?Value:[ \t]*)(.*)$", re.MULTILINE
)


def _with(listed: str, wanted: tuple[str, ...]) -> str:
    there = _words(listed)
    given = listed.rstrip() if "\\" in listed else " ".join(listed.split())
    return " ".join([*([given] if given else []), *(name for name in wanted if name not in there)])


def _complete(listed: str, wanted: tuple[str, ...]) -> bool:
    return set(wanted) <= _words(listed)


def _words(listed: str) -> set[str]:
    """An array's may each have quotes."""
    return {word.strip("\"'").replace("-", "_") for word in listed.split()}


def _assigned(found: re.Match[str], wanted: tuple[str, ...]) -> str:
    """A variable's words, in quotes or without, with those that are wanted; blanks in front of a comment stay."""
    name, quote, quoted, bare = found.groups("")
    listed = quoted or bare.rstrip()
    if _complete(listed, wanted):
        return found.group()
    quote = quote or '"'
    return f"{name}{quote}{_with(listed, wanted)}{quote}{bare[len(bare.rstrip()) :]}"


def suse(text: str, _disks: Disks) -> str:
    """INITRD_MODULES of /etc/sysconfig/kernel with virtio's; only where it is set."""
    return SUSE.sub(lambda found: _assigned(found, MODULES), text)


def arch(text: str, _disks: Disks) -> str:
    """MODULES of mkinitcpio.conf, an array or a text of words, with virtio's; one with comments gets a line more."""
    more = f"MODULES+=({' '.join(MODULES)})\n"
    apart = (ARRAY.search(text) or ADDED.search(text)) and not (ARCH.search(text) or BARE.search(text))
    if apart and more not in text:
        return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{more}"

    def listed(found: re.Match[str]) -> str:
        name, begin, words, end = (each for each in found.groups() if each is not None)
        return found.group() if _complete(words, MODULES) else f"{name}{begin}{_with(words, MODULES)}{end}"

    text = BARE.sub(lambda found: f'{found[1]}"{_with(found[2], MODULES)}"', text)
    return ARCH.sub(listed, text)


def dracut(text: str, disks: Disks) -> str:
    """Its settings; virtio's drivers are left out no more, and a device that is added is one by its path."""
    made = "".join(disks.paths(line) if ADDS.match(line) else line for line in split(text))
    return tables.settings(OMITTED.sub(lambda found: found[1] + PATTERN.sub(_kept, found[2]), made), disks)


def _kept(found: re.Match[str]) -> str:
    """A driver that is left out, where it is none that the disk needs; it may be a pattern, such as virtio.*."""
    name, special = re.match(r"([\w-]*)(.*)", found[1], re.DOTALL).groups()  # type: ignore[union-attr]
    name = name.replace("-", "_")
    needed = any(each.startswith(name) for each in NEEDED) if special else name in NEEDED
    return "" if needed else found[0]


def alpine(text: str, _disks: Disks) -> str:
    """Features of mkinitfs.conf with virtio."""
    return ALPINE.sub(lambda found: _assigned(found, ("virtio",)), text)


def mdadm(text: str, disks: Disks) -> str:
    """DEVICE lines that would not look at the new disks look at all of their kind; members are renamed."""
    return "".join(line for lines in _statements(text) for line in _scanned(lines, disks))


def _statements(text: str) -> list[list[str]]:
    """A line that begins with a blank goes on with the one before, over comments and empty lines."""
    found: list[list[str]] = [[]]
    for line in split(text):
        if not line[0].isspace() and not comment(line):
            found.append([])
        found[-1].append(line)
    return found


def _scanned(lines: list[str], disks: Disks) -> list[str]:
    codes, made = [], []
    for line in lines:
        said = SAID.search(line)
        code = line[: said.start() if said else len(line)].rstrip()
        codes.append(MEMBERS.sub(lambda found: found[1] + _members(found[2], disks), disks.paths(code)))
        made.append(codes[-1] + line[len(code) :])
    words = " ".join(codes).split()
    if words and DEVICES.match(f"{words[0]} ") and _lost(words[1 : MOST + 1], disks):
        last = max(at for at, code in enumerate(codes) if code)
        made[last] = f"{codes[last]} /dev/{disks.new[:2]}*{made[last][len(codes[last]) :]}"
    return made


def _members(listed: str, disks: Disks) -> str:
    """An array's members: a pattern of the old disks gets the names that they have now behind it."""
    words = listed.split(",")[:MOST]
    missed = [f"/dev/{new}" for new, old in _missed(words, disks) if old[-1].isdigit()]
    return ",".join([listed, *missed])


def _lost(words: list[str], disks: Disks) -> bool:
    """Whether the words look at an old disk, or a partition of one, and at its new name they do not."""
    words = list(dict.fromkeys(word.strip("\"'") for word in words))
    if "partitions" in words:
        return False
    if any(word.startswith("/dev/disk/") for word in words) and not any("/dev/vd" in word for word in words):
        return True
    return any(True for _ in _missed(words, disks))


def _missed(words: list[str], disks: Disks) -> Iterator[tuple[str, str]]:
    """(new, old) name of each disk and partition that the words match by its old name only."""
    for old, new in disks.names.items():
        for number in ("", *PARTITIONS):
            names = partition(new, number), partition(old, number)
            if _matched(f"/dev/{names[1]}", words) and not _matched(f"/dev/{names[0]}", words):
                yield names


def _matched(device: str, words: list[str]) -> bool:
    """As mdadm.conf(5) says: each is a pattern of the shell."""
    return any(len(word) <= LONGEST and fnmatchcase(device, word) for word in words)


def installed_to(text: str) -> list[str]:
    """The disks that Debian's grub-pc installs itself on, by debconf's words."""
    return list(dict.fromkeys(device for _, listed in INSTALL.findall(text) for device in re.split(r",\s*", listed)))


def debconf(text: str, disks: Disks) -> str:
    """Where Debian's grub-pc installs itself at its next update."""

    def value(found: re.Match[str]) -> str:
        return found.group(1) + "".join(_installed(each, disks) for each in re.split(r"(,\s*)", found.group(2)))

    return INSTALL.sub(value, text)


def _installed(word: str, disks: Disks) -> str:
    return disks.node(word) if word in disks.stable else disks.whole(word)


def words(text: str, disks: Disks) -> str:
    """Every naming on lines that are no comments: files that hold a kernel's arguments."""
    return "".join(line if comment(line) else disks.renamed(line) for line in split(text))


RAW = re.compile(r"^([ \t]*/dev/raw/raw\d+[ \t]+)(\d{1,3})[ \t]+(\d{1,3})(?=\s*(?:#.*)?$)")


def paths(text: str, disks: Disks) -> str:
    """As `words`, where a path is opened: no UUID= comes in."""
    return "".join(line if comment(line) else disks.paths(line) for line in split(text))


def raw(text: str, disks: Disks) -> str:
    """Red Hat's table of raw devices: the disk's path, or its number as major and minor."""
    return "".join(RAW.sub(lambda found: _bound(found, disks), line) for line in split(paths(text, disks)))


def _bound(found: re.Match[str], disks: Disks) -> str:
    disk, number = numbered(int(found[2]), int(found[3]))
    return f"{found[1]}/dev/{partition(disks.names[disk], number)}" if disk in disks.names else found[0]


def arguments(text: str, disks: Disks) -> str:
    """A kernel's arguments in a file of their own."""
    return "".join(line if comment(line) else disks.booted(line) for line in split(text))
