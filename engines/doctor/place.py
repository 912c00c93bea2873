"""Whether a repository's place can be used, and what it lacks that is done another way."""

from __future__ import annotations

from contextlib import closing

from engines.doctor.checks import Outcome
from engines.job.errors import CrashcartError, Failed, Refused


def place(where: str) -> Outcome:
    """A repository, or a bucket that is to hold one. Anything tried there is removed again."""
    from engines.backup.repository.repository import RepoParams
    from engines.backup.repository.repository import where as address
    from engines.backup.store.opening import open_store

    try:
        with closing(open_store(address(RepoParams(repo=where)))) as store:
            if store.where.startswith("s3://"):
                store.begin(())  # tries all that a bucket must keep, and makes nothing
            elif not any(True for _ in store.names(".")):
                return Outcome(
                    False, "there is no repository, so that nothing is tried", f"crashcart backup init {where}"
                )
            lacks = store.lacks()
    except (Refused, Failed) as error:
        return Outcome(False, error.why, error.what_helps)
    except OSError as error:
        return Outcome(False, f"nothing can be written there: {error.strerror}", "run it as its owner, or mount it rw")
    except CrashcartError as error:
        return Outcome(False, str(error), "name FOLDER, sftp://USER@HOST/FOLDER or s3://BUCKET/PREFIX")
    if not lacks:
        return Outcome(True, "has all that a repository uses")
    return Outcome(True, "will do; it has no " + "; no ".join(lacks))
