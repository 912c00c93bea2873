from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.job import journal
from engines.job.contract import Finished, Log, Progress, Started, StepStarted
from engines.job.errors import BadParam, Refused
from engines.job.jobfile import LIMIT, Job, dump, open_secrets, parse
from engines.job.params import Secret, convert, fields, plain, schema
from tests.contract.copier import CopyParams

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
hostile = st.text(
    st.sampled_from("a\"'\\: #\t\n\x00\x07\x7f\x85\x9f\u2028\u2029\ufeff\ufffe\U0001f600-{}[],&*!|>%@`"), max_size=9
)
scalars = st.one_of(
    texts, hostile, st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.floats(allow_nan=False),
    st.sampled_from(["yes", "null", "1e5", "0x1f", "012", "1_0", "1:30", "2026-11-22", "~", "=", "<<"]),
)  # fmt: skip
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.lists(st.lists(scalars, max_size=2), max_size=2))
keys = st.one_of(texts.filter(bool), st.sampled_from(["source", "limit", "on", "null", "n", "a_b"]))


@given(st.dictionaries(keys, values, max_size=5))
def test_a_job_file_gives_back_the_job_it_was_written_from(params: dict[str, object]) -> None:
    job = Job(task="copier", params=params)
    assert parse(dump(job).encode(), "job.yaml") == job


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode())))
def test_any_bytes_are_a_job_or_refused_with_what_helps(raw: bytes) -> None:
    try:
        parse(raw, "job.yaml")
    except Refused as refused:
        assert refused.what_helps


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("task: copier\nparams: {a: 1, a: 2}", "a is given twice"),
        ("a: &x [1]\ntask: *x", "alias"),
        ("task: copier\nparms: {}", "parms"),
        ("task: [1]", "task"),
        ("- 1", "no keys"),
        ("task: !!python/object/apply:os.system [id]", "no YAML"),
        ("x" * (LIMIT + 1), "over"),
    ],
)
def test_a_wrong_job_file_is_refused_by_what_is_wrong(text: str, named: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(text.encode(), "job.yaml")
    assert named in str(refused.value) or named in refused.value.what_helps or "job.yaml" in refused.value.why


@pytest.mark.parametrize(
    ("given_params", "name", "allowed"),
    [
        ({"count": 12}, "count", "a whole number from 1 to 9"),
        ({"count": "many"}, "count", "a whole number from 1 to 9"),
        ({"ask": "perhaps"}, "ask", "yes or no"),
        ({"source": ""}, "source", "text"),
        ({"source": "a\x1bb"}, "source", "control"),
        ({"password": "hunter2"}, "password", "password_file"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(given_params: dict[str, object], name: str, allowed: str) -> None:
    with pytest.raises(BadParam) as bad:
        convert(CopyParams, {"source": "s", "output": "o", **given_params})
    assert bad.value.name == name
    assert allowed in str(bad.value)
    assert "hunter2" not in str(bad.value)


def test_words_and_numbers_from_a_form_become_the_declared_types() -> None:
    params = convert(CopyParams, {"source": "s", "output": "o", "count": "3", "ask": "yes", "warn": "false"})
    assert (params.count, params.ask, params.warn) == (3, True, False)


def test_a_secret_is_read_from_its_file_and_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    opened = open_secrets(CopyParams, {"source": "s", "output": "o", "password_file": str(path)})
    params = convert(CopyParams, opened)
    assert params.password is not None
    assert params.password.reveal() == "correct horse"
    assert "correct horse" not in repr(params) + str(plain(params)) + str(Secret("correct horse"))
    path.chmod(0o644)
    with pytest.raises(BadParam, match="chmod 600"):
        open_secrets(CopyParams, {"password_file": str(path)})


def test_the_schema_names_every_parameter_and_the_secret_only_as_a_file() -> None:
    described = schema(CopyParams, "copier")["properties"]["params"]
    expected = {field.name for field in fields(CopyParams)} - {"password"} | {"password_file"}
    assert set(described["properties"]) == expected
    assert described["properties"]["count"]["maximum"] == 9
    assert set(described["required"]) == {"source", "output"}
    json.dumps(described)


def test_a_torn_last_line_is_left_and_a_torn_middle_line_skipped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = journal.Journal(path)
    for at in range(3):
        writer.write(Progress(done=at, total=3))
    writer.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:20] + b"\n" + lines[2] + b'{"seq": 3, "at"')
    assert [entry.seq for entry in journal.entries(path)] == [0, 2]


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(journal.encode(journal.Entry(1, 2.0, Log(text="x")))))))
def test_any_bytes_in_a_journal_are_read_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    path.write_bytes(b"".join(parts))
    for entry in journal.entries(path):
        assert entry.event is not None


def test_every_event_survives_its_own_line() -> None:
    for event in (Started(task="a", target="b"), StepStarted(step="x"), Finished(summary="é", result={"a": [1]})):
        entry = journal.Entry(4, 1.5, event)
        assert journal.decode(journal.encode(entry)) == entry


def test_an_event_of_a_later_version_is_kept_as_a_line() -> None:
    event = journal.decode(b'{"seq": 1, "at": 2.0, "event": "Teleported", "to": "mars"}\n').event
    assert isinstance(event, Log)
    assert "Teleported" in event.text
