"""The page of a build: whole, self-contained, escaped, and true to what the stages left."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

import factory
from factory import report
from factory.report import page, samples

NOW = datetime(2025, 11, 21, 16, 30, tzinfo=UTC)
VOID = {"meta", "br", "hr"}


def tally(step: str, number: int) -> dict[str, Any]:
    """A funnel entry of a step that keeps everything."""
    return {"step": step, "in": number, "out": number, "made": 0, "parted": 0, "reasons": {}}


class Reader(HTMLParser):
    """Reads a page strictly: every element closed in order, attributes and text collected."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            self.attributes.append((tag, key, value or ""))
            if key == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def check(markup: str) -> Reader:
    """What must hold for every page."""
    reader = Reader(markup)
    for tag, key, value in reader.attributes:
        assert tag not in ("script", "link", "iframe", "object", "img")
        assert not key.startswith("on"), (tag, key)
        if key in ("href", "src", "action", "xlink:href"):
            assert value.startswith("#"), (tag, key, value)
            assert value[1:] in reader.ids or tag == "use", value
        assert "url(http" not in value
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", markup, re.DOTALL)[1])  # type: ignore[index]
    for picture in re.findall(r"<svg\b.*?</svg>", markup, re.DOTALL):
        ElementTree.fromstring(picture)
    return reader


def test_the_quickstarts_page_says_everything(making: Any) -> None:
    making.fill_quickstart()
    report.after_build(plan=making.plan, error=None)
    path = making.plan.folder / "report.html"
    markup = path.read_text(encoding="utf-8")
    reader = check(markup)
    text = " ".join(reader.text)
    assert path.stat().st_size < 200_000
    for name in making.plan.recipe.targets:
        assert f'id="{page.anchor(name)}"' in markup
        assert f"<h2>{name}</h2>" in markup
    wanted = ["complete", "8 of 8", "9,812 records", "too few words", "1,604", "−6.51 (−43.9 %)", "loss", "CausalLM"]
    wanted += ["Three answers, before and after", "recipes/stdlib_tutor.yaml", "min_words: 20"]
    for words in wanted:
        assert words in text, words
    assert [p.name for p in making.plan.folder.iterdir() if p.name.startswith(".")] == []


def test_a_failed_build_says_the_sentence_and_what_is_missing(making: Any) -> None:
    making.fill_corpus()
    making.target("tutor", ["corpus"], ["sft"], factory.CausalLM)
    error = factory.StepError("sft failed on record 7 from <data>/x.jsonl#3: ValueError: no & never")
    markup = page.draw_page(making.plan, error, NOW)
    text = " ".join(check(markup).text)
    assert 'class="state failed">failed' in markup
    assert str(error) in text
    assert "Not built yet." in text
    assert "1 of 2" in text


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "complete"),
        (factory.Pending("12 of 30 votes missing"), "pending"),
        (KeyboardInterrupt(), "interrupted"),
        (ValueError(), "failed"),
    ],
)
def test_states(making: Any, error: BaseException | None, state: str) -> None:
    making.fill_corpus()
    markup = page.draw_page(making.plan, error, NOW)
    check(markup)
    assert f"<title>stdlib_tutor: {state}</title>" in markup


def test_nothing_planned_and_nothing_built(making: Any) -> None:
    check(page.draw_page(making.plan, None, NOW))
    making.target("corpus", ["docs/*.md"], ["normalize"])
    making.plan.stages.clear()  # another target was asked for
    markup = page.draw_page(making.plan, None, NOW)
    check(markup)
    assert "Not part of this build." in markup


