"""The tasks that the suite offers, in the order of the home screen."""

from __future__ import annotations

from wizards.biosiso import BUILD, INSERT

WIZARDS = (BUILD, INSERT)
