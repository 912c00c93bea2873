"""What a disk is allowed: the VM's own limit, then what was configured, then a measurement that is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from engines.backup.limits import speed
from engines.job.errors import Refused

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "web1, 2.img"
    path.write_bytes(os.urandom(8 * MIB))
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def configure(text: str) -> None:
    speed.figures().parent.mkdir(parents=True, exist_ok=True)
    speed.figures().write_text(text)


def never(path: str, size: int) -> tuple[float, str]:
    raise AssertionError("a figure is known, nothing needs to be measured")


def test_a_qemu_that_has_the_disk_with_a_limit_is_believed(disk: Path) -> None:
    escaped = str(disk).replace(",", ",,")
    argv = ["qemu-system-x86_64", "-machine", "pc", "-nodefaults", "-display", "none", "-S"]
    argv += ["-drive", f"file={escaped},format=raw,if=none,id=d,throttling.bps-read=70000000"]
    argv += ["-device", "virtio-blk-pci,drive=d"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as qemu:
        try:
            end = time.monotonic() + 60
            found = None
            while found is None and time.monotonic() < end and qemu.poll() is None:
                found = speed._of_vm(disk)
                time.sleep(0.1)
        finally:
            qemu.kill()
    assert found == (70e6, f"the limit of the VM's own QEMU (process {qemu.pid})")


def test_libvirts_limit_is_found_by_the_disk_it_is_for(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("virsh"), "apt-get install libvirt-clients"
    (tmp_path / "node.xml").write_text(
        f"""<node><domain type='test'><name>web1</name>
            <uuid>00000000-0000-4000-8000-000000000001</uuid>
            <memory>8192</memory><os><type>hvm</type></os><devices>
        <disk type='file'><source file='{tmp_path}/other.img'/><target dev='vda'/>
          <iotune><read_bytes_sec>11000000</read_bytes_sec></iotune></disk>
        <disk type='file'><source file='{disk}'/><target dev='vdb'/>
          <iotune><total_bytes_sec>90000000</total_bytes_sec></iotune></disk>
        </devices></domain></node>"""
    )
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", f"test://{tmp_path}/node.xml")
    found = speed.allowed(disk, 8 * MIB, never)
    assert found == speed.Speed(90e6, "libvirt's limit for VM web1")


def test_a_configured_figure_comes_before_measuring(disk: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.img"
    link.symlink_to(disk)
    configure(f'"{disk}": 200M\n')
    found = speed.allowed(link, 8 * MIB, never)
    assert found.rate == 200 << 20
    assert found.origin == f"configured in {speed.figures()}"


@pytest.mark.parametrize("text", ['"{}": fast', '"{}": 12', "just words", "a: [", '"{}": 60%'])
def test_a_figure_that_is_none_is_refused_with_the_file(disk: Path, text: str) -> None:
    configure(text.format(disk))
    with pytest.raises(Refused, match=r"speeds\.yaml"):
        speed.allowed(disk, 8 * MIB, never)


def test_a_measurement_is_kept_for_its_device_and_said_to_be_one(disk: Path, tmp_path: Path) -> None:
    first = speed.allowed(disk, 8 * MIB)
    assert first.rate > 0 and "measured" in first.origin and first.origin.endswith("now")
    other = tmp_path / "other.img"
    other.write_bytes(b"x" * MIB)
    again = speed.allowed(other, MIB, never)
    assert again.rate == first.rate and "measured on" in again.origin


def test_an_old_or_broken_measurement_is_made_again(disk: Path) -> None:
    speed.allowed(disk, 8 * MIB, lambda path, size: (5e6, "counted"))
    kept = speed._memory()
    kept.write_bytes(kept.read_bytes().replace(b'"at":1', b'"at":0'))
    assert speed.allowed(disk, 8 * MIB, lambda path, size: (6e6, "counted")).rate == 6e6
    kept.write_bytes(b"{nonsense")
    assert speed.allowed(disk, 8 * MIB, lambda path, size: (7e6, "counted")).rate == 7e6
