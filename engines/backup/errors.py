"""What can be wrong with a repository, as errors that say which file and what helps."""

from __future__ import annotations

from engines.job.errors import Failed


class Damaged(Failed):
    """A file of the repository is not what it should be; `name` is its name in the repository."""

    def __init__(self, name: str, why: str, what_helps: str = "find out what it hits: crashcart backup verify") -> None:
        super().__init__(f"{name}: {why}", what_helps)
        self.name = name


class Missing(Failed):
    """No pack holds a record that a point needs."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is in no pack", "see which points it hits: crashcart backup verify")