def test_torn_files_do_not_stop_the_page(making: Any) -> None:
    stage = making.fill_tutor()
    (stage.folder / "sections.json").write_text('[{"title": "cut of')
    (stage.folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    (making.plan.folder / "timings.json").write_text("")
    text = " ".join(check(page.draw_page(making.plan, None, NOW)).text)
    assert "loss" in text


NASTY = "</p><script>alert(1)</script><img src=x onerror=alert(2)> \"'&\x00\x08\ufffe \u202e<svg/onload=alert(3)>"


def test_record_text_is_only_text(making: Any) -> None:
    calls = [SimpleNamespace(step="keep<b>", options={"word<i>": NASTY})]
    stage = making.target("nasty", [f"./{NASTY}.jsonl"], calls, factory.PromptCompletion)
    messages = [{"role": NASTY, "content": NASTY}]
    records = [{"id": NASTY, "parents": [NASTY], "prompt": messages, "completion": messages, "meta": {NASTY: NASTY}}]
    dropped = [{"id": NASTY, "step": NASTY, "reason": NASTY, "details": {NASTY: NASTY}, "record": {NASTY: NASTY}}]
    funnel = [{"step": NASTY, "in": 2, "out": 1, "made": 0, "parted": 0, "reasons": {NASTY: 1}}]
    making.build(stage, records, funnel, dropped)
    (stage.folder / "sections.json").write_text(
        json.dumps([{"title": NASTY, "body": NASTY}, {"title": "x", "body": f"| a |\n|---|\n| {NASTY} |\n\n- {NASTY}"}])
    )
    (stage.folder / "metrics.jsonl").write_text(json.dumps({"step": 1, NASTY: 1.0}) + "\n")
    making.plan.recipe.name = "x"
    markup = page.draw_page(making.plan, factory.StepError(NASTY), NOW)
    reader = check(markup)
    assert "<script" not in markup
    assert "<img" not in markup
    assert "\x00" not in markup
    assert any("alert(1)" in text for text in reader.text)


def test_record_types_show_as_what_they_are(making: Any) -> None:
    ask, good, bad = factory.user("Which?"), factory.assistant("This."), factory.assistant("That.")
    rows = {
        "preference": (factory.Preference, {"prompt": ask, "chosen": good, "rejected": bad}),
        "candidates": (factory.Candidates, {"prompt": ask, "completions": [good, bad], "scores": [0.75, 0.25]}),
        "choice": (factory.Choice, {"prompt": ask, "choices": ["one", "two"], "answer": 1}),
        "text": (factory.Text, {"text": "   "}),
    }
    for name, (kind, fields) in rows.items():
        stage = making.target(name, ["x"], ["take"], kind)
        making.build(stage, [{"id": name, "parents": ["x#1"], **fields}], [tally("take", 1)])
    markup = page.draw_page(making.plan, None, NOW)
    text = " ".join(check(markup).text)
    assert "chosen · assistant" in text
    assert "answer 1 · score 0.75" in text
    assert '<li class="right"><p>two</p></li>' in markup
    assert "empty" in text


def test_samples_read_only_the_beginning(making: Any) -> None:
    stage = making.target("long", ["x"], ["take"])
    records = [{"id": str(n), "parents": [], "text": f"text {n}"} for n in range(9_000)]
    making.build(stage, records, [tally("take", 9_000)])
    found = page.look(making.plan)[0]
    assert [record["id"] for record in samples.kept_records(found)] == ["0", "80", "160"]


def test_dropped_samples_are_two_of_each_of_the_top_reasons(making: Any) -> None:
    making.fill_corpus()
    founds = page.look(making.plan)
    rows = samples.dropped_records(founds, [("gopher_quality", "too few words"), ("language", "other language")])
    assert [[row["id"] for row in found] for found in rows.values()] == [["d0", "d1"], ["d3", "d4"]]
    assert samples.dropped(founds).count('class="card gone"') == 6


def test_the_page_is_replaced_whole(making: Any, tmp_path: Path) -> None:
    making.fill_corpus()
    path = page.write_page(making.plan, factory.StepError("first"), NOW)
    before = path.stat().st_ino
    page.write_page(making.plan, None, NOW)
    assert path.stat().st_ino != before
    assert "first" not in path.read_text()


def test_anchors_of_different_names_differ() -> None:
    names = ["a_b", "a-b", "a/b", "a b", "A", "a", "a.b", "ä"]
    assert len({page.anchor(name) for name in names}) == len(names)
