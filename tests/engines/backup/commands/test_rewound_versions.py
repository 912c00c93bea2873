"""Which versions of a bucket's files a rewind takes."""

from __future__ import annotations

import pytest
from typing_extensions import override

from engines.backup.commands import rewind
from engines.backup.store.s3.versions import ObjectVersion, ObjectVersions


@pytest.mark.parametrize(
    "name",
    [
        "packs/../../x.pack",
        "points/../../../x/20200101T000000Z.point",
        "points/../x/20200101T000000Z.point",
        "../x.pack",
    ],
)
def test_a_name_that_leads_elsewhere_is_no_file_of_a_repository(name: str) -> None:
    """Whoever may write into a bucket may give an object any name; this server takes none of these."""
    assert not rewind.NEEDED.fullmatch(name)
    assert rewind.NEEDED.fullmatch("points/.web/..x/20200101T000000Z.point")


class Listing(ObjectVersions):
    """What a server would list, and which of it is locked."""

    def __init__(self, kept: dict[str, list[ObjectVersion]], locked: set[str]) -> None:
        self._kept, self._locked = kept, locked

    @override
    def every(self) -> dict[str, list[ObjectVersion]]:
        return self._kept

    @override
    def is_locked(self, version: ObjectVersion) -> bool:
        return version.name in self._locked


MADE = rewind.seconds("20260301T000000Z")


NIGHT = 86400.0


CONFIG, COPY, FIRST, SECOND = "config.json", "packs/config.json", "packs/a.pack", "packs/b.pack"


OLD, NEW = "points/web1/disk0/20260302T000000Z.point", "points/web1/disk0/20260309T000000Z.point"


WRITTEN = {CONFIG: 0, COPY: 0, FIRST: NIGHT + 1, OLD: NIGHT + 60, SECOND: 8 * NIGHT + 7200, NEW: 8 * NIGHT + 7201}


def listing(*, dates_anew: bool, tags: bool = True, more: tuple[str, ...] = ()) -> Listing:
    """Two nights' points, a week between them; all is locked an hour behind the second, but for the config's copy."""
    locked = {*WRITTEN, *more} - {COPY}
    written = {**WRITTEN, **dict.fromkeys(more, NIGHT)}
    kept = {
        name: [
            ObjectVersion(
                name,
                name,
                MADE + (8 * NIGHT + 10800 if dates_anew and name in locked else at),
                tag="t" if tags and name.endswith("config.json") else "",
            )
        ]
        for name, at in written.items()
    }
    return Listing(kept, locked)


def chosen(versions: Listing, at: str) -> set[str]:
    return {version.name for version in rewind.chosen_at(versions, rewind.seconds(at))}


@pytest.mark.parametrize("tags", [True, False])
def test_only_where_a_lock_dates_anew_more_is_copied_than_was_there(tags: bool) -> None:
    for anew in (True, False):
        versions = listing(dates_anew=anew, tags=tags)
        assert CONFIG not in chosen(versions, "20260228T000000Z"), "there was no repository"
        found = chosen(versions, "20260304T000000Z")
        assert found == {CONFIG, COPY, FIRST, OLD} | ({SECOND} if anew else set())
        assert chosen(versions, "20260310T000000Z") == set(WRITTEN)
    assert NEW not in chosen(listing(dates_anew=False, tags=tags), "20260309T003000Z"), "it was being made"


def test_a_name_that_is_no_time_is_left_out() -> None:
    bad = tuple(f"points/a/b/{when}.point" for when in ("20261399T999999Z", "00000000T000000Z", "20260101T240000Z"))
    for anew in (True, False):
        found = chosen(
            listing(dates_anew=anew, more=(*bad, f"pruned/{'x' * 200}/b/20260101T000000Z.point")), "20260304T000000Z"
        )
        assert {CONFIG, FIRST, OLD} <= found and not {*bad} & found
