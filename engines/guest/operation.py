"""What every task that changes a guest's image shares: decided in one appliance, done in it, finished or taken back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from typing_extensions import override

from engines.guest import takeback
from engines.guest.appliance import GuestError
from engines.guest.open_plans import OpenPlans
from engines.guest.surgery import Surgery
from engines.job.contract import AnyEvent, Cancel, Context, Engine, Events, Plan, StepStarted
from engines.job.errors import Failed, Refused
from engines.job.lock import content_identity
from engines.job.params import Params
from engines.job.runs import Run


class Decided(Protocol):
    """An open operation: what will be done, and the surgery that it is done in."""

    surgery: Surgery

    @property
    def alive(self) -> bool:
        """Whether its appliance still runs."""
        ...

    def close(self) -> None:
        """End it; nothing was committed."""
        ...


kept: OpenPlans[Decided] = OpenPlans()

P = TypeVar("P", bound=Params)
D = TypeVar("D", bound=Decided)


class OnGuest(Engine[P], Protocol[P, D]):
    """An engine that decides in an appliance which stays open for `execute`. `begins`: the id of its first step."""

    kind: ClassVar[str] = "change"
    holds: ClassVar[bool] = True
    begins: ClassVar[str]

    @abstractmethod
    def decide(self, params: P, cancel: Cancel) -> tuple[Plan, D]:
        """Look into the guest. Raises Refused, GuestError; what it opened is closed then."""

    @abstractmethod
    def carry_out(self, decided: D, plan: Plan, context: Context) -> Events:
        """Everything behind the first step's start. Raises GuestError, Failed."""

    @abstractmethod
    def instead(self, plan: Plan, run: Run) -> str:
        """What helps where the guest has run since."""

    @abstractmethod
    def image(self, params: P) -> Path:
        """The image, symbolic links followed."""

    @override
    def target(self, params: P) -> str:
        """The image's own identity."""
        return content_identity(self.image(params))

    @override
    def plan(self, params: P, cancel: Cancel) -> Plan:
        """Look; what was opened stays open for `execute`."""
        kept.close_all()
        with refusing():
            plan, decided = self.decide(params, cancel)
        kept.keep(plan.digest, decided)
        return plan

    def again(self, plan: Plan, context: Context) -> Generator[AnyEvent, str | None, Plan]:
        """The plan made anew, where its appliance is gone."""
        yield from ()
        return self.plan(plan.params, context.cancel)

    @override
    def execute(self, plan: Plan, context: Context) -> Events:
        """In the plan's own appliance where it is still open, else after planning again to the same plan."""
        yield StepStarted(step=self.begins)
        decided = kept.take(plan.digest)
        if decided is None:
            now = yield from self.again(plan, context)
            decided = kept.again(now, plan)
        decided.surgery.appliance.cancel = context.cancel
        try:
            yield from self.carry_out(decided, plan, context)  # type: ignore[arg-type]  # this engine's own, by digest
        except GuestError as error:
            raise Failed(
                f"the guest does not take it: {error}", "the image is untouched; read the log of this run"
            ) from None
        finally:
            decided.close()

    @override
    def resume(self, plan: Plan, context: Context) -> Events:
        """Finish a commit that was killed; before it nothing was touched, and it is done anew."""
        return takeback.resume(self, plan, context, lambda run: self.instead(plan, run))

    @override
    def undo(self, plan: Plan, context: Context) -> Events:
        """Put the image's original bytes back."""
        return takeback.undo(plan, context, lambda run: self.instead(plan, run))


@contextmanager
def refusing() -> Iterator[None]:
    """While looking, what the appliance cannot do is a refusal: nothing was touched."""
    try:
        yield
    except GuestError as error:
        raise Refused(f"the guest cannot be read: {error}", "nothing was touched; check its file systems") from None
