"""A file's owner, mode, attributes and times onto an open descriptor, and in words what could not go along.

Nothing becomes setuid or setgid, and no file gains capabilities, unless special files were asked for and owners are
kept: under another owner such a file is a hole in the machine that holds it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from engines.backup.files.model import BrowseError, Unsupported, shown
from engines.backup.files.selection import Complain, SelectedFile

IDS = 1 << 32  # the last id means "leave as it is" to chown
ACL = b"system.posix_acl_"
CAPABILITY = b"security.capability"


@dataclass(frozen=True)
class CarryOptions:
    """What is to be carried. owner: owners, and the ACLs and security attributes that are about owners.

    special: device nodes, pipes, sockets; setuid and setgid where `owner` too.
    """

    owner: bool = False
    special: bool = False

    @property
    def privileged(self) -> bool:
        """Whether setuid bits and capabilities go along."""
        return self.owner and self.special


def mode_of(entry: SelectedFile, wish: CarryOptions, complain: Complain) -> int:
    """The permission bits it gets."""
    mode = stat.S_IMODE(entry.node.mode)
    raised = mode & (stat.S_ISUID | stat.S_ISGID)
    if raised and not wish.privileged:
        complain(entry.source, "is setuid or setgid in the point, not here (--special --owner keeps that)")
        mode &= ~raised
    return mode


def onto(descriptor: int, entry: SelectedFile, wish: CarryOptions, complain: Complain) -> None:
    """Owner, mode, attributes, times of a file or folder."""
    if wish.owner:
        _owner(descriptor, entry, complain)
    try:
        os.fchmod(descriptor, mode_of(entry, wish, complain))
    except OSError as error:
        complain(entry.source, f"has another mode here: {error.strerror}")
    _attributes(descriptor, entry, wish, complain)
    times(descriptor, None, entry, complain)


def _owner(descriptor: int, entry: SelectedFile, complain: Complain) -> None:
    node = entry.node
    if node.uid >= IDS - 1 or node.gid >= IDS - 1:
        complain(entry.source, f"has no owner that can be: {node.uid}:{node.gid}")
        return
    try:
        os.fchown(descriptor, node.uid, node.gid)
    except OSError as error:
        complain(entry.source, f"has another owner here: {error.strerror}")


def onto_name(folder: int, name: bytes, entry: SelectedFile, wish: CarryOptions, complain: Complain) -> None:
    """Owner and times of a link, and of a special file its mode; in a folder that nobody else can enter."""
    node = entry.node
    if wish.owner and node.uid < IDS - 1 and node.gid < IDS - 1:
        try:
            os.chown(name, node.uid, node.gid, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            complain(entry.source, f"has another owner here: {error.strerror}")
    if not node.is_link:
        os.chmod(name, mode_of(entry, wish, complain), dir_fd=folder)
    _attributes(b"/proc/self/fd/%d/%s" % (folder, name), entry, wish, complain)
    times(folder, name, entry, complain)


def times(descriptor: int, name: bytes | None, entry: SelectedFile, complain: Complain) -> None:
    """Of an open file, or of a name in an open folder."""
    both = (entry.node.atime, entry.node.mtime)
    try:
        if name is None:
            os.utime(descriptor, ns=both)
        else:
            os.utime(name, ns=both, dir_fd=descriptor, follow_symlinks=False)
    except (OSError, OverflowError):
        complain(entry.source, "has times that this disk cannot hold")


def attributes_of(entry: SelectedFile, complain: Complain) -> dict[bytes, bytes]:
    """Extended attributes; what the driver cannot carry is told."""
    if entry.volume is None:
        return {}
    try:
        found = entry.volume.attributes(entry.inner)
    except Unsupported:
        complain(
            entry.source,
            f"may have attributes or ACLs: the {entry.volume.driver} driver cannot tell (--driver libguestfs can)",
        )
        return {}
    except BrowseError as error:
        complain(entry.source, f"keeps its attributes to itself: {error.why}")
        return {}
    return {name.encode("utf-8", "surrogateescape"): value for name, value in found.items()}


def _attributes(where: int | bytes, entry: SelectedFile, wish: CarryOptions, complain: Complain) -> None:
    for name, value in attributes_of(entry, complain).items():
        lacking = withheld(name, wish)
        if lacking:
            complain(entry.source, f"goes without {shown(name)} ({lacking} keeps it)")
            continue
        try:
            os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
        except OSError as error:
            why = "this disk cannot hold it" if error.errno == errno.EOPNOTSUPP else error.strerror
            complain(entry.source, f"goes without {shown(name)}: {why}")


def withheld(name: bytes, wish: CarryOptions) -> str:
    """The option that an attribute waits for; empty where it goes along."""
    if name == CAPABILITY:
        return "" if wish.privileged else "--special --owner"
    about_owners = name.startswith((ACL, b"security.", b"trusted."))
    return "--owner" if about_owners and not wish.owner else ""
