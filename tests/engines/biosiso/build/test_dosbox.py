"""A DOS runs the disc's batch: DOSBox, an independent one, with a flasher that prints what it was given."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from engines.biosiso.build.boottest import sums
from engines.biosiso.media.bootprobe import assemble
from engines.biosiso.media.making import Detail
from engines.job.contract import Finished
from tests.engines.biosiso.packages import KIT, built, params

WITHIN = 120.0  # s; 3 on an idle machine


def in_dosbox(iso: Path, folder: Path, *lines: str) -> str:
    """What commands on the disc print on COM1, a null modem to a socket of ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(WITHIN)
        heard: list[bytes] = []

        def hear() -> None:
            peer, _ = server.accept()
            with peer:
                while part := peer.recv(4096):
                    heard.append(part)

        listener = threading.Thread(target=hear, daemon=True)
        listener.start()
        commands = [f'imgmount d "{iso}" -t iso', "d:", *lines, "exit"]
        config = folder / "dosbox.conf"
        config.write_text(
            f"[serial]\nserial1=nullmodem server:127.0.0.1 port:{port} transparent:1\n[cpu]\ncycles=max\n"
            "[autoexec]\n" + "\n".join(commands) + "\n"
        )
        environment = {**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "HOME": str(folder)}
        subprocess.run(
            ["dosbox", "-conf", config, "-noconsole"], env=environment, capture_output=True, timeout=WITHIN, check=False
        )
        listener.join(WITHIN)
    return b"".join(heard).decode("latin-1")


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Detail]:
    import msgspec

    folder = tmp_path_factory.mktemp("dosbox")
    stand_in = assemble(folder / "probe").flasher.read_bytes()
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    run, last = built(params(folder, KIT | {"AFUDOSU.SMC": stand_in}))
    assert isinstance(last, Finished)
    plan = run.plan()
    assert plan is not None
    return folder / "out" / "bios.iso", msgspec.convert(plan.detail, Detail)


def test_ami2_hands_rom_and_switches_to_the_flasher_which_reads_the_rom_whole(
    disc: tuple[Path, Detail], tmp_path: Path
) -> None:
    said = in_dosbox(disc[0], tmp_path, "call ami2.bat x9scm2.608")
    size, total = sums(disc[1].entry("X9SCM2.608"))
    assert "AFUSTUB ARGS=[ x9scm2.608 /FDT /MER /OPR]" in said
    assert f"SIZE={size:08X} SUM={total:08X}" in said


def test_autorun_flashes_nothing(disc: tuple[Path, Detail], tmp_path: Path) -> None:
    said = in_dosbox(disc[0], tmp_path, "call autorun.bat", "afudosu.exe autorun.bat")
    assert said.count("AFUSTUB") == 1
    assert "ARGS=[ autorun.bat]" in said


def test_the_vendors_own_batch_cannot_rename_on_a_cd_and_finds_the_flasher_all_the_same(
    disc: tuple[Path, Detail], tmp_path: Path
) -> None:
    """AFUDOSU.EXE is on the disc too, so that even AMI.BAT flashes there: its REN fails and its call works."""
    said = in_dosbox(disc[0], tmp_path, "call ami.bat x9scm2.608")
    assert "AFUSTUB ARGS=[ x9scm2.608 /P /B /N /K /R /FDT /MER /OPR]" in said
