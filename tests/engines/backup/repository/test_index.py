"""Index files are joined as they come: few of them, whatever the number of packs, and nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

from engines.backup.repository import catalogue, record
from engines.backup.repository.repository import Repository
from engines.backup.repository.sessions import Presence
from engines.backup.repository.writer import Writer
from tests.engines.backup import lab

PACKS = 70


def test_many_small_packs_leave_few_index_files_that_know_every_record(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "repo")
    ids = []
    with Repository.open(repo) as repository, Presence(repository.store, "write", "test") as presence:
        catalogue.look(repository, presence)
        for number in range(PACKS):
            writer = Writer(repository, presence)
            ids.append(writer.put(record.BLOCK, lab.block(number, 2000)))
            writer.finish()
            repository.index.flush(always=True)
    files = list(Path(repo, "index").glob("*.idx"))
    assert len(files) <= 12
    with lab.opened(repo) as repository:
        assert repository.index.length() == PACKS
        assert all(next(repository.index.find(name)) for name in ids)
        assert not repository.index.faults and not repository.index.lost
