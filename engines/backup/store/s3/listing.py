"""A listing of a bucket, page by page: gone on with where the line breaks in it, given up where it has no end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from engines.backup.store.s3 import trouble
from engines.backup.store.s3.again import Tries, within

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

PAGE = 100  # names handed on at a time; what a server gives at a time is its own matter


def pages(client: Client, folder: str, tries: Callable[[], Tries], nameless: float) -> Iterator[dict[str, int]]:
    """Sizes by name, in pages that are not empty. Raises what obstore does.

    nameless: seconds after which pages without a single name are held to be without an end, too: TimeoutError.
    """
    import obstore
    from obstore.exceptions import BaseError

    def begun() -> Any:
        return obstore.list(client, folder or None, offset=last or None, chunk_size=PAGE)

    last, in_order, left = "", True, tries()
    coming = begun()
    while True:
        try:
            page = within(nameless, lambda: next(coming, None))  # noqa: B023  done before `coming` is another
        except BaseError as error:
            if not (trouble.broken(error) and in_order) or left.over():
                raise
            left.wait()
            coming = begun()
            continue
        if not page:
            return
        found = {str(one["path"]): int(one["size"]) for one in page}
        in_order = in_order and list(found) == sorted(found) and min(found) > last
        last, left = max(found), tries()
        yield found
