"""What get, --tar and cat bring out of each file system that is read here is what was put in, byte for byte."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engines.backup.commands.looks import FindParams, _cat_bytes, _find
from engines.backup.files.reach import PathParams
from tests.engines.backup import lab
from tests.engines.backup.files.get_lab import in_state
from tests.engines.backup.files.images import MIB, blank, ext, mounted, ntfs_mounted, run, table

RANDOM = random.Random(16)
HOLED = RANDOM.randbytes(5000) + bytes(MIB) + RANDOM.randbytes(3000)
WANTED = {f"file of {size}": RANDOM.randbytes(size) for size in (0, 1, 130, 511, 700, 4096, 70_000)}
WANTED |= {"sub/$inner.txt": b"inner", "sub/holed": HOLED, "zeros": bytes(9000)}
EXT = {
    "p1": ("-b", "1024", "-O", "bigalloc", "-C", "8192"),
    "p2": ("-O", "inline_data", "-I", "512"),
    "p3": ("-O", "^extent,^64bit,^metadata_csum"),
}
FAT = {"p5": ("-F", "16", "-f", "3"), "p6": ("-F", "12", "-S", "2048")}
NAMES = (*EXT, "p4", *FAT)


def filled(root: Path) -> None:
    (root / "sub").mkdir()
    for name, raw in WANTED.items():
        with (root / name).open("wb") as stream:
            for at in range(0, len(raw), 4096):
                if raw[at : at + 4096].strip(b"\0"):
                    stream.seek(at)
                    stream.write(raw[at : at + 4096])
            stream.truncate(len(raw))


class Formats(NamedTuple):
    repo: str
    point: str
    folder: Path
    tar: Path


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Formats]:
    """One disk of them all, taken whole into a folder and an archive."""
    folder = tmp_path_factory.mktemp("formats")
    parts = []
    for name, options in EXT.items():
        with mounted(ext(folder / name, 16 * MIB, *options)) as root:
            filled(root)
        parts.append(folder / name)
    run("mkntfs", "-q", "-F", "-c", "1024", blank(folder / "p4", 16 * MIB))
    with ntfs_mounted(folder / "p4") as root:
        filled(root)
    (folder / "source").mkdir()
    filled(folder / "source")
    for name, options in FAT.items():
        run("mkfs.fat", *options, blank(folder / name, 16 * MIB))
        run("mcopy", "-s", "-i", folder / name, *(folder / "source").iterdir(), "::")
    parts += [folder / name for name in NAMES[3:]]
    image = table(folder / "disk", "gpt", [(part, "") for part in parts], 112 * MIB)
    back = in_state(folder)
    try:
        repo = lab.init(folder / "repo")
        point = lab.backup(repo, image)
        given = {"repo": repo, "paths": [f"{point}:/"], "driver": "quick"}
        lab.done("backup-get", **given, dest=str(folder / "out"))
        lab.done("backup-get", **given, dest=str(folder / "out.tar"), tar=True)
        yield Formats(repo, point, folder / "out", folder / "out.tar")
    finally:
        back()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_and_an_archive_hold_what_was_put_in(formats: Formats, name: str) -> None:
    with tarfile.open(formats.tar) as archive:
        packed = {each.name: each for each in archive.getmembers() if each.isfile()}
        for path, raw in WANTED.items():
            assert (formats.folder / name / path).read_bytes() == raw, path
            stream = archive.extractfile(packed[f"{name}/{path}"])
            assert stream is not None
            assert stream.read() == raw, path
    there = {path for path in (formats.folder / name).rglob("*") if path.is_file()}
    assert len(there) == len(WANTED)
    assert (formats.folder / name / "sub/holed").stat().st_blocks * 512 < MIB or name in FAT


@pytest.mark.parametrize("name", NAMES)
def test_cat_and_find_agree_with_it(formats: Formats, name: str) -> None:
    at = f"{formats.point}:/{name}"
    found = _find(FindParams(repo=formats.repo, point=at, pattern="*", driver="quick"))
    sizes = {entry.path.removeprefix(f"/{name}/"): entry.size for entry in found.entries if entry.type == "file"}
    assert sizes == {path: len(raw) for path, raw in WANTED.items()}
    for path in ("file of 130", "sub/holed"):
        words = PathParams(repo=formats.repo, point=f"{at}/{path}", driver="quick")
        assert b"".join(each for each in _cat_bytes(words) if isinstance(each, bytes)) == WANTED[path]
