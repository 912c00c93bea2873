"""A recovery sheet on the screen: read, copied by `y`, and how to have it on paper."""

from __future__ import annotations

import shlex

from typing_extensions import override

from engines.backup.commands.key_looks import Paper, paper, sheet
from tui.browse.access import Access
from tui.browse.repositories import Repositories
from tui.widgets.reading import Text


class Papers(Repositories):
    """Which repository's sheet; no key is needed to see it."""

    where = "Key on paper"

    @override
    def look(self, access: Access) -> object:
        return paper(access.task())

    @override
    def present(self, found: object) -> None:
        assert isinstance(found, Paper)
        command = f"crashcart backup key paper --repo {shlex.quote(found.repo)} | lpr"
        self.app.push_screen(Text(f"Key on paper | {found.repo}", lambda: sheet(found), f"To print it: {command}"))
