"""obstore's client for a bucket, one for all of this process."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backup.store.s3.access import BucketAccess, BucketAddress, Key

if TYPE_CHECKING:
    from obstore.store import S3Credential
    from obstore.store import S3Store as Client

LONGEST_PAUSE = 10.0  # s between tries
ANSWERS_WITHIN = 180  # s for one request; 8 MiB at 50 kB/s


def client(address: BucketAddress, access: BucketAccess, *, tries: int) -> Client:
    """obstore's client; what the environment says of keys and servers does not count.

    One for all of this process: each reads every certificate of this machine anew, and has lines of its own.
    """
    return _client(address, access, tries, Path(access.ca_file).read_bytes() if access.ca_file else b"")


@cache
def _client(address: BucketAddress, access: BucketAccess, tries: int, roots: bytes) -> Client:
    from obstore.store import S3Store as Client

    config: dict[str, Any] = {
        "region": access.region,
        "virtual_hosted_style_request": not access.path_style,
        "unsigned_payload": not access.checksum,
        "conditional_put": "etag",
        "disable_bulk_delete": True,
        "skip_signature": False,
        "aws_endpoint": access.asked(address.bucket),
    }
    if access.checksum:
        config["checksum_algorithm"] = "SHA256"
    options: dict[str, Any] = {
        "allow_http": access.plain,
        "timeout": timedelta(seconds=ANSWERS_WITHIN),
        "connect_timeout": timedelta(seconds=5),
    }
    if roots:
        options["root_certificate"] = roots
    return Client(
        address.bucket,
        prefix=address.prefix or None,
        config=config,  # type: ignore[arg-type]  # a plain dict
        client_options=options,  # type: ignore[arg-type]  # a plain dict
        retry_config={
            "max_retries": tries,
            "retry_timeout": timedelta(seconds=access.patience),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1),
                "max_backoff": timedelta(seconds=LONGEST_PAUSE),
                "base": 2,
            },
        },
        credential_provider=lambda: _credential(access.key),
    )


def _credential(key: Key) -> S3Credential:
    return {
        "access_key_id": key.id,
        "secret_access_key": key.secret.reveal(),
        "token": key.token.reveal() if key.token else None,
        "expires_at": None,
    }
