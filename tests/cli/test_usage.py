"""Errors and help of a command line, whatever argparse's age."""

from __future__ import annotations

import pytest

from engines.cli.usage import BadUsage, Parser, fitted


@pytest.mark.parametrize("known", ["'info', 'warning'", "info, warning"])
def test_a_choice_is_told_with_and_without_quotes(known: str) -> None:
    with pytest.raises(BadUsage, match=r"--level is 'inf', allowed is one of info, warning"):
        Parser(prog="x").error(f"argument --level: invalid choice: 'inf' (choose from {known})")


def test_a_line_of_blanks_alone_is_left() -> None:
    assert fitted(" " * 90) == " " * 90
