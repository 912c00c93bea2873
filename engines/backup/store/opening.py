"""The store that an address names is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.backup.store.store import Store
from engines.job.errors import Refused


def open_store(where: str) -> Store:
    """The store that `where` names: an absolute folder, a .tar that export wrote, sftp://USER@HOST:PORT/FOLDER or s3://BUCKET/PREFIX.

    Raises Refused.
    """
    from engines.backup.store.local import LocalStore

    if where.startswith("sftp://"):
        from engines.backup.store.sftp.store import open_sftp

        return open_sftp(where)
    if where.startswith("s3://"):
        from engines.backup.store.s3.store import open_s3

        return open_s3(where)
    if "://" in where:
        raise Refused(
            f"repository {where!r} is of no kind that is known here",
            "name a folder, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX",
        )
    if where.endswith(".tar") and Path(where).is_file():
        from engines.backup.store.tar import TarStore

        return TarStore(Path(where))
    return LocalStore(Path(where))


@contextmanager
def closed_on_error(store: Store) -> Iterator[None]:
    """A store that nobody comes to own is let go of."""
    try:
        yield
    except BaseException:
        store.close()
        raise


def exact(where: str) -> str:
    """The address as the store itself says it: one place has one name, and one lock. Raises BadParam."""
    if where.startswith("sftp://"):
        from engines.backup.store.sftp import access as sftp

        return str(sftp.parse(where))
    if where.startswith("s3://"):
        from engines.backup.store.s3 import access as s3

        return str(s3.parse(where))
    return where
