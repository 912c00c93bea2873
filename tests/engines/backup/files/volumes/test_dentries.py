"""A path costs no second reading of its folders, however long it is."""

from __future__ import annotations

from functools import partial

from engines.backup.files.volumes.dentries import Dentries


def test_each_folder_of_the_longest_path_is_read_once() -> None:
    """Of 900 folders, each in the other, every look read all of them anew: minutes for a get of nothing."""
    known, reads = Dentries[int](), list[int]()

    def read(folder: int) -> dict[bytes, int]:
        reads.append(folder)
        return {b"d": folder + 1}

    for deepest in (1, 2000, 2048):  # steps of a path of 4,096 bytes
        folder = 0
        while folder < deepest:
            folder = known.get(folder, partial(read, folder))[b"d"]
    assert reads == list(range(2048))
