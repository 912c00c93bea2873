"""Files that an enemy or a bad disk wrote: a named error, little memory, no path out of the repository."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.backup.errors import Damaged, Missing
from engines.backup.repository import pack, point, record, segment
from engines.backup.repository.keys import derive
from engines.backup.repository.pack import RecordPlace
from engines.backup.repository.record import Codec
from engines.backup.repository.repository import Repository
from engines.backup.store.opening import open_store
from engines.job.errors import CrashcartError
from tests.engines.backup import lab
from tests.engines.backup.lab import MIB
from tests.memory import grows_less_than

KEYS = derive(bytes(32), "none")
CODEC = Codec(KEYS)
OWNER = bytes(16)
many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.binary(max_size=200))
@many
def test_any_bytes_are_a_sound_header_or_none(raw: bytes) -> None:
    found = record.parse(raw)
    assert found is None or found.length <= record.LONGEST[found.kind]


def signed(front: bytes) -> bytes:
    import xxhash

    return front + xxhash.xxh3_64_intdigest(front).to_bytes(8, "little")


@given(
    st.sampled_from([1, 2, 3]),
    st.sampled_from([0, 1]),
    st.integers(0, (1 << 32) - 1),
    st.binary(max_size=300),
    st.booleans(),
)
@many
def test_a_forged_record_is_damaged_and_takes_no_memory(
    kind: int, codec: int, length: int, payload: bytes, squeeze: bool
) -> None:
    """The check sums of an enemy fit; the content still has to be what the id names."""
    import xxhash
    import zstandard

    if squeeze:
        payload = zstandard.ZstdCompressor(level=1).compress(bytes(length % (1 << 24)))
    check = xxhash.xxh3_64_intdigest(payload)
    raw = signed(record.HEADER.pack(record.MAGIC, kind, codec, 0, 0, length, len(payload), b"\1" * 32, check))
    header = record.parse(raw)
    if header is None:
        return
    with pytest.raises(Damaged):
        CODEC.decode(header, payload, "forged")


@given(st.binary(max_size=400))
@many
def test_any_bytes_are_a_point_or_damaged(raw: bytes) -> None:
    try:
        point.decode(raw, "forged")
    except Damaged as damaged:
        assert damaged.what_helps


heads = st.fixed_dictionaries(
    {
        "vm": st.one_of(st.sampled_from(["..", ".", "a/../../b", "web1", "/etc", "a\n"]), st.text(max_size=9)),
        "disk": st.sampled_from(["disk0", "..", "../../x"]),
        "time": st.sampled_from(["20260101T000000Z", "../../../x", ""]),
        "size": st.one_of(st.integers(-5, 1 << 62), st.just(MIB)),
        "block": st.sampled_from([MIB, 1, 0, -1, 1 << 40]),
        "session": st.sampled_from(["0" * 32, "x"]),
    }
)


@given(heads, st.integers(0, 3))
@many
def test_a_forged_head_never_names_a_path_outside(head: dict[str, object], maps: int) -> None:
    text = msgspec.json.encode(head)
    try:
        found = point.decode(len(text).to_bytes(4, "little") + text + bytes(32 * maps), "forged")
    except Damaged:
        return
    parts = found.name.path().split("/")
    assert len(parts) == 4
    assert not {".", "..", ""} & set(parts)


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, (1 << 32) - 1)), max_size=9), st.data())
@many
def test_a_forged_footer_is_damaged_or_names_what_fits(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    store = open_store(str(folder))
    places = [RecordPlace(name, OWNER, 64 + at, stored, MIB, 1, 0, 0) for at, (name, stored) in enumerate(rows)]
    body = bytes(data.draw(st.integers(0, 500)))
    raw = bytes(64) + body + pack.footer(places, data.draw(st.sampled_from([64, 64 + len(body), 0, 1 << 40])))
    (folder / "packs").mkdir()
    (folder / pack.name(OWNER)).write_bytes(raw)
    try:
        found, end = pack.read_footer(store, OWNER, len(raw))
    except Damaged:
        return
    assert all(place.offset + place.size <= end for place in found)


@given(st.binary(max_size=300), st.integers(0, 1 << 63), st.integers(0, 1 << 31))
@many
def test_a_forged_index_is_damaged_or_bounded(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, count: int, packs: int
) -> None:
    import xxhash

    folder = tmp_path_factory.mktemp("index")
    name = "index/" + "0" * 32 + ".idx"
    (folder / "index").mkdir()
    front = segment.header(OWNER, packs % 8, count % 8, xxhash.xxh3_64_intdigest(body))
    (folder / name).write_bytes(front + body)
    try:
        found = segment.Segment(open_store(str(folder)), name, OWNER)
        for at in range(found.count):
            list(found.find(found.place(at).id))
    except Damaged as damaged:
        assert name in damaged.why


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with everything in it."""
    folder = tmp_path_factory.mktemp("sample")
    os.environ.setdefault("XDG_STATE_HOME", str(folder / "state"))
    repo = lab.init(folder / "repo", pack=2 * MIB)
    for at in range(3):
        lab.backup(repo, lab.disk(folder / "disk", {number: number + at for number in range(5)}, 7 * MIB))
    lab.opened(repo).index.flush(always=True)
    return Path(repo)


