"""GRUB 0.97's menu (menu.lst, grub.conf): reads its stanzas, adds one that boots from virtio, keeps the others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.virtio.lines.disks import Disks, comment, joined, split

MARK = " (virtio)"
DEFAULT = re.compile(r"(\s*default)([ \t]*=[ \t]*|[ \t]+)(\S+)")
TITLE = re.compile(r"\s*title[ \t=]")
COMMAND = re.compile(r"^(\s*\w+)[ \t]*=")
KERNEL = re.compile(r"\s*kernel[\s=]")
MAGIC = re.compile(r"#\s?(?:x?kopt\w*|xenk?h?opt\w*|groot|defoptions|altoptions|nonaltoptions|bootdev)=")
QUIET = re.compile(r" (?:rhgb|quiet|splash(?:=\w+)?|loglevel=\d|(?:rd\.)?systemd\.show_status=\w+)(?= |$)")
DEVICE = re.compile(r"\(hd\d+(?:,\w+)?\)")


@dataclass(frozen=True)
class Entry:
    """One boot entry. kernel, initrd: paths as the loader writes them. lines: the stanza's text.

    told: the version, where the kernel's file said it.
    """

    title: str
    kernel: str
    initrd: str
    lines: tuple[str, ...]
    xen: bool = False
    told: str = ""

    @property
    def version(self) -> str:
        """The kernel's version by its file, or its file's name; empty where neither tells one."""
        if self.told:
            return self.told
        name = self.kernel.rsplit("/", 1)[-1]
        return name.partition("-")[2] if name.startswith(("vmlinuz-", "linux-", "bzImage-", "kernel-")) else ""


GOING_ON = re.compile(r"[ \t]{0,8}\\\n\s*\Z")  # over an empty line


def entries(text: str) -> list[Entry]:
    """The stanzas in order."""
    found: list[list[str]] = []
    for line in joined(text):
        if TITLE.match(line):
            found.append([line])
        elif found:
            found[-1].append(line)
    return [_entry(lines) for lines in found]


def _entry(lines: list[str]) -> Entry:
    said = [_words(line) for line in lines if not comment(line)]
    words = {each[0].lower(): each for each in said if len(each) > 1}
    modules = [line.split() for line in lines if line.lstrip().startswith("module") and len(line.split()) > 1]
    kernel, initrd = words.get("kernel", ["", ""])[1], words.get("initrd", ["", ""])[1]
    if modules:
        kernel, initrd = modules[0][1], modules[1][1] if len(modules) > 1 else ""
    title = re.split(r"title[ \t=]", lines[0].strip(), maxsplit=1)[-1].strip()
    return Entry(title, DEVICE.sub("", kernel), DEVICE.sub("", initrd), tuple(lines), xen=bool(modules))


def _words(line: str) -> list[str]:
    """Without options of the command, such as --type=linux and --no-mem-option; behind it may be an equals sign."""
    return [word for word in COMMAND.sub(r"\1 ", line.replace("\\\n", " ")).split() if not word.startswith("--")]


def default(text: str) -> int:
    """The default entry's number; 0 where it is saved or missing, as GRUB takes it then."""
    for line in split(text):
        if found := DEFAULT.match(line):
            return number_in(found.group(3))
        if TITLE.match(line):
            break
    return 0


def number_in(word: str) -> int:
    """An entry's number as GRUB reads it; 0 for anything else."""
    return int(word) if re.fullmatch("[0-9]{1,4}", word) else 0


def with_entry(text: str, stock: Entry, initrd: str, disks: Disks) -> str:
    """`text` with a copy of `stock` that uses `initrd` and the new disk as the last stanza; once."""
    if any(each.initrd.endswith("/" + initrd) for each in entries(text)):
        return text
    copied = [_converted(line, initrd, disks) for line in stock.lines if not comment(line)]
    if copied and not copied[-1].endswith("\n"):
        copied[-1] += "\n"
    ending = "" if text.endswith("\n") or not text else "\n"
    return text + ending + "".join(copied)


def _converted(line: str, initrd: str, disks: Disks) -> str:
    line = GOING_ON.sub("\n", line)
    word = next(iter(_words(line)), "").lower()
    if TITLE.match(line):
        body = line.rstrip("\r\n")
        return body.rstrip() + MARK + line[len(body) :]
    if word == "initrd":
        return re.sub(r"(?<![^/\s=])[^/\s=]+(?=\s*$)", lambda _: initrd, line, count=1)
    return disks.booted(line) if word == "kernel" else line


def with_default(text: str, number: int) -> str:
    """`text` with that default entry; a line is added in front where there is none."""
    lines = split(text)
    for at, line in enumerate(lines):
        if TITLE.match(line):
            break
        if found := DEFAULT.match(line):
            lines[at] = f"{found.group(1)}{found.group(2)}{number}{line[found.end() :]}"
            return "".join(lines)
    return "".join([f"default={number}\n", *lines])


def number_of(text: str, initrd: str) -> int | None:
    """The number of the entry that uses an initrd of that name."""
    return next((at for at, each in enumerate(entries(text)) if each.initrd.endswith("/" + initrd)), None)


def without_entry(text: str, initrd: str) -> str:
    """`text` without the entry that uses an initrd of that name."""
    gone = next((each for each in entries(text) if each.initrd.endswith("/" + initrd)), None)
    return text.replace("".join(gone.lines), "", 1) if gone else text


def magic(text: str, disks: Disks) -> str:
    """`text` with the new disk in the comments that Debian's update-grub makes menus from: `# kopt=root=...`."""
    return "".join(disks.booted(line) if MAGIC.match(line) else line for line in split(text))


def renamed(text: str, version: str, disks: Disks) -> str:
    """`text` with the new disk on the kernel lines of one kernel's entries."""
    wanted = {line for each in entries(text) if each.version == version and not each.xen for line in each.lines}
    return "".join(disks.booted(line) if line in wanted and KERNEL.match(line) else line for line in joined(text))


def for_serial(text: str, more: str = "") -> str:
    """`text` whose kernel lines also speak on the first serial line: for a throwaway boot only. more: arguments."""
    return "".join(spoken(line, more) if KERNEL.match(line) else line for line in joined(text))


def spoken(line: str, more: str = "") -> str:
    """A kernel line that is not quiet and uses the serial line."""
    body = line.rstrip("\r\n")
    return QUIET.sub("", body) + " console=tty0 console=ttyS0,115200" + more + line[len(body) :]
