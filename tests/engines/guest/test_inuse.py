"""An image that somebody uses is refused by name; one that is held cannot be written by a QEMU or mounted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engines.guest import inuse, target
from engines.host import libvirt
from engines.host.files import file_identity
from engines.job.errors import Refused
from tests.absent import absent
from tests.engines.guest.images import loop, qemu, raw, written


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return raw(tmp_path / "a.img")


def refusal(path: Path) -> str:
    with pytest.raises(Refused) as refused:
        inuse.hold(path)
    assert refused.value.what_helps
    return refused.value.why


def test_an_image_that_a_qemu_writes_is_refused_by_its_lock_byte_and_process(image: Path) -> None:
    with qemu(f"file={image}", "format=raw", "if=ide") as running:
        why = refusal(image)
    assert "lock byte 101" in why
    assert str(running.pid) in why
    inuse.hold(image).release()


def test_a_backing_file_of_a_running_guest_is_refused(image: Path, tmp_path: Path) -> None:
    top = tmp_path / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", top], check=True)
    with qemu(f"file={top}", "format=qcow2", "if=ide"):
        assert "lock byte 201" in refusal(image)


def test_a_qemu_without_locks_is_found_by_its_open_file(image: Path) -> None:
    with qemu(f"file.filename={image}", "file.locking=off", "driver=raw", "if=ide") as running:
        assert f"process {running.pid} (qemu-system-x86" in refusal(image)


def test_no_qemu_can_write_what_is_held_but_ours_can_read_it(image: Path) -> None:
    held = inuse.hold(image)
    try:
        tried = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 512", image], capture_output=True, text=True)
        assert tried.returncode != 0
        assert 'Failed to get "write" lock' in tried.stderr
        subprocess.run(["qemu-io", "-r", "-f", "raw", "-c", "read 0 512", image], check=True, capture_output=True)
    finally:
        held.release()
    written(image, "write 0 512", form="raw")


def test_a_reader_that_came_after_the_hold_keeps_the_commit_from_beginning(image: Path, tmp_path: Path) -> None:
    held = inuse.hold(image)
    top = tmp_path / "top.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", top], check=True)
    with qemu(f"file={top}", "format=qcow2", "if=ide"), pytest.raises(Refused, match="another QEMU"):
        held.begin_writing()
    held.begin_writing()
    held.release()


@pytest.mark.parametrize("kept", [True, False])
def test_an_image_that_another_was_put_in_the_place_of_is_not_operated_on(image: Path, *, kept: bool) -> None:
    """Under the same number of an inode, of the same size, and with the time that the first one had."""
    seen, before = target.look(image), image.stat()
    if not kept:
        image.write_bytes(bytes(510) + b"\x55\xaa" + bytes(before.st_size - 512))
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = image.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    held = inuse.hold(image)
    try:
        held.refuse_another(file_identity(before))
        if kept:
            held.refuse_another(seen.identity)
        else:
            with pytest.raises(Refused, match="another file, or was written to"):
                held.refuse_another(seen.identity)
    finally:
        held.release()


def test_two_holds_exclude_each_other(image: Path) -> None:
    held = inuse.hold(image)
    assert "lock byte 201" in refusal(image)
    held.release()


def test_a_file_behind_a_loop_device_is_refused(image: Path) -> None:
    with loop(image) as device:
        assert str(device) in refusal(image)


def test_a_mounted_device_is_refused_by_its_mount_point(image: Path, tmp_path: Path) -> None:
    place = tmp_path / "here"
    place.mkdir()
    subprocess.run(["mke2fs", "-q", "-F", image], check=True)
    with loop(image) as device:
        subprocess.run(["mount", device, place], check=True)
        try:
            assert f"mounted at {place}" in refusal(device)
        finally:
            subprocess.run(["umount", place], check=True)


def test_a_device_used_as_swap_is_refused(image: Path) -> None:
    subprocess.run(["mkswap", "-q", image], check=True)
    with loop(image) as device:
        if subprocess.run(["swapon", device], capture_output=True).returncode:
            absent("this kernel allows no swap here")
        try:
            assert "used as swap" in refusal(device)
        finally:
            subprocess.run(["swapoff", device], check=True)


def test_a_held_device_cannot_be_mounted(image: Path, tmp_path: Path) -> None:
    subprocess.run(["mke2fs", "-q", "-F", image], check=True)
    with loop(image) as device:
        held = inuse.hold(device)
        try:
            tried = subprocess.run(["mount", device, tmp_path], capture_output=True, text=True)
            assert tried.returncode != 0
        finally:
            held.release()


def test_a_running_libvirt_domain_is_named(image: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    text = f"<domstatus><domain><name>web1</name><disk><source file='{image}' index='1'/></disk></domain></domstatus>"
    (state / "web1.xml").write_text(text)
    assert libvirt.running(image, state) == "web1"
    assert libvirt.running(state / "web1.xml", state) == ""


def test_where_no_lock_reaches_the_technician_must_vouch(tmp_path: Path) -> None:
    assert inuse.unprotected(raw(tmp_path / "a.img")) == ""
    assert all(inuse.shared(kind) for kind in ("nfs4", "cifs", "9p", "fuse.sshfs"))
    assert not any(inuse.shared(kind) for kind in ("ext4", "xfs", "tmpfs", "overlay"))