def mangled(raw: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, cut, doubled or filled."""
    whole = bytearray(raw)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(max(len(whole), 1))
        match rng.randrange(4):
            case 0 if whole:
                whole[at] ^= 1 << rng.randrange(8)
            case 1:
                del whole[at:]
            case 2:
                whole[at : at + 64] = rng.randbytes(64)
            case _:
                whole[at:at] = whole[:at]
    return bytes(whole)


def every_way(repo: str, folder: Path) -> list[Callable[[], object]]:
    """All that can be asked of a repository."""
    source = folder / "disk"
    return [
        lambda: list(lab.opened(repo).every()),
        lambda: lab.perform_job("backup-verify", repo=repo),
        lambda: lab.perform_job("backup-gc", repo=repo),
        lambda: lab.perform_job("backup", repo=repo, source=str(source), vm="web1", limit="none"),
        lambda: lab.perform_job(
            "backup-restore", repo=repo, point="web1/disk0@latest", target=str(folder / "restored-disk")
        ),
    ]


def disks(folder: Path) -> list[bytes]:
    """What the sample's points hold."""
    path = folder / "known"
    return [lab.disk(path, {n: n + at for n in range(5)}, 7 * MIB).read_bytes() for at in range(3)]


@pytest.mark.parametrize("seed", range(25))
def test_a_mangled_repository_gives_named_errors_and_no_wrong_byte(sample: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    repo = tmp_path / "repo"
    shutil.copytree(sample, repo)
    files = sorted(path for path in repo.rglob("*") if path.is_file() and path.name != "config.json")
    for path in rng.sample(files, 2):
        path.write_bytes(mangled(path.read_bytes(), rng))
    lab.disk(tmp_path / "disk", {number: number + 2 for number in range(5)}, 7 * MIB)
    known = disks(tmp_path)
    with grows_less_than(200 * MIB):
        for way in every_way(str(repo), tmp_path):
            try:
                found = way()
            except CrashcartError as error:
                assert str(error)
                continue
            for restored in tmp_path.glob("restored-*"):
                assert restored.read_bytes() in known, "no wrong byte is written out"
                restored.unlink()
            if isinstance(found, tuple):
                why = getattr(found[1], "why", "")
                assert "unexpected" not in why, why
    repository = Repository.open(str(repo))
    repository.load()
    for name, found in repository.every():
        if not isinstance(found, Damaged):
            try:
                ids = repository.map(found, 0)
                for at in range(0, len(ids), 32):
                    if ids[at : at + 32] != bytes(32):
                        repository.fetch(ids[at : at + 32], record.BLOCK)
            except (Damaged, Missing) as error:
                assert str(name)
                assert error.what_helps
