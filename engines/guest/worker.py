"""The libguestfs process: calls come in and answers go out as JSON lines, so that it can be killed as a whole.

Run as a script by Debian's own Python (python3-guestfs has no other home). One request a line:
{"id": 1, "call": "read_file", "args": ["/etc/fstab"], "named": {}}; bytes travel as {"b64": "..."}.
A request with "bytewise" instead of "call" goes to bytewise.py, whose bytes travel as Latin-1 text.
Answers: {"id": 1, "ok": ...} or {"id": 1, "error": "..."}; between them {"said": "...", "source": "appliance"}.
"""

from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Serve until stdin ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libguestfs and its children print; the answer line stays clean
    try:
        import guestfs
    except ImportError as error:
        _say(answers, {"id": 0, "error": f"no guestfs: {error}"})
        return 1
    handle = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
    _listen(guestfs, handle, answers)
    _say(answers, {"id": 0, "ok": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        serve = _bytewise(handle) if "bytewise" in request else _answer
        _say(answers, {"id": request["id"], **serve(handle, request)})
    handle.close()
    return 0


def _listen(guestfs: Any, handle: Any, answers: BinaryIO) -> None:
    sources = {
        guestfs.EVENT_APPLIANCE: "appliance",
        guestfs.EVENT_LIBRARY: "library",
        guestfs.EVENT_WARNING: "warning",
    }

    def said(event: int, _number: int, text: Any, _values: Any) -> None:
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        _say(answers, {"said": shown, "source": sources.get(event, "other")})

    mask = 0
    for event in sources:
        mask |= event
    handle.set_event_callback(said, mask)


@cache
def _bytewise(handle: Any) -> Callable[[Any, dict[str, Any]], dict[str, Any]]:
    """The neighbour file: an isolated interpreter finds none by name."""
    spec = importlib.util.spec_from_file_location("bytewise", Path(__file__).with_name("bytewise.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bytewise"] = module
    spec.loader.exec_module(module)
    calls = module.Bytewise(handle)
    return lambda _, request: module.answer(calls, request)


def _answer(handle: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        method = getattr(handle, request["call"])
        arguments = [_received(each) for each in request["args"]]
        named = {name: _received(each) for name, each in request["named"].items()}
        return {"ok": _sendable(method(*arguments, **named))}
    except (RuntimeError, AttributeError, TypeError, ValueError, OSError) as error:
        return {"error": str(error)}


def _received(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return value


def _sendable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(name): _sendable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sendable(each) for each in value]
    return value


def _say(answers: BinaryIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
