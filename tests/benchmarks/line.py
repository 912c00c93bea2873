"""Bytes that the suite sends down a serial line (vt100, 80x24), by what was done: counted, alike everywhere."""

from __future__ import annotations

import tempfile

from tests.tui.serial import Serial
from tests.tui.test_bytes import VT100, Meter, walked


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="crashcart-bench-") as state,
        Serial({**VT100, "XDG_STATE_HOME": state}, module="tui") as serial,
    ):
        costs = walked(Meter(serial))
    for name, (sent, most) in costs.items():
        print(f"{name:14} {sent:5} bytes (mark {most})")
    return 0 if all(sent <= most for sent, most in costs.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
