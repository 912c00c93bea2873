"""The papers by which a process is a member, and whether others lie in their place since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.fleet.config.model import Cluster
from engines.fleet.spread.certificates import PAPERS, mixed
from engines.fleet.spread.denying import DENIED, unfit
from engines.fleet.spread.security import security


class Papers:
    """Those of a cluster's folder; none where it has no TLS."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._taken: tuple[bytes, ...] = ()

    @property
    def where(self) -> str:
        """The folder."""
        return self._cluster.tls

    def taken(self) -> Any:
        """As Dask takes them, as they are now."""
        self._taken = self._there()
        return security(self._cluster)

    def others(self) -> bool:
        """Whether others lie there that belong together; of a copy that is half-way, not yet."""
        if not self._cluster.encrypted:
            return False
        try:
            folder = Path(self.where)
            return self._there() != self._taken and not mixed(folder) and not unfit(folder)
        except (OSError, ValueError, TypeError):
            return False

    def _there(self) -> tuple[bytes, ...]:
        if not self._cluster.encrypted:
            return ()
        paths = [Path(self.where) / name for name in (*PAPERS, DENIED)]
        return tuple(path.read_bytes() if path.exists() else b"" for path in paths)
