"""The accelerator is found by trying it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.boot import accel
from engines.boot.accel import Accelerator
from engines.boot.witness import witness
from engines.job.errors import Refused
from tests.engines.boot.sectors import (
    ROOT,
    SERIAL,
    hardware,
)

pytestmark = pytest.mark.boot


def test_the_trial_is_its_source_assembled(tmp_path: Path) -> None:
    made = tmp_path / "trial.bin"
    subprocess.run(["nasm", "-f", "bin", "-o", made, ROOT / "engines/boot/trial.asm"], check=True)
    assert made.read_bytes() == accel.TRIAL.ljust(510, b"\0") + b"\x55\xaa"


def test_the_trial_ends_with_its_own_status_where_the_processor_works(tmp_path: Path) -> None:
    disk = tmp_path / "trial.img"
    disk.write_bytes(accel.TRIAL.ljust(510, b"\0") + b"\x55\xaa")
    command = accel._command(accel.located("qemu-system-x86_64"), disk)
    command[command.index("kvm")] = "tcg"
    assert subprocess.run(command, timeout=120, check=False, stdin=subprocess.DEVNULL).returncode == accel.DONE


def test_without_dev_kvm_the_accelerator_is_tcg_and_says_why(tmp_path: Path) -> None:
    verdict = accel.tried(kvm=tmp_path / "kvm")
    assert verdict.name == "tcg"
    assert f"{tmp_path / 'kvm'} does not exist" in verdict.why


def test_a_qemu_that_aborts_under_kvm_means_tcg_with_its_message_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    aborting = tmp_path / "qemu"
    aborting.write_text(
        "#!/bin/sh\necho ran >> \"$0.runs\"\necho 'error: failed to set MSR 0x48f' >&2\nkill -ABRT $$\n"
    )
    aborting.chmod(0o755)
    opens = Path("/dev/null")
    verdict = accel.tried(str(aborting), kvm=opens)
    assert verdict == Accelerator(
        "tcg", "/dev/null opens, but QEMU ended with status -6: error: failed to set MSR 0x48f"
    )
    assert accel.tried(str(aborting), kvm=opens) == verdict
    assert Path(f"{aborting}.runs").read_text() == "ran\n"
    accel.tried(str(aborting), kvm=opens, again=True)
    aborting.write_text(aborting.read_text().replace("0x48f", "0x4ff"))
    assert "0x4ff" in accel.tried(str(aborting), kvm=opens).why
    assert Path(f"{aborting}.runs").read_text() == "ran\nran\nran\n"


def test_a_verdict_of_another_boot_or_a_torn_memory_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    silent = Path(shutil.which("false") or "").resolve()
    kept = tmp_path / "crashcart" / "accelerator.json"
    kept.parent.mkdir()
    known = silent.stat()
    old = {f"another-boot {silent} {known.st_mtime_ns} {known.st_size}": {"name": "kvm", "why": "then"}}
    for content in (json.dumps(old), "{torn", ""):
        kept.write_text(content)
        verdict = accel.tried("false", kvm=Path("/dev/null"))
        assert verdict.name == "tcg"
        assert "status 1: no message" in verdict.why
        assert len(json.loads(kept.read_text())) == 1


def test_the_accelerator_found_here_really_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot_sector: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    verdict = accel.tried()
    assert accel.working() == verdict.name
    assert witness(hardware(boot_sector(SERIAL)), "red alert").ok


def test_a_missing_qemu_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(Refused, match="apt-get install qemu-system-x86"):
        accel.tried("qemu-system-nowhere")
