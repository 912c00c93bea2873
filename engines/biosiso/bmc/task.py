"""A request, and the task that a BMC sets going for it, to its end (DSP0266, 13.4)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from engines.biosiso.bmc.connection import Unanswered, shown
from engines.biosiso.bmc.redfish import PATH, Answer, Client
from engines.job.errors import Failed

WITHIN = 120.0  # s
RUNNING = ("New", "Starting", "Running", "Suspended", "Interrupted", "Pending", "Stopping", "Service", "Cancelling")
DONE = ("completed", "complete", "done", "ok", "success")  # the first is the standard's
Sleep = Callable[[float], None]


class Message(msgspec.Struct, frozen=True, rename="pascal"):
    """A word of the BMC's about a task."""

    message: str | None = None


class Task(msgspec.Struct, frozen=True, rename="pascal"):
    """A task as it stands."""

    task_state: str | None = None
    task_status: str | None = None
    messages: list[Message | str] | None = None

    def said(self) -> str:
        """How it stands, in the BMC's words."""
        parts = [part if isinstance(part, str) else part.message for part in self.messages or []]
        words = " ".join(part for part in parts if part)
        return shown(f"{self.task_state} ({self.task_status or 'no status'}): {words or 'no reason given'}", 300)


class Named(msgspec.Struct, frozen=True):
    """What a body calls itself, and where it says that it can be watched."""

    path: str = msgspec.field(name="@odata.id", default="")
    monitor: str | None = msgspec.field(name="TaskMonitor", default=None)


def done(client: Client, method: str, path: str, body: dict[str, Any], sleep: Sleep) -> None:
    """Send a request, and wait for the task that a 202 names. Raises Declined or another Failed."""
    answer = client.send(method, path, body)
    if answer.status == 202 and (task := _named(client, answer, path)):
        _follow(client, task, f"{method} {path}", sleep)


def _named(client: Client, answer: Answer, asked: str) -> str:
    """The path of the task; empty where none is named. It is asked of this BMC, whatever host stands before it.

    asked: the path of the request, which a relative Location starts from (RFC 9110 10.2.2).
    """
    named = answer.location
    if not named and answer.body.strip():
        try:
            body = client.decode(answer, "", Named)
        except Unanswered:
            return ""
        named = body.path or body.monitor or ""
    path = urlsplit(urljoin(asked, named)).path if named else ""
    return path if PATH.fullmatch(path) and re.search(r"task|monitor|job", path, re.IGNORECASE) else ""


def _follow(client: Client, path: str, what: str, sleep: Sleep) -> None:
    within = max(WITHIN, client.door.timeout)
    deadline = time.monotonic() + within
    while not _ended_or_busy(client, path, what, deadline):
        if time.monotonic() > deadline:
            raise Failed(
                f"{what}: its task {path} is not done after {within:.0f} s",
                "look at it on the BMC's own page; give a larger timeout",
            )
        sleep(0.5)


def _ended_or_busy(client: Client, path: str, what: str, deadline: float) -> bool:
    """The same of a BMC that is too busy for an answer now and then. Raises Unanswered once the time is up."""
    try:
        return _ended(client, path, what)
    except Unanswered:
        if time.monotonic() > deadline:
            raise
        return False


def _ended(client: Client, path: str, what: str) -> bool:
    """Whether it is done. A monitor is gone once its task is. Raises Failed where the task failed."""
    seen = client.fetch(path)
    if seen.status in (204, 404, 410):
        return True
    if seen.status in (202, 503):
        return False
    client.judge(seen, "GET", path)
    task = client.decode(seen, path, Task) if seen.body.strip() else Task()
    if task.task_state in RUNNING:
        return False
    if (task.task_state or "Completed").lower() not in DONE or task.task_status == "Critical":
        raise Failed(f"{what}: its task ends {task.said()}", "see the BMC's own log")
    return True
