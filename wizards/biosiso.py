"""A BIOS update disc: which firmware on which DOS, to where, and what the disc does when it boots."""

from __future__ import annotations

from tui.wizard import Form, Wizard

WIZARD = Wizard("biosiso", Form("Firmware", "firmware", why="The wrong file can destroy the board."))
