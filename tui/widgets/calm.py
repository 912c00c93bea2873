"""Screens that draw no more than what changed: on a serial line a whole screen is half a second."""

from __future__ import annotations

from typing import TypeVar

from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

T = TypeVar("T")


class LeanScreen(Screen[T]):
    """The focus moves without drawing the whole screen, and a screen that is covered draws nothing."""

    DEFAULT_CSS = """
    LeanScreen:ansi.-screen-suspended { text-style: none; }
    """
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    @property
    def is_current(self) -> bool:
        return self.is_active


class CalmModal(ModalScreen[T]):
    """The same for a question."""

    DEFAULT_CSS = """
    CalmModal, CalmModal:ansi { background: $background; }
    """
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    @property
    def is_current(self) -> bool:
        return self.is_active
