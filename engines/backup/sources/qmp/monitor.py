"""A running QEMU asked over its QMP socket: which disks it has, and one moment of them held while it goes on.

The moment is a backup job that copies nothing but what the guest is about to overwrite (sync=none), into an overlay
whose other blocks are the disk's own. Source: QEMU, docs/interop/live-block-operations.rst and qmp-ref.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backup.sources.server import asked
from engines.boot.qmp import Gone, Qmp, QmpError
from engines.host.holder import start_time
from engines.job.errors import Failed, Refused

PREFIX = "crashcart-"
ENDS_WITHIN = 30.0  # s for a job to go once it is cancelled
OVER = ("concluded", "aborting", "null")  # states of a job that holds no moment any more


@dataclass(frozen=True)
class QemuDisk:
    """One disk: its image, the name of its node in QEMU, and its size in bytes."""

    path: Path
    node: str
    size: int


class Monitor:
    """One connection to a QMP socket. Raises Refused where there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(str(path))
            self._qmp = Qmp(peer, lambda: None)
            self._qmp.greet()
        except (OSError, Gone) as error:
            peer.close()
            raise Refused(
                f"{path} is no QMP socket that answers: {getattr(error, 'strerror', None) or error}",
                "name the socket of -qmp unix:PATH,server=on,wait=off; one that libvirt uses answers nobody else",
            ) from None

    def close(self) -> None:
        """Hang up."""
        self._qmp.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """A command's answer. Raises Failed."""
        try:
            return self._qmp.execute(command, **arguments)
        except (QmpError, Gone) as error:
            raise Failed(
                f"QEMU at {self.path}: {command}: {error}", "look at the VM; its disks are as they were"
            ) from None

    def disk(self, where: Path) -> QemuDisk:
        """The disk whose image is at `where`. Raises Refused."""
        known = []
        for device in self.ask("query-block"):
            inserted = device.get("inserted") or {}
            image = inserted.get("image") or {}
            path = Path(str(image.get("filename", "")))
            with contextlib.suppress(OSError):
                if path.samefile(where):
                    return QemuDisk(where, str(inserted["node-name"]), int(image["virtual-size"]))
            known.append(str(path))
        raise Refused(
            f"the VM at {self.path} has no disk {where}", f"it has {', '.join(filter(None, known)) or 'none'}"
        )

    # ── a moment ────────────────────────────────────────────────────────────────────────────────────

    def hold(self, disks: list[QemuDisk], overlays: list[Path], listen: Path) -> list[str]:
        """Hold one moment of all disks, to be read over NBD at `listen`; the names of the exports. Raises Failed."""
        names = [f"{own()}-{number}" for number in range(len(disks))]
        for disk, overlay, name in zip(disks, overlays, names, strict=True):
            asked(overlay, "create", "-q", "-f", "qcow2", str(overlay), str(disk.size))
            found = disk.path.stat()
            os.chown(overlay, found.st_uid, found.st_gid)
            file = {"driver": "file", "filename": str(overlay)}
            self.ask("blockdev-add", **{"driver": "qcow2", "node-name": name, "file": file, "backing": disk.node})
        actions = [
            {"type": "blockdev-backup", "data": {"job-id": name, "device": disk.node, "target": name, "sync": "none"}}
            for disk, name in zip(disks, names, strict=True)
        ]
        self.ask("transaction", actions=actions)
        self.ask("nbd-server-start", addr={"type": "unix", "data": {"path": str(listen)}})
        for name in names:
            self.ask("block-export-add", **{"type": "nbd", "id": name, "node-name": name, "name": name})
        return names

    def holds(self, name: str) -> bool:
        """Whether the moment is still held."""
        return any(job["id"] == name and job["status"] not in OVER for job in self.ask("query-jobs"))

    def let_go(self, stem: str = "") -> None:
        """Take out of QEMU what was put there, by this process or by a dead one of that stem."""
        stem = stem or f"{own()}-"
        for export in self._quietly("query-block-exports") or []:
            if export["id"].startswith(stem):
                self._quietly("block-export-del", id=export["id"], mode="hard")
        exports = self._quietly("query-block-exports")
        if exports == []:
            self._quietly("nbd-server-stop")
        end = time.monotonic() + ENDS_WITHIN
        while jobs := [job["id"] for job in self._quietly("query-jobs") or [] if job["id"].startswith(stem)]:
            for job in jobs:
                self._quietly("block-job-cancel", device=job, force=True)
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        for node in self._quietly("query-named-block-nodes", flat=True) or []:
            if str(node.get("node-name", "")).startswith(stem):
                self._quietly("blockdev-del", **{"node-name": node["node-name"]})

    def _quietly(self, command: str, **arguments: Any) -> Any:
        with contextlib.suppress(QmpError, Gone):
            return self._qmp.execute(command, **arguments)
        return None

    def sweep(self) -> set[str]:
        """Let go of moments that killed processes held; the stems of their names."""
        dead = set()
        for job in self.ask("query-jobs"):
            words = str(job["id"]).removeprefix(PREFIX).split("-")
            if str(job["id"]).startswith(PREFIX) and len(words) == 3 and all(word.isdigit() for word in words):
                pid, started, _ = (int(word) for word in words)
                if start_time(pid) != started:
                    dead.add(stem := f"{PREFIX}{pid}-{started}")
                    self.let_go(f"{stem}-")
        return dead


def own() -> str:
    """What the names of all that this process puts into QEMU begin with: a pid comes again, with another start."""
    return f"{PREFIX}{os.getpid()}-{start_time(os.getpid())}"
