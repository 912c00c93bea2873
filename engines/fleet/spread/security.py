"""Who may join a cluster: never root, over mutual TLS, and without it on loopback alone."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path
from typing import Any

from typing_extensions import override

from engines.fleet.config.model import Cluster, Fleet
from engines.fleet.spread import denying
from engines.job.errors import Refused

FILES = ("ca.pem", "cert.pem", "key.pem")
HOW = "make them with: crashcart fleet certificate"
SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.allowed-failures": 10,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
}


class Outside(Refused):
    """This process is of no cluster, whatever its papers; what it does alone, it may do."""


def member(fleet: Fleet) -> Cluster:
    """The cluster that this process may join. Raises Refused, Outside."""
    cluster = fleet.cluster
    if cluster is None:
        raise Refused("fleet.yaml names no cluster", "add: cluster: {scheduler: 'tls://HOST:8786', tls: FOLDER}")
    if os.geteuid() == 0:
        why = "root does not join a cluster: whoever has one of its certificates can run code as each of its members"
        raise Outside(why, "run it as a user of its own: runuser -u crashcart -- crashcart fleet ...")
    if importlib.util.find_spec("distributed") is None:
        raise Outside("a cluster needs Dask, which is not installed", "pip install 'crashcart[fleet]'")
    if cluster.encrypted:
        unfit_papers(Path(cluster.tls))
    return cluster


def unfit_papers(folder: Path) -> None:
    """Raise Refused where a paper of a member lacks, is open to others, or lets in who is denied."""
    for name in FILES:
        try:
            found = (folder / name).stat()
        except OSError as error:
            raise Refused(f"{folder / name}: {error.strerror}", HOW) from None
        if name == "key.pem" and stat.S_IMODE(found.st_mode) & 0o077:
            raise Refused(f"{folder / name} can be read by others", f"chmod 600 {folder / name}")
        if not os.access(folder / name, os.R_OK):
            raise Refused(f"{folder / name} cannot be read", "run it as the owner of the folder")
    try:
        why = denying.unfit(folder)
    except (OSError, ValueError, TypeError) as error:
        why = f"{denying.DENIED} cannot be read: {getattr(error, 'strerror', None) or error}"
    if why:
        helps = (
            "copy it again from the folder of the authority, which has it from: crashcart fleet certificate NAME --deny"
        )
        raise Refused(f"{folder}: {why}", helps)


def security(cluster: Cluster) -> Any:
    """As Dask takes it; None on loopback without TLS. Dask is silent from here on, and serves no pages."""
    import logging

    import dask

    dask.config.set(SETTINGS)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if not cluster.encrypted:
        return None
    ca, cert, key = (str(Path(cluster.tls) / name) for name in FILES)
    both = {
        f"tls_{role}_{what}": path
        for role in ("client", "scheduler", "worker")
        for what, path in (("cert", cert), ("key", key))
    }
    return _denying(Path(cluster.tls))(tls_ca_file=ca, require_encryption=True, **both)


def _denying(folder: Path) -> Any:
    """Dask's, with whom no member whose certificate is denied talks; a class that only exists where Dask does."""
    from distributed.security import Security

    class Denying(Security):  # type: ignore[misc]  # Dask has no types here
        @override
        def get_listen_args(self, role: Any) -> Any:
            return _held(super().get_listen_args(role))

        @override
        def get_connection_args(self, role: Any) -> Any:
            return _held(super().get_connection_args(role))

    def _held(arguments: dict[str, Any]) -> dict[str, Any]:
        denying.hold_to(arguments["ssl_context"], folder)
        return arguments

    return Denying
