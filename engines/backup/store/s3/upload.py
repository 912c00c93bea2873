"""An object that is sent in parts while it is written, and seen when it is complete or never."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engines.backup.store.s3 import trouble
from engines.backup.store.s3.access import BucketAccess, BucketAddress
from engines.backup.store.s3.again import Tries
from engines.backup.store.store import Bytes

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

PART = 8 * 1024 * 1024  # bytes of an upload's parts
AT_ONCE = 3  # parts under way


class Upload:
    """An object that is being sent in parts while it is written."""

    def __init__(
        self, client: Client, name: str, address: BucketAddress, access: BucketAccess, there: Callable[[], int]
    ) -> None:
        """there: the bytes of the object of that name. Raises FileNotFoundError, FarFailed."""
        self._client = client
        self._name = name
        self._address = address
        self._access = access
        self._there = there
        self._size = 0
        self._early: list[Bytes] | None = []  # what was written until the server has given the upload its number
        self._begin()

    def _begin(self) -> None:
        import obstore

        self._writer = obstore.open_writer(self._client, self._name, buffer_size=PART, max_concurrency=AT_ONCE)

    def write(self, content: Bytes) -> None:
        """Append; waits where more than a few parts are under way."""
        if self._early is None:
            self._sent(lambda: self._writer.write(content))
        else:
            self._early.append(content)
            self._written()
        self._size += len(content)
        if self._size > PART:
            self._early = None

    def _written(self) -> None:
        """Write the last of what is early; where its upload could not begin, all of it into another."""
        from obstore.exceptions import BaseError

        tries = Tries(self._access.patience)
        early = self._early or []
        again = early[-1:]
        while True:
            try:
                for one in again:
                    self._writer.write(one)
                return
            except (BaseError, OSError) as error:
                if tries.over() or not trouble.broken(error):
                    raise self._explained(error) from None
            tries.wait()
            self._begin()
            again = early

    def _sent(self, request: Callable[[], object]) -> None:
        from obstore.exceptions import BaseError

        try:
            request()
        except (BaseError, OSError) as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> OSError:
        if isinstance(error, FileNotFoundError) and trouble.code_of(error) not in trouble.NOWHERE:
            error = OSError("status code: 404")
        return trouble.explained(error, self._address, self._access)

    def complete(self) -> None:
        """Have it seen; where the answer is lost, its being there in full is one."""
        try:
            self._sent(self._writer.close)
        except OSError:
            if not self._complete():
                raise

    def _complete(self) -> bool:
        try:
            return self._there() == self._size
        except OSError:
            return False
