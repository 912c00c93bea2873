"""What is noted of points beside them: two who note at one time lose nothing of each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.backup.repository import quarantine, verified
from engines.backup.repository.pack import RecordPlace
from engines.backup.store.local import LocalStore

PLACE = RecordPlace(id=bytes(32), kind=1, codec=0, cipher=0, length=1, stored=1, pack=bytes(16), offset=64)
AT = 1_700_000_000.0


def at_once(*works: Callable[[], object]) -> None:
    """All of them, as many times as shows whether one takes back what another did."""
    start = threading.Barrier(len(works))

    def work(one: Callable[[], object]) -> None:
        start.wait()
        for _ in range(20):
            one()

    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_verifies_of_one_second_and_a_rename_lose_nothing(tmp_path: Path) -> None:
    one, other = (LocalStore(tmp_path) for _ in range(2))
    verified.put(one, AT - 60, ("a/d@old",))
    at_once(
        lambda: verified.put(one, AT, ("a/d@1",)),
        lambda: verified.put(other, AT, ("b/d@1",)),
        lambda: verified.also(other, {"a/d@old": "c/d@old"}),
    )
    assert set(verified.last_verified(one)) == {"a/d@old", "a/d@1", "b/d@1", "c/d@old"}


def test_a_verify_that_is_renamed_again_keeps_its_own_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    verified.put(store, AT, ("a/d@1",))
    verified.also(store, {"a/d@1": "b/d@1"})
    verified.put(store, AT + 60, ("x/d@1",))
    verified.also(store, {"b/d@1": "c/d@1"})
    seen = verified.last_verified(store)
    assert seen["a/d@1"] == seen["b/d@1"] == seen["c/d@1"] != seen["x/d@1"]


def test_only_the_last_verifies_are_kept_with_all_that_was_noted_of_them(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for number in range(verified.KEPT + 3):
        verified.put(store, AT + number, (f"a/d@{number}",))
        verified.also(store, {f"a/d@{number}": f"b/d@{number}"})
    assert set(verified.last_verified(store)) == {
        f"{vm}/d@{number}" for vm in "ab" for number in range(3, verified.KEPT + 3)
    }


def test_notes_of_former_versions_are_read(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("verified/20231114T221320Z.json", b'{"time":"20231114T221320Z","points":["a/d@1"]}')
    verified.put(store, AT + 60, ("b/d@1",))
    assert verified.last_verified(store) == {"a/d@1": "20231114T221320Z", "b/d@1": "20231114T221420Z"}


def test_a_rename_and_a_verify_of_one_damaged_record_lose_nothing(tmp_path: Path) -> None:
    one, other = (LocalStore(tmp_path) for _ in range(2))
    quarantine.put(one, PLACE, "bad", ("a/d@1",))
    at_once(
        lambda: quarantine.put(one, PLACE, "bad", ("a/d@1", "b/d@1")),
        lambda: quarantine.also(other, {"a/d@1": "c/d@1"}),
    )
    (bad,) = quarantine.every(one)
    assert set(bad.points) == {"a/d@1", "b/d@1", "c/d@1"}
    assert quarantine.places(one) == {(PLACE.pack, PLACE.offset)}


@pytest.mark.parametrize("late", [False, True])
def test_a_record_that_reads_right_again_stays_out_of_quarantine(tmp_path: Path, late: bool) -> None:
    store = LocalStore(tmp_path)
    quarantine.put(store, PLACE, "bad", ("a/d@1",))
    quarantine.also(store, {"a/d@1": "c/d@1"})
    assert {quarantine.pack_of(name) for name in store.names("quarantine")} == {PLACE.pack.hex()}
    noted = {name: store.read(name) for name in store.names("quarantine")}
    quarantine.end(store, PLACE)
    assert not list(store.names("quarantine"))
    if late:  # the rename read it before, and writes after
        for name, content in noted.items():
            if quarantine.MORE.match(name):
                store.put(name, content)
    assert list(quarantine.every(store)) == []
    assert quarantine.places(store) == frozenset()
