"""The requests that a repository makes of a bucket, each tried again while that can help, every refusal in words."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engines.backup.errors import FarFailed
from engines.backup.store.s3 import listing, taken, trouble
from engines.backup.store.s3.access import BucketAccess, BucketAddress
from engines.backup.store.s3.again import Tries
from engines.backup.store.s3.allowance import Allowance
from engines.backup.store.s3.client import ANSWERS_WITHIN, LONGEST_PAUSE, client
from engines.backup.store.s3.taken import LONGEST
from engines.backup.store.s3.upload import AT_ONCE, PART, Upload
from engines.backup.store.store import Bytes

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

T = TypeVar("T")
UNDER_WAY = 24 * 1024 * 1024  # bytes asked for at one time: 100 s over 2 Mbit/s
MOST_NAMES = 1_000_000  # in one folder, as over sftp
TRUSTED = 5.0  # s that it is taken for an S3 server without being asked for more than a listing
ASIDE = "temporary"  # where what has no final name yet is put


@dataclass(frozen=True)
class Known:
    """What is known of an object: bytes, Unix time of its writing by the bucket's clock, and its content's tag."""

    size: int
    modified: float
    tag: str


class Bucket:
    """Objects below an address. Raises FileNotFoundError, else FarFailed."""

    def __init__(self, address: BucketAddress, access: BucketAccess) -> None:
        self.address = address
        self.access = access
        self._allowance = Allowance(UNDER_WAY)
        self._steady = client(address, access, tries=1000)
        self._heard = -math.inf  # when something was said that only an S3 server says

    @property
    def _once(self) -> Client:
        """For what must not be tried again unseen."""
        return client(self.address, self.access, tries=0)

    def asked(self, request: Callable[[], T], name: str = "") -> T:
        """The answer to a request that may be made twice, or what its refusal means.

        obstore does not make every one again whose answer broke off, nor a deletion whose line did.
        """
        from obstore.exceptions import BaseError

        tries = self._tries()
        while True:
            try:
                return request()
            except FileNotFoundError as error:
                raise self._missing(error, name) from None
            except (BaseError, OSError) as error:
                if tries.over() or not trouble.broken(error):
                    raise trouble.explained(error, self.address, self.access) from None
            tries.wait()

    def _tries(self) -> Tries:
        return Tries(self.access.patience)

    def _missing(self, error: OSError, name: str) -> OSError:
        if trouble.code_of(error) in trouble.NOWHERE:
            return trouble.explained(error, self.address, self.access)
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    def read(self, name: str, offset: int, length: int) -> bytes:
        """As in Store; `length` is not -1."""
        return bytes(self.view(name, offset, length))

    def view(self, name: str, offset: int, length: int) -> memoryview:
        """The same without a copy."""
        from obstore.exceptions import BaseError

        def request() -> memoryview:
            try:
                return taken.part(self._steady, name, offset, length)
            except BaseError as error:
                if trouble.past_the_end(error):
                    return memoryview(b"")
                if trouble.denied_in_words(error):
                    self._heard = time.monotonic()
                raise

        if not length:
            return self._nothing(name)
        with self._allowance.of(length):
            found = self.asked(request, name)
        if len(found) > length:
            raise OSError(
                errno.EPROTO, f"more than the {length} bytes that were asked for, as of a broken server", name
            )
        self._heard = time.monotonic()
        return found

    def _nothing(self, name: str) -> memoryview:
        self.head(name)
        return memoryview(b"")

    def whole(self, name: str) -> bytes:
        """All of it; what is read so is small, and a server that gives no end is given up."""
        found = self.asked(lambda: taken.whole(self._steady, name), name)
        if len(found) > LONGEST:
            raise OSError(errno.EPROTO, f"more than {LONGEST >> 20} MiB, as of a server that gives no end", name)
        return bytes(found)

    def head(self, name: str) -> Known:
        """What is known of it."""
        import obstore
        from obstore.exceptions import BaseError

        def request() -> Any:
            try:
                return obstore.head(self._steady, name)
            except (BaseError, OSError) as error:
                raise self._spoken(error, name) from None

        found = self.asked(request, name)
        if not found["e_tag"]:
            raise trouble.explained(OSError("ETag Header missing"), self.address, self.access)
        return Known(found["size"], found["last_modified"].timestamp(), found["e_tag"] or "")

    def _spoken(self, error: Exception, name: str) -> Exception:
        """The refusal of a HEAD, which has no words, as that of a GET of the same."""
        from obstore.exceptions import BaseError

        if isinstance(error, FileNotFoundError) or trouble.silent(error):
            try:
                taken.part(self._once, name, 0, 1)
            except (BaseError, OSError) as told:
                return told
        return error

    def listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Names below a folder, with their sizes, page by page; each once."""
        seen, before = 0, dict[str, int]()
        pages = listing.pages(
            self._steady, folder, self._tries, ANSWERS_WITHIN + self.access.patience + 2 * LONGEST_PAUSE
        )
        while page := self._page(pages, folder):
            self._heard = time.monotonic()
            seen += len(page)
            if page.keys() <= before.keys():
                raise OSError(errno.EPROTO, "the same names again, as of a server that gives no end", folder)
            if seen > MOST_NAMES:
                raise OSError(errno.EPROTO, f"more than {MOST_NAMES} names, as of a server that gives no end", folder)
            yield from page.items()
            before = page
        if not seen:
            self._demand_s3()

    def _page(self, pages: Iterator[dict[str, int]], folder: str) -> dict[str, int]:
        from obstore.exceptions import BaseError

        try:
            return next(pages, {})
        except TimeoutError:
            why = f"not one name in {ANSWERS_WITHIN + self.access.patience:.0f} s, as of a server that gives no end"
            raise OSError(errno.EPROTO, why, folder) from None
        except FileNotFoundError as error:
            raise self._missing(error, folder) from None
        except (BaseError, OSError) as error:
            raise trouble.explained(error, self.address, self.access) from None

    def _demand_s3(self) -> None:
        """Whoever answers speaks S3: any page of a proxy would pass for an empty listing. Raises FarFailed.

        A key that may list some names alone is told that no other name is its own, and by S3.
        """
        if (began := time.monotonic()) - self._heard > TRUSTED:
            try:
                self.view(f"{ASIDE}/none", 0, 1)
            except FileNotFoundError:
                pass
            except FarFailed:
                if self._heard < began:
                    raise
            self._heard = time.monotonic()

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────

    def put(self, name: str, content: Bytes | Path) -> None:
        """Write it, whole or not at all; a long one in parts."""
        import obstore

        if isinstance(content, Path) and content.stat().st_size <= 2 * PART:
            content = content.read_bytes()
        long = isinstance(content, Path) or len(content) > 2 * PART

        def sent() -> None:
            obstore.put(self._steady, name, content, use_multipart=long, chunk_size=PART, max_concurrency=AT_ONCE)

        def request() -> None:
            try:
                sent()
            except FileNotFoundError as error:
                if trouble.code_of(error) != "NoSuchUpload":
                    raise
                sent()  # it was completed by a try whose answer was lost, or it was aborted

        self.asked(request, name)

    def create(self, name: str, content: bytes) -> None:
        """Write it unless there is one. Raises FileExistsError.

        After a try whose answer was lost, what is there counts as ours where it is the same.
        """
        self._conditional(name, content, "create")

    def swap(self, name: str, content: bytes, tag: str) -> None:
        """Write it while it still is what `tag` names. Raises FileExistsError where it has changed."""
        self._conditional(name, content, {"e_tag": tag})

    def _conditional(self, name: str, content: bytes, mode: Any) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        lost, tries = False, self._tries()
        while True:
            try:
                obstore.put(self._once, name, content, mode=mode, use_multipart=False)
                return
            except (AlreadyExistsError, PreconditionError) as error:
                if "409" not in str(error).partition("\n")[0] or self._there(name):
                    if lost and self.whole(name) == content:
                        return  # written by the try whose answer was lost
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
            except (BaseError, OSError) as error:
                if tries.over() or not trouble.transient(error):
                    raise trouble.explained(error, self.address, self.access) from None
                lost = True
            tries.wait()

    def _there(self, name: str) -> bool:
        try:
            self.head(name)
        except FileNotFoundError:
            return False
        return True

    def upload(self, name: str) -> Upload:
        """Begin an object that is seen once it is complete."""
        return Upload(self._steady, name, self.address, self.access, lambda: self.head(name).size)

    def copy(self, name: str, to: str) -> None:
        """Copy within the bucket; replaces `to`."""
        import obstore

        self.asked(lambda: obstore.copy(self._steady, name, to), name)

    def delete(self, name: str) -> None:
        """Remove it; nothing where it is not there."""
        import obstore

        self.asked(lambda: obstore.delete(self._steady, name), name)
