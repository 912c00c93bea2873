"""The virtio task's front door."""

from __future__ import annotations

from engines.job.contract import Look
from engines.virtio import inspect
from engines.virtio.convert import Convert
from engines.virtio.params import InspectParams
from engines.virtio.restock import PutBack, Restock

ENGINES = (Convert(), Restock(), PutBack())
LOOKS = (
    Look("inspect", "What a guest needs before it can move to virtio", InspectParams, inspect.answer, inspect.table),
)
