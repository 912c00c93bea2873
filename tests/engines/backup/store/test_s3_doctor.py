"""The doctor tries every bucket that s3.yaml names, and says which is unfit and why."""

from __future__ import annotations

import socket

from engines.backup.store.s3 import access
from engines.doctor.buckets import buckets
from tests.engines.backup.store.weed import Weed


def test_without_buckets_nothing_is_wrong() -> None:
    assert buckets().works and "none in use" in buckets().says


def test_a_bucket_is_tried_and_one_that_does_not_answer_is_named(weed: Weed, bucket: str) -> None:
    assert buckets().works and bucket in buckets().says
    with socket.socket() as ours:  # and nobody listens there
        ours.bind(("127.0.0.1", 0))
        weed.allow("missing", endpoint=f"http://127.0.0.1:{ours.getsockname()[1]}", patience=1)
        found = buckets()
    assert not found.works and "bucket missing" in found.says and "was not reached" in found.says and found.mend


def test_what_is_written_down_wrong_is_told(weed: Weed, bucket: str) -> None:
    weed.allow(bucket, colour="red")
    assert not buckets().works and "not understood" in buckets().says
    for wrong in ("{", "- a list"):
        access.access_file().write_text(wrong)
        assert not buckets().works and "s3.yaml" in buckets().says
