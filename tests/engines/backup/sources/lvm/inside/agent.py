"""The process inside the guest: calls one function of the tests a request, each in a child of its own.

A request is one JSON line {module, function, args, within}; the answer is one JSON line {result} or {error}.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

FOLDERS = ("tmp", "home", "lock", "lvm")
LVM = """
global { use_lvmpolld = 0 }
devices {
  dir = "/dev" scan = [ "/dev" ] use_devicesfile = 0 hints = "none"
  global_filter = [ "a|^/dev/vd|", "r|.*|" ]
  obtain_device_list_from_udev = 0 md_component_detection = 0 multipath_component_detection = 0
}
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
"""  # no udev runs in the guest, and its /etc is the host's, read-only


def main() -> None:
    """Serve until the line is closed for good."""
    for name in FOLDERS:
        Path("/run", name).mkdir(exist_ok=True)
    Path("/run/lvm/lvm.conf").write_text(LVM)
    for name in sys.argv[1:] or os.environ.get("WARM", "").split():
        importlib.import_module(name)
    (where,) = Path("/dev").glob("vport*p1")
    with where.open("r+b", buffering=0) as port:
        port.write(b'{"result": "ready"}\n')
        while True:
            request = _line(port)
            port.write(_answered(request) + b"\n")


def _line(port: BinaryIO) -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\n"):
        part = port.read(65536)
        if not part:
            time.sleep(0.05)
        text += part or b""
    found: dict[str, Any] = json.loads(text)
    return found


def _answered(request: dict[str, Any]) -> bytes:
    with tempfile.TemporaryFile(dir="/run/tmp") as answer:
        child = os.fork()
        if child == 0:
            os.setsid()
            _call(request, answer)
        ended = _wait(child, float(request["within"]))
        answer.seek(0)
        text = answer.read()
    return text or json.dumps({"error": ended}).encode()


def _call(request: dict[str, Any], answer: BinaryIO) -> None:
    try:
        function = getattr(importlib.import_module(request["module"]), request["function"])
        said = json.dumps({"result": function(*request["args"])})
    except BaseException:  # noqa: BLE001  whatever it is, the host must hear it
        said = json.dumps({"error": traceback.format_exc()})
    answer.write(said.encode())
    answer.flush()
    os._exit(0)


def _wait(child: int, within: float) -> str:
    end = time.monotonic() + within
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return f"ended with {status} and no answer"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"no answer within {within:.0f} s"


if __name__ == "__main__":
    main()
