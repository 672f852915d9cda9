"""The kit catches every faulty step with the right sentence, and lets the sound ones through."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory
from factory import CausalLM, Context, InputError, PromptCompletion, Request, Text
from factory.testing import Nonconformance, check_plugin, check_source, check_step

pytestmark = pytest.mark.builds
HERE = Path(__file__).parent
FAULTY = HERE / "faulty_steps.py"

EXPECTED = {
    "depends_on_hash": ("same bytes in another process", 'meta of a record kept was \'{"bucket":'),
    "draws_without_seed": ("state", 'built twice in one process, meta of a record kept was \'{"draw":'),
    "remembers": ("state", "were kept and then 0; it keeps something from run to run"),
    "changes_its_input": ("input unchanged", "it changed 'text' of the record it was given ('blanks alone')"),
    "changes_what_it_keeps": ("input unchanged", "it changed 'meta' of the record it was given ('empty text')"),
    "changes_its_option": ("input unchanged", "it changed its option 'words', which the next record sees"),
    "loses_rows": ("hostile input", "1 records were neither kept nor dropped"),
    "passes_over": ("nothing vanishes", "it passed over"),
    "fails_on_empty_text": ("hostile input", "Text.jsonl#empty text: IndexError: string index out of range"),
    "fails_on_no_records": ("empty dataset", "fails_on_no_records failed: ZeroDivisionError"),
    "maps_what_cannot_travel": ("hostile input", "cannot pickle 'generator' object"),
    "has_no_order": ("same bytes in another process", "an option whose default has no fixed order (a set) does that"),
    "refuses_its_default": ("options", "its own check refuses the default 0 of 'share'"),
    "says_nothing": ("docstring", "it has none"),
    "hides_an_option": ("docstring", "nothing is said about the options leniency"),
    "counts_in_reasons": ("reasons", "cannot be counted together"),
    "notes_its_process": ("same bytes in another process", 'meta of a record kept was \'{"process":'),
    "knows_where_it_runs": ("same bytes with local:2", "serially and in two workers"),
    "begins_where_it_ended": ("resume", "stopped after one task and resumed"),
    "gives_no_text": ("output", "what it made of 'empty text' cannot be encoded"),
    "invents_parents": ("parents", "names the parent 'nowhere', which is not among what came in"),
    "ends_its_process": ("hostile input", "its process ended with status 7"),
    "needs_a_word": ("options", "word has no default; pass options={'needs_a_word': {'word': …}}"),
    "faulty_steps": ("hooks", "open_model is not marked with @factory.hookimpl, so nobody calls it"),
}


def test_every_fault_is_one_sentence_about_its_step() -> None:
    with pytest.raises(Nonconformance) as caught:
        check_plugin(FAULTY, options={"well_scored": {"least": 0.5}})
    report = caught.value.report
    found = {failure.of: (failure.check, failure.said) for failure in reversed(report.failures)}
    missed = {
        step: found.get(step, "nothing")
        for step, (check, said) in EXPECTED.items()
        if step not in found or found[step][0] != check or said not in found[step][1]
    }
    assert missed == {}
    assert set(found) == set(EXPECTED), "a sound step was found faulty"
    lines = str(caught.value).splitlines()
    assert len(lines) == len(report.failures)
    assert "hides_an_option: docstring: nothing is said about the options leniency" in lines
    everything = {
        "docstring", "options", "pickling", "hostile input", "empty dataset", "ids", "parents", "nothing vanishes",
        "reasons", "state", "same bytes in another process", "same bytes with local:2",
    }  # fmt: skip
    for step in ("shout", "short_ones", "lines", "well_scored", "longest"):
        assert set(report.passed[step]) >= everything | {"resume"}, step
    assert "input unchanged" in report.passed["lines"]
    assert set(report.passed["numbered"]) >= everything
    assert [one.check for one in report.unchecked if one.of == "numbered"] == ["resume"]


@factory.step
def without_blanks(record: Text, form: str = "strip") -> Text:
    """Take blanks off a text.

    form  of the result: strip, or keep
    """
    if record["text"] == "from the caller":
        raise RuntimeError("the caller's record came through")
    return {**record, "text": record["text"].strip() if form == "strip" else record["text"]}


def test_a_step_of_a_test_module_is_checked_alone() -> None:
    report = check_step(without_blanks)
    assert list(report.passed) == ["without_blanks"]
    assert report.unchecked == []
    assert report.seconds["without_blanks"] > 0
    with pytest.raises(Nonconformance, match=r"without_blanks: hostile input: .*the caller's record came through"):
        check_step(without_blanks, records=[{"text": "from the caller"}])
    with pytest.raises(InputError, match="must be what JSON can say"):
        check_step(without_blanks, options={"form": object()})


def test_a_step_that_no_other_process_can_find() -> None:
    @factory.step
    def inner(record: Text) -> bool:
        """Keep everything."""
        return True

    with pytest.raises(Nonconformance, match="inner: pickling: no other process can find it; define it at the top"):
        check_step(inner)


@factory.step
def answered(records: Iterator[Text], ctx: Context, model: CausalLM) -> Iterator[PromptCompletion]:
    """Ask the model about each text."""
    requests = (Request(factory.user(record["text"]), about=record) for record in records)
    for answer in ctx.ask(model, requests):
        assert answer.request is not None
        if answer.finish == "length":
            ctx.drop(answer.request.about, "cut off")
        else:
            prompt, said = factory.user(answer.request.about["text"]), factory.assistant(answer.text)
            yield factory.derive(answer.request.about, prompt=prompt, completion=said)


@pytest.mark.slow
def test_a_step_that_asks_is_checked_as_far_as_there_is_a_model() -> None:
    report = check_step(answered)
    assert [str(one) for one in report.unchecked] == [
        "answered: everything that runs it: it needs a CausalLM; pass references={'answered': {'model': …}}"
    ]
    assert set(report.passed["answered"]) == {"docstring", "options", "pickling"}
    report = check_step(answered, references={"model": "kit:echo"})
    assert "same bytes in another process" in report.passed["answered"]


@factory.step
def never_ends(record: Text) -> bool:
    """Wait for a day that does not come."""
    time.sleep(3600)
    return True


@pytest.mark.slow
def test_a_step_that_never_ends() -> None:
    with pytest.raises(Nonconformance, match=r"never_ends: hostile input: it took more than 15 s"):
        check_step(never_ends, patience=15)


def test_tables_that_name_no_step() -> None:
    with pytest.raises(InputError, match=r"options: .* brings no step 'no_refusal'; did you mean 'no_refusals'"):
        check_plugin(HERE.parents[1] / "plugins" / "no_refusals.py", options={"no_refusal": {}})
    with pytest.raises(InputError, match=r"there is no plugin file 'nothing\.py'"):
        check_plugin("nothing.py")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text(SOURCES)
    folder = tmp_path / "samples"
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}.letters").write_text(f"{name}\n{name * 2}\n")
    return folder


SOURCES = '''
"""Sources that each break one law."""

import os

import factory
from factory import Drop, Piece, Row, Source, Text, place_of, project_path, project_root


class Broken(Source):
    kind = Text

    def pieces(self):
        paths = sorted(project_root().glob("*.letters"))
        if self.uri == "broken:order":
            paths = [path for _, path in sorted((hash(path.name), path) for path in paths)]
        return [Piece(factory.hash_file(path), (self.place(path),)) for path in paths]

    def place(self, path):
        return str(path) if self.uri == "broken:absolute" else place_of(path)

    def rows(self, piece):
        text = project_path(piece.files[0]).read_bytes()
        if not text and self.uri == "broken:silent":
            return
        if not text:
            yield piece.files[0], Drop("empty file")
        try:
            lines = text.decode().splitlines()
        except UnicodeDecodeError:
            if self.uri == "broken:noise":
                raise
            yield piece.files[0], Drop("broken utf-8")
            return
        for number, line in enumerate(lines, 1):
            place = line if self.uri == "broken:place" else f"{piece.files[0]}#{number}"
            yield place, {"text": line, **({"process": os.getpid()} if self.uri == "broken:process" else {})}


@factory.hookimpl
def open_dataset(uri):
    return Broken(uri) if uri.startswith("broken:") else None
'''


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("order", "same rows in another process: with another PYTHONHASHSEED"),
        ("absolute", "is not relative to the project; use place_of(path)"),
        ("noise", "files overwritten with noise: UnicodeDecodeError"),
        ("place", "the place 'a' is of none of its piece's files"),
        ("process", "same rows in another process: with another PYTHONHASHSEED"),
    ],
)
def test_sources_that_break_a_law(samples: Path, fault: str, sentence: str) -> None:
    with pytest.raises(Nonconformance, match=re.escape(sentence)):
        check_source(f"broken:{fault}", folder=samples, plugin=samples.parent / "plugin.py")


def test_a_source_that_hides_empty_files_and_one_that_does_not(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "files emptied: nothing is told about them; yield (place, Drop('empty file'))"
    with pytest.raises(Nonconformance, match=re.escape(said)):
        check_source("broken:silent", folder=samples, plugin=tmp_path / "plugin.py")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(os.listdir("."))
    report = check_source("broken:none", folder=samples, plugin=tmp_path / "plugin.py")
    assert [one.check for one in report.unchecked] == ["memory"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plugin.py", "samples"]  # nothing is left behind
    assert len(list(samples.iterdir())) == 8
    assert sorted(os.listdir(".")) == before
