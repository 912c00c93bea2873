"""Disc names are level 1, stable, and never two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.biosiso.vendor import names
from engines.job.errors import Refused

LEVEL1 = re.compile(r"[A-Z0-9_]{1,8}(\.[A-Z0-9_]{1,3})?")


@given(st.text(min_size=1, max_size=60).filter(lambda text: "/" not in text))
def test_any_name_becomes_a_level_1_name_that_stays_itself(name: str) -> None:
    disc = names.level1(name)
    assert LEVEL1.fullmatch(disc)
    assert names.level1(disc) == disc


@pytest.mark.parametrize(
    ("name", "disc"),
    [
        ("x9scm2.608", "X9SCM2.608"),
        ("Readme for AMI BIOS.txt", "README_F.TXT"),
        ("BIOS_X11DPU-091C_20250325_4.6_STD.bin", "BIOS_X11.BIN"),
        ("AMI~1.BAT", "AMI_1.BAT"),
        (".profile", "_.PRO"),
        ("con.txt", "CON_.TXT"),
        ("LPT1", "LPT1_"),
        ("größe.rom", "GR__E.ROM"),
    ],
)
def test_names_are_mapped_as_the_review_shows_them(name: str, disc: str) -> None:
    assert names.level1(name) == disc


@given(st.lists(st.text("abAB-_.~", min_size=1, max_size=14), min_size=1, max_size=8, unique=True))
def test_assigned_names_are_all_different_or_both_are_named(paths: list[str]) -> None:
    try:
        assigned = names.assign({path: path for path in paths}, ["README.TXT"])
    except Refused as error:
        assert sum(path in error.why for path in paths) >= 2
    else:
        assert len(set(assigned.values())) == len(paths)


def test_two_names_equal_in_8_3_are_refused_with_both_named() -> None:
    with pytest.raises(Refused, match=r"X9SCM-F_GOOD\.608 and X9SCM-F_BAD\.608"):
        names.assign({name: name for name in ("X9SCM-F_GOOD.608", "X9SCM-F_BAD.608")}, [])


def test_two_folders_equal_in_8_3_and_a_file_named_like_a_folder_are_refused() -> None:
    with pytest.raises(Refused):
        names.assign({name: name for name in ("UEFI-tools1/a", "UEFI-tools2/b")}, [])
    with pytest.raises(Refused):
        names.assign({name: name for name in ("dos", "DOS/b")}, [])


def test_a_vendor_file_never_takes_a_name_of_ours() -> None:
    ours = ["README.TXT", "AMI2.BAT", "ISOLINUX/MEMDISK"]
    assigned = names.assign({name: name for name in ("readme.txt", "ami2.bat", "isolinux/memdisk")}, ours)
    assert assigned == {"readme.txt": "V_README.TXT", "ami2.bat": "V_AMI2.BAT", "isolinux/memdisk": "V_ISOLIN/MEMDISK"}


def test_a_folder_too_deep_for_a_disc_is_refused() -> None:
    with pytest.raises(Refused, match="folders deep"):
        names.disc_path("a/b/c/d/e/f/g/h.txt")
