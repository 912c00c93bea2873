"""Themes: the terminal's own 16 colours, and a suit for terminals with more; each on dark and on light."""

from __future__ import annotations

from textual.theme import Theme


def _sixteen(name: str, *, dark: bool, primary: str, warning: str) -> Theme:
    """`primary` and `warning` are what can be read there: blue cannot on black, nor cyan and yellow on white."""
    front, back = ("white", "black") if dark else ("black", "white")
    return Theme(
        name=name,
        ansi=True,
        dark=dark,
        primary=primary,
        secondary=primary,
        accent=primary,
        warning=warning,
        error="ansi_red",
        success="ansi_green",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            "ansi-background": f"ansi_{back}",
            "ansi-foreground": f"ansi_{front}",
            "border-blurred": f"ansi_{front}",
            "block-cursor-foreground": f"ansi_{back}",
            "block-cursor-background": f"ansi_{front}",
            "input-cursor-background": f"ansi_{front}",
            "input-cursor-foreground": f"ansi_{back}",
            "input-selection-background": primary,
            "input-selection-foreground": f"ansi_{back}",
            "screen-selection-background": primary,
            "screen-selection-foreground": f"ansi_{back}",
            "field-background": "ansi_default",
            "quiet": "ansi_default",
        },
    )


SIXTEEN = _sixteen("crashcart-16", dark=True, primary="ansi_cyan", warning="ansi_yellow")
SIXTEEN_LIGHT = _sixteen("crashcart-16-light", dark=False, primary="ansi_blue", warning="ansi_magenta")

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

FULL_LIGHT = Theme(
    name="crashcart-light",
    dark=False,
    primary="#005f87",
    secondary="#5f5faf",
    accent="#875f00",
    warning="#875f00",
    error="#af0000",
    success="#006f00",
    foreground="#1c1c1c",
    background="#fbfbf9",
    surface="#fbfbf9",
    panel="#ebebe6",
    variables={"field-background": "#e2e4e0", "quiet": "#50565c"},
)

ALL = (SIXTEEN, SIXTEEN_LIGHT, FULL, FULL_LIGHT)


def of(colour: str, *, light: bool) -> Theme:
    """The theme for `full`, `16` or `mono` colour."""
    if colour == "full":
        return FULL_LIGHT if light else FULL
    return SIXTEEN_LIGHT if light else SIXTEEN
