"""Two themes: the terminal's own 16 colours, and a darker suit for terminals with more."""

from __future__ import annotations

from textual.theme import Theme

SIXTEEN = Theme(
    name="crashcart-16",
    ansi=True,
    dark=True,
    primary="ansi_cyan",  # dark blue, the stock choice, cannot be read on a black console
    secondary="ansi_cyan",
    accent="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_white",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
        "field-background": "ansi_default",
        "quiet": "ansi_default",
    },
)

FULL = Theme(
    name="crashcart",
    dark=True,
    primary="#5fd7d7",
    secondary="#87afd7",
    accent="#ffaf5f",
    warning="#ffd75f",
    error="#ff8787",
    success="#87d787",
    foreground="#e4e4e4",
    background="#16191d",
    surface="#16191d",
    panel="#21262c",
    variables={"field-background": "#2a3038", "quiet": "#a8b0b8"},
)
