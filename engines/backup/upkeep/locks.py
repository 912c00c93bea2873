"""What of a bucket cannot be deleted yet, and when it can; a folder and an sftp server lock nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from engines.backup.errors import FarFailed
from engines.backup.store.s3.access import SCHEME
from engines.job.errors import Refused

AT_ONCE = 8


class Locks:
    """`keeps`: whether what is deleted stays as a version. `unknown`: why that could not be found out."""

    def __init__(self, place: str) -> None:
        self.keeps = False
        self.unknown = ""
        if not place.startswith(SCHEME):
            return
        from engines.backup.store.s3.versions import ObjectVersions  # brings boto3, 0.8 s

        try:
            self._versions = ObjectVersions(place, lock=True)
            self.keeps = self._versions.kept()
        except (Refused, FarFailed) as error:
            self.unknown = error.why

    def until(self, names: Sequence[str]) -> dict[str, float]:
        """Unix time to which each is locked; those that are not locked, or not there, are left out."""
        if not self.keeps:
            return {}
        now = time.time()
        with ThreadPoolExecutor(AT_ONCE) as asking:
            found = dict(zip(names, asking.map(self._one, names), strict=True))
        return {name: at for name, at in found.items() if at > now}

    def _one(self, name: str) -> float:
        try:
            return self._versions.locked_until(name)
        except FarFailed:
            return 0.0
