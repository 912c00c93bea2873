"""Help about the page that is on show, then what holds on every page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from textual.binding import Binding
from textual.screen import Screen

from engines.job.params import Field
from tui.fault import needed
from tui.frame import Frame
from tui.pages.form import FormPage
from tui.pages.page import Page
from tui.widgets.keys import spelled

EVERYWHERE = """\
The same keys work on every page, and a mouse is never needed.
{}
On every page

  Enter        next field; on the last one, next page. It starts nothing.
  Up, Down     move; Space picks or changes; Tab completes a name
  ^f, ^r       choose from what is known; the value of an earlier run
  ^n           next page; on the review: start
  Esc or ^o    back; nothing typed is lost, nothing is touched
  ^x           stop a run, or stop looking
  ^c           quit; a run goes on without the screen
  ^t           plain or rich screen, remembered for this terminal
  ^l           draw the screen anew
  ^p           jump to a task, the history or the last report; light or dark

In a list of tasks: a digit opens its row, letters go to the row that has them.

In a text (report, plan, log, help, file)
  / n N        find; the next place; the one before
  g G b        first line; last line; a screenful back (Space: on)
  Left, Right  the rest of a long line
  y            copy it to the terminal's clipboard

In a restore point
  Enter        open a folder, look at a file; Left or Esc: out of it again
  Space, *     mark one, mark all on show; marks stay across folders
  / and f      narrow this folder; find a name anywhere in the point
  g            go to a path that you type
  r            restore what is marked: to a folder, a tar, a stopped guest

[x] is done, [>] is where you are, [ ] is to come, ! is a warning.

A run is a process of its own: a closed laptop, a dropped line or a killed
screen does not touch it. crashcart attach RUN shows it again.
"""


def about(screen: Screen[Any]) -> str:
    """Words about one screen, as it is now."""
    return EVERYWHERE.format("\n".join(_here(screen)))


def _here(screen: Screen[Any]) -> Iterator[str]:
    page = screen.page if isinstance(screen, Frame) else None
    yield ""
    yield f"This page: {page.heading}" if page else "This page"
    yield ""
    if page:
        yield from _page(page)
    for keys, words in _keys(screen):
        yield f"  {keys:<12} {words}"
    yield ""


def _page(page: Page) -> Iterator[str]:
    if page.about:
        yield f"  {page.about}"
        yield ""
    if isinstance(page, FormPage):
        yield from (line for entry in page.entries.values() for line in _field(entry.field))
        yield ""


def _field(field: Field) -> Iterator[str]:
    yield f"  {field.label}: {field.why}"
    if field.shape not in ("flag", "secret"):
        yield f"      takes {needed(field)}" + ("" if field.required else "; may stay as it is")


def _keys(screen: Screen[Any]) -> list[tuple[str, str]]:
    """The keys that do something here, by what they do; those that text fields have anyhow are left out."""
    found: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and binding.description and binding.action in _own(active.node):
            found.setdefault(binding.description, []).append(spelled(binding.key))
    return [(" or ".join(dict.fromkeys(keys)), words) for words, keys in found.items()]


def _own(node: object) -> set[str]:
    """The actions that the suite itself bound, of a widget and its screen."""
    declared = [
        binding
        for kind in type(node).__mro__
        if kind.__module__.startswith(("tui.", "wizards."))
        for binding in kind.__dict__.get("BINDINGS", ())
    ]
    return {binding.action for binding in declared if isinstance(binding, Binding)}
