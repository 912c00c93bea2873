"""Nothing of a hostile guest gets out of the destination, or is made what nobody asked for."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from engines.backup.files.model import Node
from engines.backup.files.selection import Walk
from engines.backup.files.taking.destination import Destination
from engines.backup.files.taking.staging import Staging
from engines.backup.files.tree import Tree
from engines.job.contract import Warned
from engines.job.errors import Refused
from engines.job.journal import Entry
from tests.engines.backup import lab
from tests.engines.backup.files import guest_tree
from tests.engines.backup.files.folder_volume import FolderVolume
from tests.engines.backup.files.get_lab import Staged, finished, same, staged
from tests.engines.backup.lab import MIB


def test_nothing_of_a_hostile_guest_is_raised_or_special_unless_asked(evil: Staged, tmp_path: Path) -> None:
    before = time.monotonic()
    result = finished(evil.get(tmp_path / "out", owner=True))
    assert time.monotonic() - before < 600  # a 10 TiB hole is neither read nor written
    out = tmp_path / "out"
    for path in [out, *out.rglob("*")]:
        found = path.lstat()
        assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), path
        assert path.is_symlink() or "security.capability" not in os.listxattr(path)
    assert (out / "huge").stat().st_size == 10 * 1024**4
    assert (out / "huge").stat().st_blocks * 512 < MIB
    assert (out / "farm/499").stat().st_nlink == 500
    assert (out / "evil").readlink() == Path("/tmp")
    for name in ("null", "loop", "pipe", "sock", "su", "sg", "shared", "cap"):
        assert any(line.startswith(f"/{name} ") for line in result["notes"]), name


def test_what_is_asked_for_comes_as_it_was(evil: Staged, tmp_path: Path) -> None:
    finished(evil.get(tmp_path / "out", owner=True, special=True))
    same(evil, tmp_path / "out")


def test_a_link_in_the_destination_leads_nowhere(evil: Staged, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "farm").symlink_to(outside)
    (out / "README").symlink_to(outside / "README")
    (out / os.fsdecode(guest_tree.LONG)).symlink_to(outside / "long")
    finished(evil.get(out, conflict="overwrite"))
    assert list(outside.iterdir()) == []
    assert (out / "farm").is_dir()
    assert not (out / "farm").is_symlink()
    assert (out / "README").read_text() == "upper"


def patched(image: Path, before: bytes, after: bytes) -> None:
    """Rename in the raw image, as no kernel would."""
    raw = image.read_bytes()
    assert before in raw
    image.write_bytes(raw.replace(before, after))


def test_names_that_no_file_can_have_stay_within_the_destination(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "QQ-evil1").write_text("out")
        (root / "abs-evil").write_text("out")
        (root / "folder").mkdir()
        (root / "folder/ZZZZ").write_text("out")
        (root / "good").write_text("good")

    image = guest_tree.ext4(tmp_path / "image", fill, options=("-O", "^metadata_csum"))
    patched(image, b"QQ-evil1", b"../evil1")
    patched(image, b"abs-evil", b"/abs-evi")
    patched(image, b"\4\1ZZZZ", b"\2\1..ZZ")  # name_len, file_type, name of an ext4 directory entry
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, image)
    out = tmp_path / "deep/er/out"
    out.parent.mkdir(parents=True)
    result = lab.done("backup-get", repo=repo, paths=[f"{point}:/"], dest=str(out))
    assert (out / "good").read_text() == "good"
    assert sorted(path.name for path in out.rglob("*")) == ["folder", "good", "lost+found"]
    assert [path for path in tmp_path.rglob("*evi*")] == []
    assert result["files"] == 1
    assert any("holds a name that no file can have: ../evil1" in line for line in result["notes"])


class Hostile(FolderVolume):
    """A driver that passes on whatever names a broken file system has."""

    def list(self, path: bytes) -> Iterator[Node]:
        for node in super().list(path):
            yield node
            if node.is_file:
                yield from (
                    msgspec.structs.replace(node, name=name) for name in (b"..", b"../out", b"/abs", b"", b"a\0b")
                )


def test_a_driver_that_gives_impossible_names_is_not_believed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good").write_text("good")
    tree = Tree((Hostile(source).info,), lambda info: Hostile(source))
    told: list[str] = []
    walk = Walk(tree, {b"/": b""}, lambda path, what: told.append(what))
    assert [entry.place for entry in walk.entries()] == [b"", b"good"]
    assert len(told) == 5


def test_two_names_that_the_destination_takes_for_one_do_not_cost_a_file(evil: Staged, tmp_path: Path) -> None:
    with caseless(tmp_path) as dest:
        result = finished(evil.get(dest, "/README", "/readme"))
        assert (dest / "README").read_text() in ("upper", "lower")
        assert len(list(dest.iterdir())) == 1
        assert result["files"] == 1
        assert any("takes its name for that of another" in line for line in result["notes"])
        finished(evil.get(dest / "both", "/README", "/readme", conflict="rename"))
        assert sorted(path.read_text() for path in (dest / "both").iterdir()) == ["lower", "upper"]


def test_a_destination_that_cannot_hold_a_name_or_an_attribute_says_which(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "what:ever").write_text("colon")
        (root / "good").write_text("good")

    with staged(tmp_path, fill) as guest, caseless(tmp_path) as dest:
        heard: list[Entry] = []
        result = finished(guest.get(dest / "out", listen=heard.append))
        assert (dest / "out/good").read_text() == "good"
        assert any(line.startswith("/what:ever cannot be") for line in result["notes"]), result["notes"]
        told = [entry.event.text for entry in heard if isinstance(entry.event, Warned)]
        assert [line for line in told if line.startswith("/what:ever cannot be")], told


def test_one_entry_that_no_file_can_be_costs_no_other(tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        (root / "a-link").symlink_to("AAAABBBB")
        (root / "b-good").write_text("good")

    image = guest_tree.ext4(tmp_path / "image", fill, options=("-O", "^metadata_csum"))
    patched(image, b"AAAABBBB", b"AAA\0BBBB")
    repo = lab.init(tmp_path / "repo")
    point = lab.backup(repo, image)
    heard: list[Entry] = []
    for more in ({"dest": str(tmp_path / "out")}, {"dest": str(tmp_path / "out.tar"), "tar": True}):
        run = lab.perform_job("backup-get", listen=heard.append, repo=repo, paths=[f"{point}:/"], **more)
        assert any(line.startswith("/a-link ") for line in finished(run)["notes"])
    assert (tmp_path / "out/b-good").read_text() == "good"
    assert not os.path.lexists(tmp_path / "out/a-link")
    told = [entry.event.text for entry in heard if isinstance(entry.event, Warned)]
    assert len([line for line in told if line.startswith("/a-link ")]) == 2
    names = subprocess.run(["tar", "tf", tmp_path / "out.tar"], capture_output=True, text=True, check=True).stdout
    assert "b-good" in names
    assert "a-link" not in names


@contextmanager
def caseless(folder: Path) -> Iterator[Path]:
    """An NTFS volume as Windows sees it: no case, no colons."""
    image, place = folder / "ntfs.img", folder / "ntfs"
    image.write_bytes(b"")
    os.truncate(image, 32 * MIB)
    place.mkdir()
    subprocess.run(["mkntfs", "-F", "-Q", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["lowntfs-3g", "-o", "ignore_case,windows_names", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_folder_that_has_the_name_of_the_one_where_files_wait_is_not_taken_for_ours(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    try:
        Staging(destination, "run", fresh=True).close()
        with pytest.raises(Refused, match="is not of this run"):
            Staging(destination, "run", fresh=True)
        Staging(destination, "run").close()  # its own, taken up again
    finally:
        destination.close()
