"""Whether the buckets that s3.yaml names keep what a repository rests on."""

from __future__ import annotations

from dataclasses import replace

from engines.doctor.checks import Outcome
from engines.job.errors import Failed, Refused

PATIENCE = 5.0  # s that a server which does not answer holds up the examination


def buckets() -> Outcome:
    """Every bucket with an access is tried; the first that is unfit is named."""
    from engines.backup.store import accesses
    from engines.backup.store.s3 import access

    path = access.access_file()
    try:
        names = accesses.places(path)
        wrong = [said for name in names if (said := _unfit(name))]
    except FileNotFoundError:
        return Outcome(True, f"none in use: there is no {path}")
    except ImportError:
        return Outcome(False, "obstore is not installed", "pip install 'crashcart[s3]'")
    except Refused as refused:
        return Outcome(False, refused.why, refused.what_helps)
    if wrong:
        return Outcome(False, *wrong[0])
    return Outcome(True, f"fit for a repository: {', '.join(names)}" if names else f"none in {path}")


def _unfit(name: str) -> tuple[str, str] | None:
    """What is wrong with one, and what mends it."""
    import obstore  # noqa: F401  a missing one is said first

    from engines.backup.store.s3 import access, fitness
    from engines.backup.store.s3.bucket import Bucket

    try:
        address = access.parse(f"{access.SCHEME}{name}")
        opens = access.load(address)
        fitness.demand(Bucket(address, replace(opens, patience=min(opens.patience, PATIENCE))))
    except (Refused, Failed) as error:
        return error.why, f"{error.what_helps}; try a key of one folder by: crashcart backup fitness s3://{name}/FOLDER"
    return None
