"""What a bucket keeps of every object: its versions, its delete markers, its locks; asked for by few verbs only."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from engines.backup.errors import FarFailed
from engines.backup.store.s3 import access as accesses
from engines.backup.store.s3 import trouble
from engines.backup.store.s3.access import BucketAccess, BucketAddress, Key
from engines.job.errors import Refused

READ = 8 * 1024 * 1024
PAGE = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+)?html\b", re.IGNORECASE)


@dataclass(frozen=True)
class ObjectVersion:
    """One version of a name below the repository, or a marker that it was deleted. `at`: Unix time, by the bucket."""

    name: str
    id: str
    at: float
    tag: str = ""
    size: int = 0
    marker: bool = False
    latest: bool = False


class ObjectVersions:
    """The versions below an address. Raises Refused, FarFailed."""

    def __init__(self, where: str, *, lock: bool = False) -> None:
        if not where.startswith(accesses.SCHEME):
            raise Refused(
                f"{where} is no bucket: it keeps no versions of what is overwritten or deleted",
                "protect a folder or an sftp server by its own means: snapshots of its file system, chattr +a, or an"
                " account that may add but not change",
            )
        self.address = accesses.parse(where)
        self.access = accesses.load(self.address)
        key = self.access.key
        if lock and self.access.lock_key_file:
            key = accesses.read_key(Path(self.access.lock_key_file))
        self._client = _client(self.access, key)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            yield
        except ClientError as error:
            found = error.response
            code, status = found["Error"].get("Code", ""), found["ResponseMetadata"].get("HTTPStatusCode", "")
            said = f"status code: {status} <Message>{found['Error'].get('Message', '')}</Message>"
            said += "" if code.isdecimal() else f"<Code>{code}</Code>"  # of an answer without one, the status again
            raise trouble.explained(OSError(said), self.address, self.access) from None
        except BotoCoreError as error:
            why = f"{error} {error.kwargs.get('error', '')!r}"
            raise trouble.explained(OSError(why), self.address, self.access) from None
        except ResponseParserError:  # cut, or no XML at all
            raise trouble.explained(OSError("invalid response"), self.address, self.access) from None
        except RecursionError:  # it follows whoever sends it back and forth
            raise trouble.explained(OSError("following redirect"), self.address, self.access) from None

    def _key(self, name: str) -> str:
        return f"{self.address.prefix}/{name}" if self.address.prefix else name

    def kept(self) -> bool:
        """Whether the bucket keeps versions."""
        with self._asking():
            found = self._client.get_bucket_versioning(Bucket=self.address.bucket)
        return bool(found.get("Status") == "Enabled")

    def locks(self) -> bool:
        """Whether objects of the bucket can be locked."""
        try:
            with self._asking():
                found = self._client.get_object_lock_configuration(Bucket=self.address.bucket)
        except FarFailed as failed:
            if "NotFound" in failed.why or "404" in failed.why:
                return False
            raise
        return bool(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

    def demand(self) -> None:
        """Raises Refused where the bucket keeps no versions."""
        if not self.kept():
            raise Refused(
                f"bucket {self.address.bucket} keeps no versions: what was overwritten or deleted left no trace",
                "switch versioning on (it counts from then on), or make a bucket with Object Lock",
            )

    def every(self) -> dict[str, list[ObjectVersion]]:
        """All versions and markers by name, oldest first."""
        found: dict[str, list[ObjectVersion]] = {}
        pages = self._client.get_paginator("list_object_versions")
        start = f"{self.address.prefix}/" if self.address.prefix else ""
        with self._asking():
            for page in pages.paginate(Bucket=self.address.bucket, Prefix=start):
                if not page.keys() & {"Name", "IsTruncated"}:
                    raise trouble.explained(OSError("invalid response"), self.address, self.access)
                for marker in (False, True):
                    for one in page.get("DeleteMarkers" if marker else "Versions", ()):
                        version = _version(one, len(start), marker=marker)
                        found.setdefault(version.name, []).append(version)
        return {name: in_order(versions) for name, versions in found.items()}

    def read(self, version: ObjectVersion) -> Iterator[bytes]:
        """The content of a version, piece by piece."""
        with self._asking():
            found = self._client.get_object(
                Bucket=self.address.bucket, Key=self._key(version.name), VersionId=version.id
            )
            yield from found["Body"].iter_chunks(READ)

    def locked_until(self, name: str) -> float:
        """Unix time until which the newest version cannot be deleted; 0 where it can."""
        with self._asking():
            found = self._client.head_object(Bucket=self.address.bucket, Key=self._key(name))
        until: datetime | None = found.get("ObjectLockRetainUntilDate")
        return until.timestamp() if until else 0.0

    def is_locked(self, version: ObjectVersion) -> bool:
        """Whether it cannot be deleted, or could not for a time."""
        with self._asking():
            found = self._client.head_object(
                Bucket=self.address.bucket, Key=self._key(version.name), VersionId=version.id
            )
        return "ObjectLockRetainUntilDate" in found

    def lock(self, name: str, until: datetime, mode: str) -> None:
        """Have the newest version not deleted before that time."""
        with self._asking():
            self._client.put_object_retention(
                Bucket=self.address.bucket, Key=self._key(name), Retention={"Mode": mode, "RetainUntilDate": until}
            )

    def delete_for_good(self, name: str) -> None:
        """Delete the newest version itself, not by a marker."""
        with self._asking():
            key = self._key(name)
            found = self._client.head_object(Bucket=self.address.bucket, Key=key)
            if "VersionId" not in found:
                raise FarFailed(errno.ENOENT, f"{name} has no version", "switch versioning on")
            self._client.delete_object(Bucket=self.address.bucket, Key=key, VersionId=found["VersionId"])

    def demand_locks(self) -> None:
        """Raises Refused where objects cannot be locked, or are all locked by a default of the bucket."""
        if not self.locks():
            raise Refused(
                f"bucket {self.address.bucket} has no Object Lock",
                "it is switched on when a bucket is made: make one",
            )
        with self._asking():
            found = self._client.get_object_lock_configuration(Bucket=self.address.bucket)
        if found["ObjectLockConfiguration"].get("Rule"):
            raise Refused(
                f"bucket {self.address.bucket} locks whatever is written, by a default of its own: leases, sessions and"
                " points that go tomorrow would stay, too",
                "take the default retention out; what must stay is locked by crashcart backup lock",
            )


def in_order(versions: list[ObjectVersion]) -> list[ObjectVersion]:
    """Oldest first. A listing tells seconds: within one, what is there is deleted before it is written anew."""
    found: list[ObjectVersion] = []
    for _, together in groupby(sorted(versions, key=lambda version: version.at), key=lambda version: version.at):
        waiting = list(together)
        while waiting:
            there = bool(found) and not found[-1].marker
            fits = [version for version in waiting if version.marker == there]
            chosen = min(fits or waiting, key=lambda version: version.latest)
            waiting.remove(chosen)
            found.append(chosen)
    return found


def _version(one: dict[str, Any], start: int, *, marker: bool) -> ObjectVersion:
    return ObjectVersion(
        name=str(one["Key"])[start:],
        id=str(one["VersionId"]),
        at=one["LastModified"].timestamp(),
        tag=str(one.get("ETag", "")),
        size=int(one.get("Size", 0)),
        marker=marker,
        latest=bool(one.get("IsLatest")),
    )


def _client(access: BucketAccess, key: Key) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise Refused("boto3 is not installed", "pip install 'crashcart[s3-lock]'") from None
    style = "path" if access.path_style else "virtual"
    config = Config(
        retries={"total_max_attempts": 6, "mode": "standard"}, s3={"addressing_style": style}, max_pool_connections=16
    )
    made = boto3.client(
        "s3",
        endpoint_url=access.endpoint or None,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret.reveal(),
        aws_session_token=key.token.reveal() if key.token else None,
        region_name=access.region,
        verify=access.ca_file or None,
        config=config,
    )
    made.meta.events.register("before-parse.s3", _demand_xml)
    return made


def _demand_xml(response_dict: dict[str, Any], **_: Any) -> None:
    """A page of a proxy would be taken for a bucket that keeps nothing. Raises ResponseParserError."""
    from botocore.parsers import ResponseParserError

    body = response_dict["body"]
    if response_dict["status_code"] < 300 and isinstance(body, bytes) and PAGE.match(body):
        raise ResponseParserError("a page for people")


def policy(address: BucketAddress) -> dict[str, Any]:
    """What a writer's key needs, in the words of a bucket policy: not to delete versions, not to change locks."""
    bucket = f"arn:aws:s3:::{address.bucket}"
    inside = f"{bucket}/{address.prefix}/*" if address.prefix else f"{bucket}/*"
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": bucket},
            {"Effect": "Allow", "Action": objects, "Resource": inside},
            {
                "Effect": "Deny",
                "Action": ["s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:BypassGovernanceRetention"],
                "Resource": inside,
            },
        ],
    }
