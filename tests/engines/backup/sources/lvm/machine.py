"""A QEMU guest with device-mapper, in which functions of the tests run as root with disks of their own."""

from __future__ import annotations

import compileall
import json
import os
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engines.boot.accel import Accelerator
from engines.boot.machine import Machine
from engines.boot.media import Hardware, escaped
from tests.engines.backup.sources.lvm.initramfs import build, kernel

ROOT = Path(__file__).resolve().parents[5]
BOOTS_WITHIN = 240.0  # s; 6 on a quiet machine, 80 were seen on a busy one
COMMAND_LINE = "console=ttyS0 quiet panic=-1 loglevel=3 random.trust_cpu=on"


class Guest:
    """One boot, used by every test of a session. `disks`: names and sizes in bytes, /dev/vda first."""

    def __init__(self, folder: Path, disks: dict[str, int], *, memory: int = 1024, warm: tuple[str, ...] = ()) -> None:
        self._folder = folder
        for name, size in disks.items():
            with (folder / name).open("wb") as stream:
                stream.truncate(size)
        self._disks = [folder / name for name in disks]
        self._memory = memory
        self._warm = warm

    def __enter__(self) -> Self:
        for name in ("engines", "tests/engines/backup"):  # the guest compiles twenty times slower, and keeps nothing
            compileall.compile_dir(ROOT / name, quiet=2)
        initrd = self._folder / "initramfs"
        initrd.write_bytes(build(self._environment()))
        self._line = self._folder / "line"
        self._machine = Machine(
            Hardware(
                media=(),
                memory=self._memory,
                cpus=2,
                extra=self._extra(initrd),
            ),
            accelerator=Accelerator("tcg", "the tests' guest must boot alike everywhere"),
        )
        self._machine.__enter__()
        try:
            self._talk()
        except BaseException:
            self._machine.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._machine.__exit__(None, None, None)

    def call(self, function: str, *args: Any, within: float = 240.0) -> Any:
        """What `module:function` returns when it is called in the guest. `within`: seconds."""
        module, _, name = function.partition(":")
        request = {"module": module, "function": name, "args": args, "within": within}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = self._answer(within + 30.0)
        if "error" in answer:
            raise AssertionError(f"in the guest, {function}:\n{answer['error']}\n{self._said()}")
        return answer["result"]

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/run/home",
            "TMPDIR": "/run/tmp",
            "XDG_STATE_HOME": "/run/home/state",
            "XDG_CONFIG_HOME": "/run/home/config",
            "XDG_CACHE_HOME": "/run/home/cache",
            "LVM_SYSTEM_DIR": "/run/lvm",
            "LC_ALL": "C.UTF-8",
            "WARM": " ".join(self._warm),
        }

    def _extra(self, initrd: Path) -> tuple[str, ...]:
        image, _ = kernel()
        disks: list[str] = []  # not as media: their boot order would be the kernel's own
        for path in self._disks:
            disks += ["-drive", f"file={escaped(path)},if=virtio,format=raw,cache=writeback"]
        return (
            *disks,
            *("-cpu", "Nehalem", "-kernel", str(image), "-initrd", str(initrd), "-append", COMMAND_LINE),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
            *("-chardev", f"socket,id=line,path={self._line},server=on,wait=off"),
            *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=line,nr=1,name=line"),
            *("-device", "virtio-rng-pci"),
        )

    def _talk(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _near(self._line) as short:
            self._socket.connect(short)
        self._pending = b""
        self._answer(BOOTS_WITHIN)

    def _answer(self, within: float) -> dict[str, Any]:
        end = time.monotonic() + within
        self._socket.settimeout(0.5)
        while b"\n" not in self._pending:
            if not self._machine.alive or time.monotonic() > end:
                raise AssertionError(f"the guest says nothing within {within:.0f} s\n{self._said()}")
            try:
                self._pending += self._socket.recv(1 << 20)
            except TimeoutError:
                continue
        text, _, self._pending = self._pending.partition(b"\n")
        found: dict[str, Any] = json.loads(text)
        return found

    def _said(self) -> str:
        return self._machine.serial().decode("utf-8", "replace")[-4000:] + self._machine.stderr()[-1000:]


class _near:
    """A socket's path by a descriptor of its folder: sun_path holds 107 bytes, test folders can be deeper."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> str:
        self._descriptor = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
