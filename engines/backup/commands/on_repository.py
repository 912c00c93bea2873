"""A verb on one repository: what its run locks, and a plan that names the repository by its place."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import ClassVar, TypeVar

import msgspec
from typing_extensions import override

from engines.backup.repository.repository import NamesOnly, RepoParams, Repository, where
from engines.job.contract import Cancel, Engine, Plan
from engines.job.params import plain

R = TypeVar("R", bound=RepoParams)


def place_id(place: str) -> str:
    """A repository's place as a lock's name has it, of one length and without slashes."""
    return hashlib.sha256(place.encode()).hexdigest()


class OnRepository(Engine[R]):
    """`locks`: what a run keeps others of its kind from; the verb, where it is not said."""

    locks: ClassVar[str] = ""

    @override
    def target(self, params: R) -> str:
        return f"backup {self.locks or self.verb} {place_id(where(params))}"

    @override
    def plan(self, params: R, cancel: Cancel) -> Plan:
        with Repository.glance(where(params)) as glance:
            plan = self.plan_on(glance, params, cancel)
        exact = {**plain(params), "repo": glance.store.where, **plan.params}
        return msgspec.structs.replace(plan, params=exact).sealed()

    @abstractmethod
    def plan_on(self, glance: NamesOnly, params: R, cancel: Cancel) -> Plan:
        """The plan; its `params` hold only those that the look made exact, such as @latest. Raises Refused."""
