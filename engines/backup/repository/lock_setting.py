"""For how long a repository's points are locked in their bucket, and which: a file beside its config.json."""

from __future__ import annotations

from typing import Literal

import msgspec

from engines.backup.errors import Damaged
from engines.backup.store.store import Store

NAME = "lock.json"
LONGEST = 4096  # bytes
Mode = Literal["GOVERNANCE", "COMPLIANCE"]


class LockSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """days: from each night on. keep_…: which points; without a rule all of them."""

    days: int
    mode: Mode = "GOVERNANCE"
    keep_last: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0


def load(store: Store) -> LockSetting | None:
    """None where nothing is set. Raises Damaged."""
    try:
        return msgspec.json.decode(store.read(NAME, 0, LONGEST), type=LockSetting)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Damaged(
            NAME,
            str(error),
            "set it anew: crashcart backup lock REPO --remember --days 30 --mode GOVERNANCE (or COMPLIANCE, as it was)",
        ) from None


def put(store: Store, setting: LockSetting) -> None:
    """Set it."""
    store.put(NAME, msgspec.json.encode(setting))
