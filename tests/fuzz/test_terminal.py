"""Whatever a guest, a switch or a server calls something: no terminal acts on it, and no report is led astray."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.segment import ControlType, Segment
from textual.color import Color

from engines.backup.commands import key_looks, listing, tamper
from engines.host.streams import inert
from engines.job.contract import BytesChange, Finished, Log, Plan, RunFailed, Section, Started, Step, Warned
from engines.job.jobfile import Job
from engines.job.journal import Journal
from engines.job.report import gather, markdown
from engines.job.runs import create
from engines.job.units import clean, marked, one_line, unmarked
from engines.job.web import page
from engines.virtio import inspect
from tui.ascii import CleanFilter

CORPUS = (
    "\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x1bP+q544e\x1b\\", "\x1b_Gi=1\x1b\\", "\x1b^x\x1b\\", "\x1bX\x1b\\",
    "\x9b2J", "\x9d0;x\x9c", "\x90q\x9c", "\x9f", "\r+ nothing was changed", "a\nb", "a\u2028b", "a\u2029b", "\x85",
    "\u202egnp.exe", "\u2066x", "\u200b", "\ufeff", "\udc9b2J", "\x00", "\x08\x08", "\x7f", "\x0e", "\x0f",
    "```", "`x`", "**x**", "_x_", "[x](http://evil)", "![x](http://evil/x.png)", "<script>x</script>", "| a | b |",
    "# x", "- x", "> x", "1. x", "\\", "a\\*b", "~~x~~", "```\n# x",
)  # fmt: skip
MARKS = st.text("\x1b\x9b\\`*_[]()<>|#~\n a", max_size=20)
TEXT = st.text(st.characters(), max_size=60) | st.sampled_from(CORPUS) | MARKS
TOLD = st.text(st.characters(exclude_categories=["Cs"]))


def harmless(text: str) -> bool:
    return all(char in "\n\t" or char.isprintable() for char in text)


@given(TEXT)
def test_one_line_is_one_and_clean_keeps_lines(text: str) -> None:
    assert harmless(one_line(text)) and not set(one_line(text)) & set("\n\t")
    assert harmless(clean(text)) and clean(text).count("\n") == text.count("\n")
    assert one_line(clean(text).replace("\n", "").replace("\t", "")).isprintable()


@given(st.dictionaries(TOLD, TOLD))
def test_json_means_the_same_and_no_terminal_acts_on_it(value: dict[str, str]) -> None:
    shown = inert(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@given(TEXT)
@example("a\\*b")
@example("\\")
def test_a_name_in_markdown_is_a_name(text: str) -> None:
    name = one_line(text)
    assert unmarked(marked(text)) == name
    shown = MarkdownIt("commonmark").enable("table").enable("strikethrough").render(f"- x: {marked(text)}")
    plain = re.sub(r"</?(ul|li)>|\n", "", shown)
    assert "<" not in plain.replace("&lt;", "")
    if not re.search(r"&[#\w]+;", name):
        assert html.unescape(plain).split() == f"x: {name}".split()


@given(TEXT)
def test_the_screen_draws_no_control_character(text: str) -> None:
    control = Segment("\x1b[2J", None, [(ControlType.CLEAR,)])
    drawn = CleanFilter().apply([Segment(text), control], Color(0, 0, 0))
    assert drawn[0].text.isprintable() and drawn[1] == control


def test_a_report_of_hostile_names_is_whole_in_every_form(tmp_path: Path) -> None:
    for number, name in enumerate(CORPUS):
        text = name.encode("utf-8", "backslashreplace").decode()
        run = create(Job(task="copy", params={}), f"target-{number}")
        plan = Plan(
            task="copy",
            target=text,
            params={},
            steps=(Step(id="one", title=text),),
            changes=(BytesChange(target=text, summary=text),),
            facts=((text, text),),
            warnings=(text,),
            undo=text,
        ).sealed()
        run.keep("plan.json", msgspec.json.encode(plan))
        journal = Journal(run.journal)
        journal.write(Started(run=run.id, task="copy", target=text, steps=plan.steps, digest="", mode="do", earlier=""))
        journal.write(Log(text=text))
        journal.write(Warned(text=text))
        last = (
            Finished(summary=text, result={text: text}, sections=(Section(title=text, text=text),), then=(text,))
            if number % 2
            else RunFailed(why=text, what_helps=text, left_behind=(text,))
        )
        journal.write(last)
        journal.close()
        report = gather(run)
        shown = markdown(report)
        assert harmless(shown)
        assert not re.search(r"(?<!\\)<script>", re.sub("```.*?```", "", shown, flags=re.DOTALL))
        made = page(report, run.folder)
        assert harmless(made) and "<script>" not in made and 'src="http' not in made


FORGED = "a\nall is well\x1b[2J\x9b\u2028b"


def filled(kind: type[Any], **given: Any) -> Any:
    """One of a struct, all of whose texts are FORGED."""
    texts = {field.name: FORGED for field in msgspec.structs.fields(kind) if field.type is str}
    numbers = {field.name: 1 for field in msgspec.structs.fields(kind) if field.type is int}
    return kind(**{**texts, **numbers, **given})


def test_nothing_that_a_table_tells_of_adds_a_line_to_it() -> None:
    keys = [filled(key_looks.KeyRow)] * 2
    rows, disks = [filled(listing.PointRow, tags=(FORGED,))] * 2, [filled(listing.ListedDisk)] * 2
    listed = [filled(listing.Listed, encrypted=True, points=rows, work=[FORGED], disks=one) for one in ([], disks)]
    traces = filled(tamper.Tampered, found=[filled(tamper.Trace)] * 2, notes=[FORGED])
    for text, lines in (
        (key_looks.table(filled(key_looks.KeyList, keys=keys)), 2),
        (listing.table(listed[0]), 5),
        (listing.table(listed[1]), 5),
        (tamper.table(traces), 5),
        (inspect.table({"hostname": FORGED, "disks": [FORGED, FORGED], "roots": {FORGED: FORGED}}), 3),
    ):
        assert len(text.splitlines()) == lines and harmless(text), text
    paper = filled(key_looks.Paper, keys=keys, config=[FORGED])
    assert len(key_looks.sheet(paper).splitlines()) == len(
        key_looks.sheet(msgspec.structs.replace(paper, repo="r", id="i", config=["c"], keys=plain_keys(2))).splitlines()
    )


def plain_keys(count: int) -> list[key_looks.KeyRow]:
    return [key_looks.KeyRow(name="main", kind="scrypt", added="2026-11-30")] * count
