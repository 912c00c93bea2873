"""Several ways into one repository: each opens it, one that is taken out does not, and a change is whole or none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import tasks
from engines.backup.commands import key, key_looks
from engines.backup.repository import config
from engines.backup.repository.keys import Unlock
from engines.backup.repository.repository import RepoParams, Repository
from engines.backup.store.local import LocalStore
from engines.cli import main
from engines.job.contract import Cancel, Context, Finished, RunFailed, RunStopped
from engines.job.errors import Refused
from engines.job.params import Secret, convert
from engines.job.work import typed
from tests.engines.backup import lab
from tests.engines.backup.strike import struck

MIB = 1 << 20


def key_file(path: Path) -> str:
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def first(tmp_path: Path) -> str:
    return key_file(tmp_path / "first.key")


@pytest.fixture
def repo(tmp_path: Path, first: str) -> str:
    made = lab.init(tmp_path / "repo", cipher="aes-256-gcm", key_file=first)
    lab.backup(made, lab.disk(tmp_path / "disk", {0: 1, 3: 2}, 4 * MIB), key_file=first)
    return made


def opens(repo: str, unlock: Unlock) -> bool:
    try:
        with Repository.open(repo, unlock) as found:
            found.load()
            return found.point(found.resolve("web1/disk0@latest")).head.size == 4 * MIB
    except Refused:
        return False


def rows(repo: str) -> list[str]:
    return [f"{row.name} {row.kind}" for row in key_looks.listed(RepoParams(repo=repo)).keys]


def words(text: str) -> Unlock:
    return Unlock(passphrase=Secret(text))


def test_a_passphrase_beside_a_key_file_and_back_to_one_key(repo: str, first: str, tmp_path: Path) -> None:
    assert rows(repo) == ["first key-file"]
    before = config.load(LocalStore(Path(repo)))
    assert before.format == 1
    run, last = lab.perform_job(
        "backup-key-add", repo=repo, key_file=first, name="paper", secrets={"new_passphrase": Secret("correct horse")}
    )
    assert isinstance(last, Finished), last
    assert rows(repo) == ["first key-file", "paper passphrase"]
    assert opens(repo, Unlock(first)) and opens(repo, words("correct horse"))
    assert not opens(repo, words("wrong horse")) and not opens(repo, Unlock())
    found = config.load(LocalStore(Path(repo)))
    assert found.format == 2 and found.id == before.id and not found.wrapped
    for path in run.folder.rglob("*"):
        assert not path.is_file() or b"correct horse" not in path.read_bytes()
    _, last = lab.perform_job(
        "backup-key-remove", repo=repo, name="first", secrets={"passphrase": Secret("correct horse")}
    )
    assert isinstance(last, Finished), last
    assert rows(repo) == ["paper passphrase"]
    assert not opens(repo, Unlock(first)) and opens(repo, words("correct horse"))


def test_many_keys_each_open_it_and_a_backup_goes_on_with_any(repo: str, first: str, tmp_path: Path) -> None:
    others = [key_file(tmp_path / f"{number}.key") for number in range(3)]
    for number, other in enumerate(others):
        opener = others[number - 1] if number else first
        lab.done("backup-key-add", repo=repo, key_file=opener, name=f"key-{number}", new_key_file=other)
    assert all(opens(repo, Unlock(other)) for other in (first, *others))
    assert not opens(repo, Unlock(key_file(tmp_path / "stranger.key")))
    point = lab.backup(repo, lab.disk(tmp_path / "disk", {0: 9}, 4 * MIB), key_file=others[2])
    assert lab.content(repo, point, key_file=others[0]) == (tmp_path / "disk").read_bytes()


def test_a_rotated_key_does_not_open_it_any_more(repo: str, first: str, tmp_path: Path) -> None:
    new = key_file(tmp_path / "new.key")
    lab.done("backup-key-rotate", repo=repo, key_file=first, name="first", new_key_file=new)
    assert rows(repo) == ["first key-file"]
    assert opens(repo, Unlock(new)) and not opens(repo, Unlock(first))
    other = key_file(tmp_path / "other.key")
    lab.done("backup-key-add", repo=repo, key_file=new, name="second", new_key_file=other)
    newer = key_file(tmp_path / "newer.key")
    lab.done("backup-key-rotate", repo=repo, key_file=other, name="first", new_key_file=newer)
    assert opens(repo, Unlock(newer)) and opens(repo, Unlock(other)) and not opens(repo, Unlock(new))


def test_an_added_key_is_taken_out_by_undo(repo: str, first: str, tmp_path: Path) -> None:
    new = key_file(tmp_path / "new.key")
    given = {"repo": repo, "key_file": first, "name": "second", "new_key_file": new}
    run, _ = lab.perform_job("backup-key-add", **given)
    assert opens(repo, Unlock(new))
    _, last = lab.perform_job("backup-key-add", mode="undo", earlier=run.id, **given)
    assert isinstance(last, Finished), last
    assert opens(repo, Unlock(first)) and not opens(repo, Unlock(new))


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("backup-key-remove", {"name": "first"}, "the only key"),
        ("backup-key-remove", {"name": "nobody"}, "allowed is first"),
        ("backup-key-rotate", {"name": "nobody"}, "allowed is first"),
        ("backup-key-add", {"name": "first"}, "not taken"),
        ("backup-key-add", {"name": "../x"}, "letters, digits"),
        ("backup-key-add", {"name": "short", "new_key_file": "/dev/null"}, "new_key_file is '/dev/null', allowed is"),
        (
            "backup-key-rotate",
            {"name": "first", "new_key_file": "/nowhere"},
            "new_key_file is '/nowhere', allowed is a",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    repo: str, first: str, task: str, given: dict[str, Any], said: str
) -> None:
    before = Path(repo, "config.json").read_bytes()
    with pytest.raises(Refused, match=said):
        lab.perform_job(task, repo=repo, key_file=first, **given)
    assert Path(repo, "config.json").read_bytes() == before


@pytest.mark.parametrize("task", ["backup-key-add", "backup-key-rotate"])
def test_a_key_file_and_a_passphrase_at_once_are_two_ways_and_neither_is_left_out_unsaid(
    repo: str, first: str, tmp_path: Path, task: str
) -> None:
    both = {"new_key_file": key_file(tmp_path / "new.key"), "secrets": {"new_passphrase": Secret("correct horse")}}
    with pytest.raises(Refused, match="nothing beside a passphrase"):
        lab.perform_job(task, repo=repo, key_file=first, name="first" if "rotate" in task else "new", **both)
    assert rows(repo) == ["first key-file"]


def test_a_key_that_can_be_read_once_only_is_read_by_the_run(repo: str, first: str, tmp_path: Path) -> None:
    new = key_file(tmp_path / "new.key")
    words = f"{sys.executable} -m engines.cli backup"
    given = f"piped --repo {repo} --key-file {first}"
    line = f"{words} key add {given} --new-key-file <(cat {new}) && {words} init {tmp_path}/other --cipher aes-256-gcm"
    ran = subprocess.run(
        ["bash", "-c", f"{line} --key-file /dev/stdin < <(cat {new})"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert opens(repo, Unlock(new)) and opens(repo, Unlock(first))
    with Repository.open(str(tmp_path / "other"), Unlock(new)) as found:
        assert found.config.cipher == "aes-256-gcm"


def test_a_repository_is_not_half_made_for_a_key_that_will_not_do(first: str, tmp_path: Path) -> None:
    (short := tmp_path / "short.key").write_bytes(b"short")
    given = {"repo": str(tmp_path / "new"), "cipher": "aes-256-gcm"}
    with pytest.raises(Refused, match="32 random bytes"):
        lab.perform_job("backup-init", **given, key_file=str(short))
    with pytest.raises(Refused, match="nothing beside a passphrase"):
        lab.perform_job("backup-init", **given, key_file=first, secrets={"passphrase": Secret("correct horse")})
    assert not (tmp_path / "new").exists()


def test_the_key_that_goes_does_not_prove_that_another_opens(repo: str, first: str, tmp_path: Path) -> None:
    new = key_file(tmp_path / "new.key")
    lab.done("backup-key-add", repo=repo, key_file=first, name="second", new_key_file=new)
    before = Path(repo, "config.json").read_bytes()
    for opener in (first, key_file(tmp_path / "stranger.key")):
        _, last = lab.perform_job("backup-key-remove", repo=repo, key_file=opener, name="first")
        assert isinstance(last, RunFailed), last
        assert Path(repo, "config.json").read_bytes() == before
    lab.done("backup-key-remove", repo=repo, key_file=new, name="first")


def test_a_passphrase_that_nobody_gives_changes_nothing(repo: str, first: str) -> None:
    before = Path(repo, "config.json").read_bytes()
    _, last = lab.perform_job("backup-key-add", repo=repo, key_file=first, name="second", answer_within=0.1)
    assert isinstance(last, RunStopped | RunFailed), last
    _, last = lab.perform_job(
        "backup-key-add", repo=repo, key_file=first, name="second", secrets={"new_passphrase": Secret("")}
    )
    assert isinstance(last, RunFailed), last
    assert Path(repo, "config.json").read_bytes() == before


def test_a_new_passphrase_is_asked_for_twice(repo: str, first: str, tmp_path: Path) -> None:
    engine = key.KeyAdd()
    from engines.job.contract import Asked

    params = key.NewParams(repo=repo, key_file=first, name="words")
    plan = msgspec.structs.replace(engine.plan(params, Cancel()), params=params)
    before = Path(repo, "config.json").read_bytes()
    for answers, fits in ((["one", "two"], False), (["", ""], False), (["one", "one"], True)):
        work = engine.execute(plan, Context(Cancel(), tmp_path))
        asked = [next(work)]
        try:
            for answer in answers:
                asked.append(work.send(answer))
            asked.extend(work)
        except Refused:
            assert not fits
            assert Path(repo, "config.json").read_bytes() == before
        questions = [event for event in asked if isinstance(event, Asked)]
        assert len(questions) == 2 and all(event.secret for event in questions)
    assert opens(repo, words("one"))


def test_another_change_at_the_same_time_is_not_overwritten(repo: str, first: str, tmp_path: Path) -> None:
    store = LocalStore(Path(repo))
    seen = config.load(store)
    lab.done("backup-key-add", repo=repo, key_file=first, name="b", new_key_file=key_file(tmp_path / "b.key"))
    mine = config.with_ways(seen, Unlock(first), ("first",), {"c": Unlock(key_file(tmp_path / "c.key"))})
    with pytest.raises(Refused, match="changed meanwhile"):
        config.replace(store, seen, mine)
    assert rows(repo) == ["first key-file", "b key-file"]


def test_a_repository_that_is_not_locked_has_no_keys(tmp_path: Path) -> None:
    repo = lab.init(tmp_path / "open")
    assert rows(repo) == []
    with pytest.raises(Refused, match="not locked"):
        lab.perform_job("backup-key-add", repo=repo, name="x", new_key_file=key_file(tmp_path / "x.key"))


def test_the_sheet_gives_config_json_back_and_opens_nothing_by_itself(
    repo: str, first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.done("backup-key-add", repo=repo, key_file=first, name="b", new_key_file=key_file(tmp_path / "b.key"))
    capsys.readouterr()
    assert main(["backup", "key", "paper", "--repo", repo]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    between = printed.split("-" * 100)[1].strip("\n").splitlines()
    typed: list[str] = []
    for line in between:
        if line.startswith("   +  "):
            typed[-1] += line[6:]
        else:
            typed.append(line[6:])
    marks = [line[:4] for line in between if not line.startswith("   +")]
    assert marks == [hashlib.sha256(line.replace(" ", "").encode()).hexdigest()[:4] for line in typed]
    assert ("\n".join(typed) + "\n").encode() == Path(repo, "config.json").read_bytes()
    assert Path(first).read_bytes().hex() not in printed


def test_the_command_line_knows_key_as_two_words(repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "key", "list", "--repo", repo]) == 0
    assert capsys.readouterr().out.startswith("first  key-file")
    assert main(["backup", "key", "nonsense"]) == 2


def test_a_config_that_was_tampered_with_is_named(repo: str, first: str, tmp_path: Path) -> None:
    lab.done("backup-key-add", repo=repo, key_file=first, name="b", new_key_file=key_file(tmp_path / "b.key"))
    store = LocalStore(Path(repo))
    found = config.load(store)
    swapped = msgspec.structs.replace(
        found, ways=tuple(msgspec.structs.replace(way, name=f"{way.name}x") for way in found.ways)
    )
    store.put(config.NAME, config.written(swapped))
    assert not opens(repo, Unlock(first))


@pytest.mark.parametrize("task", ["backup-key-add", "backup-key-rotate", "backup-key-remove", "undo"])
def test_a_change_that_is_killed_anywhere_leaves_a_way_in_and_is_finished_by_the_next_try(
    repo: str, first: str, tmp_path: Path, task: str
) -> None:
    """`first` opens before; `new` where it is added or put in its place; `second` proves a removal, and never goes."""
    new, second = key_file(tmp_path / "new.key"), key_file(tmp_path / "second.key")
    lab.done("backup-key-add", repo=repo, key_file=first, name="second", new_key_file=second)
    words = {
        "backup-key-add": {"key_file": first, "name": "third", "new_key_file": new},
        "backup-key-rotate": {"key_file": first, "name": "first", "new_key_file": new},
        "backup-key-remove": {"key_file": second, "name": "first"},
        "undo": {"key_file": first, "name": "third", "new_key_file": new},
    }[task]
    engine = tasks.engine("backup-key-add" if task == "undo" else task)
    plan = typed(engine, engine.plan(convert(engine.params, {"repo": repo, **words}), Cancel()))
    context = Context(cancel=Cancel(), folder=tmp_path)
    if task == "undo":
        list(engine.execute(plan, context))
    before, after = {
        "backup-key-add": ((True, False), (True, True)),
        "backup-key-rotate": ((True, False), (False, True)),
        "backup-key-remove": ((True, False), (False, False)),
        "undo": ((True, True), (True, False)),
    }[task]
    begun = {name: (Path(repo) / name).read_bytes() for name in (config.NAME, config.COPY)}
    act, again = (engine.undo, engine.undo) if task == "undo" else (engine.execute, engine.resume)
    seen, at, killed = set[tuple[bool, bool]](), 0, True
    while killed:
        at += 1
        for name, content in begun.items():
            (Path(repo) / name).write_bytes(content)
        killed = struck(repo, at, 0.0, lambda _: list(act(plan, context))).killed
        seen.add((opens(repo, Unlock(first)), opens(repo, Unlock(new))))
        assert opens(repo, Unlock(second)) and seen <= {before, after}
        list(again(plan, context))
        assert (opens(repo, Unlock(first)), opens(repo, Unlock(new))) == after
        assert (Path(repo) / config.NAME).read_bytes() == (Path(repo) / config.COPY).read_bytes()
    assert seen == {before, after}


def test_a_name_is_taken_once_whatever_is_given_when_it_is_gone_on_with(repo: str, first: str, tmp_path: Path) -> None:
    given = {"repo": repo, "key_file": first, "name": "third", "new_key_file": key_file(tmp_path / "third.key")}
    engine = tasks.engine("backup-key-add")
    plan = typed(engine, engine.plan(convert(engine.params, given), Cancel()))
    context = Context(cancel=Cancel(), folder=tmp_path)
    list(engine.execute(plan, context))
    key_file(tmp_path / "third.key")  # another by the same name: as a passphrase that is typed otherwise
    for go_on in (engine.resume, engine.execute):
        with pytest.raises(Refused, match="third is taken by another key"):
            list(go_on(plan, context))
    assert rows(repo) == ["first key-file", "third key-file"]
