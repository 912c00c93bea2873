from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.boot.sectors import HEAD


@pytest.fixture
def boot_sector(tmp_path: Path) -> Callable[[str], Path]:
    def assembled(code: str) -> Path:
        source, image = tmp_path / "sector.asm", tmp_path / "a, b:c.img"
        source.write_text(f"{HEAD}{code}\n    times 510 - ($ - $$) db 0\n    dw 0AA55h\n    times 2 << 20 db 0\n")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True, stdin=subprocess.DEVNULL)
        return image

    return assembled
