"""ls, find and cat as a technician calls them."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cli.crashcart import crashcart
from tests.engines.backup import lab
from tests.engines.backup.files.images import MIB, blank, ext, mounted, run, table


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two disks: one bare ext4, one with partitions."""
    folder = tmp_path_factory.mktemp("looks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        bare = ext(folder / "bare", 16 * MIB, "-L", "root")
        with mounted(bare) as inside:
            (inside / "etc").mkdir()
            (inside / "etc" / "passwd").write_bytes(b"root:x:0:0\n\xff\0end")
            (inside / "etc" / "esc\x1b[31m\n").write_bytes(b"hostile")
            (inside / "password").symlink_to("etc/passwd")
            (inside / "way").symlink_to("/etc")
        fat = blank(folder / "fat", 8 * MIB)
        run("mkfs.vfat", "-n", "EFI", fat)
        (folder / "hello.txt").write_bytes(b"hello")
        run("mcopy", "-i", fat, folder / "hello.txt", "::Hello World.txt")
        made = lab.init(folder / "repo")
        lab.backup(made, bare, disk="bare")
        lab.backup(
            made,
            table(folder / "parted", "gpt", [(bare, ""), (fat, ""), (None, "size=8MiB")], 64 * MIB),
            "win",
            disk="parted",
        )
    return made


def asked(repo: str, *words: str) -> str:
    ran = crashcart("backup", *words, "--repo", repo)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_folder_is_listed_as_lines_and_as_json(repo: str) -> None:
    lines = asked(repo, "ls", "web1/bare@latest").splitlines()
    assert [line.split()[-1] for line in lines if not line.startswith("l")] == ["lost+found", "etc"]
    assert any(line.startswith("lrwx") and line.endswith("password -> etc/passwd") for line in lines)
    found = json.loads(asked(repo, "ls", "web1/bare@latest:/way", "--json"))
    assert {each["path"] for each in found["entries"]} == {"passwd", r"esc\x1b[31m\x0a"}
    assert found["served"] == {"disk": "quick"}
    assert found["states"] == {}


def test_no_escape_code_of_the_guest_reaches_the_terminal(repo: str) -> None:
    out = asked(repo, "ls", "web1/bare@latest:/etc") + asked(repo, "find", "web1/bare@latest", "*")
    assert "\x1b" not in out
    assert asked(repo, "cat", r"web1/bare@latest:/etc/esc\x1b[31m\x0a") == "hostile"


def test_several_volumes_are_listed_with_what_they_are(repo: str) -> None:
    lines = asked(repo, "ls", "win/parted@latest").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["volume", "format"], ["p1", "ext4"], ["p2", "vfat"], ["p3", "empty"],
    ]  # fmt: skip
    assert asked(repo, "ls", "win/parted@latest:/p2").split()[-2:] == ["Hello", "World.txt"]
    assert asked(repo, "cat", "win/parted@latest:/p2/hello world.TXT") == "hello"


def test_files_are_found_by_name_and_by_path(repo: str) -> None:
    assert asked(repo, "find", "win/parted@latest", "pass*").count("\n") == 2
    found = json.loads(asked(repo, "find", "win/parted@latest:/p1", "*/etc/p*", "--json"))
    assert [each["path"] for each in found["entries"]] == ["/p1/etc/passwd"]


def test_cat_gives_the_bytes_and_no_folder(repo: str) -> None:
    answer = json.loads(asked(repo, "cat", "web1/bare@latest:/password", "--json"))
    assert base64.b64decode(answer["content"]) == b"root:x:0:0\n\xff\0end"
    ran = crashcart("backup", "cat", "web1/bare@latest:/etc", "--repo", repo)
    assert ran.returncode == 1
    assert "/etc is a folder" in ran.stderr
    assert "what helps: list it: crashcart backup ls" in ran.stderr
    ran = crashcart("backup", "cat", "web1/bare@latest:/nothing", "--repo", repo)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "/nothing: there is no such file" in ran.stderr


def test_a_point_that_is_not_there_is_refused(repo: str) -> None:
    assert crashcart("backup", "ls", "web1/bare@20000101T000000Z", "--repo", repo).returncode == 3
    assert crashcart("backup", "ls", "web1", "--repo", repo).returncode == 2
