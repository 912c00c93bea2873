"""No new repository comes to lie below the prefix of another in a bucket."""

from __future__ import annotations

import errno
from contextlib import suppress

from engines.backup.errors import FarFailed
from engines.backup.new_place import LONGEST, is_config
from engines.backup.store.opening import exact
from engines.job.errors import Refused


def refuse_within(where: str) -> None:
    """Raises Refused where the prefix `where` lies in that of a repository, FarFailed where that cannot be asked.

    Any place that is no bucket is left to others.
    """
    if not where.startswith("s3://"):
        return
    place = exact(where)
    while (place := place.rpartition("/")[0]) != "s3:/":
        if is_config(_config(place)):
            raise Refused(
                f"{where} lies in the repository {place}: another made there would lie among its own files",
                "name a prefix outside of it",
            )


def _config(place: str) -> bytes:
    """Empty where there is none, or none that this key may see: it may be for the prefix below alone."""
    from engines.backup.store.s3.store import open_s3

    with suppress(FileNotFoundError):
        try:
            return open_s3(place).read("config.json", 0, LONGEST)
        except FarFailed as failed:
            if failed.errno != errno.EACCES:
                raise
    return b""
