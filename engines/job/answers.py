"""A run's questions and their answers, over a socket that only its owner can reach."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from engines.job.contract import Asked, Cancel
from engines.job.errors import Refused, Stopped

LONGEST = 4096  # bytes of one answer
TICK = 0.1  # s; how soon a stop is noticed while waiting


class Listener:
    """The run's end: waits for the answer to a question."""

    def __init__(self, path: Path, within: float) -> None:
        self._path = path
        self._within = within
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Listener:
        self._path.unlink(missing_ok=True)
        os.fchmod(self._server.fileno(), 0o600)  # it is made so
        with _near(self._path) as short:
            self._server.bind(short)
        self._server.listen(4)
        self._server.settimeout(TICK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)

    def wait(self, question: Asked, cancel: Cancel) -> str:
        """The answer. Raises Stopped where a stop is asked for or nobody answers in time."""
        deadline = time.monotonic() + (float("inf") if question.patient else self._within)
        while time.monotonic() < deadline:
            cancel.check()
            try:
                peer, _ = self._server.accept()
            except TimeoutError:
                continue
            answer = _receive(peer, question)
            if answer is not None:
                return answer
        raise Stopped((f"nobody answered: {question.question}",))


def _receive(peer: socket.socket, question: Asked) -> str | None:
    with peer:
        peer.settimeout(2.0)  # s; a client that connects and says nothing must not hold the run
        try:
            text = b""
            while not text.endswith(b"\n") and len(text) <= LONGEST and (part := peer.recv(LONGEST)):
                text += part
            answer = text.decode("utf-8", "replace").rstrip("\n")
            fits = bool(text) and (not question.choices or answer in question.choices)
            peer.sendall(b"ok\n" if fits else f"allowed: {', '.join(question.choices)}\n".encode())
        except OSError:
            return None
    return answer if fits else None


def send(folder: Path, answer: str) -> None:
    """Answer the question of the run in `folder`. Raises Refused where it asks none or the answer is not allowed."""
    path = folder / "answer.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5.0)  # s
        try:
            with _near(path) as short:
                client.connect(short)
            client.sendall(answer.replace("\n", " ").encode() + b"\n")
            said = client.recv(LONGEST).decode("utf-8", "replace").strip()
        except OSError as error:
            raise Refused(
                f"run {folder.name} takes no answer ({error.strerror or error})", "see what it does: crashcart runs"
            ) from None
    if said != "ok":
        raise Refused(
            f"{answer!r} is not among the answers", said or "ask for the question: crashcart attach " + folder.name
        )


@contextmanager
def _near(path: Path) -> Iterator[str]:
    """The socket's path by a descriptor of its folder: sun_path holds 107 bytes, state folders can be deeper."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
