"""Every test gets a state, cache and config folder of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Two halves of the suite share two cores: an example's wall time says nothing there.
settings.register_profile("crashcart", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crashcart")

# What is begun in the background, or by nohup, has these ignored, and all its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

os.environ["CRASHCART_KEEP_WARM"] = "0"  # no test leaves an appliance behind


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / f"xdg-{name.lower()}"))
