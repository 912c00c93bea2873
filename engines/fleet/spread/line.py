"""A controller's line to the cluster: work goes out with what it takes, and what comes back, or will not, is told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from engines.fleet.config.model import Fleet
from engines.fleet.spread import resources, work
from engines.fleet.spread.security import member, security
from engines.job.errors import Failed

ANSWERS = 20.0  # s until a scheduler that does not answer at first is given up
SILENT = 60.0  # s until one that did is called lost
NOBODY = 60.0  # s that work waits for a worker that may do it
LOOK = 5.0  # s between two looks whether somebody does it


@dataclass(frozen=True)
class Undone:
    """The cluster did not do it; whether it was begun is not known."""

    why: str


@dataclass
class Handed:
    """Work that is out. done: told what came of it, in some thread. told: what its worker says on the way."""

    future: Any
    done: Callable[[Any | Undone], None]
    told: Callable[[Mapping[str, Any]], None]
    nobody: float | None = None  # since when no worker has it


class Line:
    """Raises Refused, and Failed where the scheduler does not answer. silent: see SILENT."""

    def __init__(self, fleet: Fleet, silent: float = SILENT) -> None:
        cluster = member(fleet)
        paper = security(cluster)
        from distributed import Client

        self.where = cluster.scheduler
        self._lock = threading.RLock()
        self._out: dict[str, Handed] = {}
        self._looked = 0.0
        self._silent = silent
        self._lost = ""
        try:
            self._client = Client(self.where, security=paper, timeout=ANSWERS, set_as_default=False)
        except Exception as error:  # noqa: BLE001  Dask raises what it likes where the line breaks
            raise Failed(
                f"the cluster {self.where} does not answer: {error}", "see: crashcart fleet scheduler"
            ) from None
        self._client.subscribe_topic(work.TOPIC, self._event)

    def workers(self) -> int:
        """How many there are now; 0 where nobody answers."""
        return len(self._asked("ncores"))

    def _asked(self, what: str) -> Mapping[str, Any]:
        """What the scheduler says of each worker; nothing where it does not. All is undone once it stands still."""
        if self._lost:
            return {}
        try:
            question = getattr(self._client.scheduler, what)
            answer: Mapping[str, Any] = self._client.sync(question, workers=None, callback_timeout=self._silent)
        except TimeoutError:
            self._give_up()
        except Exception:  # noqa: BLE001  as above; what is lost comes back by its future
            return {}
        else:
            return answer
        return {}

    def _give_up(self) -> None:
        with self._lock:
            self._lost = f"the cluster {self.where} stands still"
            out = dict(self._out)
        for task in out:
            self._settle(task, Undone(self._lost))
        self._cancel(out.values())

    def _cancel(self, handed: Iterable[Handed]) -> None:
        """Said to the scheduler, if it hears it."""
        if futures := [each.future for each in handed]:
            with suppress(Exception):
                cancel = partial(self._client.cancel, futures, asynchronous=True)
                self._client.sync(cancel, callback_timeout=self._silent)

    def hand(
        self,
        what: Callable[[Any], Any],
        given: Any,
        needs: Iterable[str],
        urgency: float,
        done: Callable[[Any | Undone], None],
        told: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        """Have a worker do `what` with `given`. needs: what it takes one of each; urgency: the least is begun first."""
        task = f"{what.__name__}-{os.urandom(8).hex()}"
        undone: Undone | None = None
        with self._lock:
            try:
                if self._lost:
                    raise Failed(self._lost)
                future = self._client.submit(
                    what, given, key=task, resources=resources.needed(needs), priority=-urgency, pure=False
                )
            except Exception as error:  # noqa: BLE001  as above
                undone = Undone(f"the cluster {self.where} takes nothing: {error}")
            else:
                self._out[task] = Handed(future, done, told)
        if undone:
            done(undone)
        else:
            future.add_done_callback(lambda ended: self._ended(task, ended))

    def _ended(self, task: str, future: Any) -> None:
        """In a thread of Dask's."""
        status = future.status
        result: Any = Undone(f"the cluster {self.where} was lost")
        try:
            if status == "finished":
                result = future.result(timeout=ANSWERS)
            elif status == "error":
                result = Undone(f"the cluster {self.where} could not do it: {future.exception(timeout=ANSWERS)}")
        except Exception as error:  # noqa: BLE001  as above
            result = Undone(f"the cluster {self.where} lost what came of it: {error}")
        self._settle(task, result)

    def _settle(self, task: str, result: Any) -> None:
        """Told once, whoever comes first."""
        with self._lock:
            handed = self._out.pop(task, None)
        if handed is not None:
            handed.done(result)

    def _event(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, said = event
        with self._lock:
            handed = self._out.get(str(said.get("task")))
        if handed is not None:
            handed.told(said)

    def look(self) -> None:
        """To be called now and then: work that no worker has for a while is called undone."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        with self._lock:
            out = dict(self._out)
        if not out:
            return
        held = {str(key) for keys in self._asked("processing").values() for key in keys}
        for task, handed in out.items():
            handed.nobody = None if task in held else handed.nobody or now
            if handed.nobody is not None and now - handed.nobody > NOBODY:
                self._settle(
                    task,
                    Undone(
                        f"no worker of {self.where} takes it: is one there, of this crashcart, with this fleet.yaml?"
                    ),
                )
                self._cancel([handed])

    def close(self) -> None:
        """Hang up; what was not told is not told any more, and workers let go of it."""
        with self._lock:
            out, self._out = list(self._out.values()), {}
        self._cancel(out)
        with suppress(Exception):
            self._client.close(timeout=ANSWERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
