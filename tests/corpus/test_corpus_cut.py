"""Long texts cut to a model's length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from factory import InputError, Model
from factory.corpus.mixing.boundaries import parts_words, whole_character
from factory.corpus.mixing.cut import cut, spans, unit_starts
from factory.corpus.mixing.measure import lengths
from factory.text.words import words

TEXTS = st.text("ab ßİ.。!'’/\n\r5春天กำ\u0e31नम\u094d\u0301\u200d👩", max_size=200)


def record(text: str, **meta: Any) -> dict[str, Any]:
    return {"id": "r", "parents": ["a.txt"], "text": text, "meta": meta}


def pieces(text: str, seq_len: int, **options: Any) -> list[str]:
    return [made["text"] for made in cut.function(record(text), seq_len, **options)]


@given(TEXTS, st.integers(1, 30), st.sampled_from(["words", "characters"]))
def test_no_text_is_lost_and_no_part_is_too_long(text: str, seq_len: int, unit: Any) -> None:
    found = pieces(text, seq_len, unit=unit)
    assert "".join(found) == text
    assert "" not in found
    assert max(lengths(found, unit, None), default=0) <= seq_len


@given(TEXTS, st.integers(2, 30), st.sampled_from(["words", "characters"]), st.data())
def test_overlap_repeats_the_end_of_the_part_before(text: str, seq_len: int, unit: Any, data: Any) -> None:
    overlap = data.draw(st.integers(0, seq_len // 2))
    found = list(spans(text, seq_len, overlap, unit))
    covered = 0
    for start, end in found:
        assert start <= covered < end
        assert len(pieces(text[start:covered], seq_len)) <= 1 or unit == "characters"
        assert lengths([text[start:covered]], unit, None)[0] <= overlap
        assert lengths([text[start:end]], unit, None)[0] <= seq_len
        covered = end
    assert covered == len(text)


@given(TEXTS)
def test_words_are_where_they_are_said_to_be(text: str) -> None:
    starts = unit_starts(text, "words", None)
    assert list(starts) == sorted(set(starts)) or "ß" in text or "İ" in text
    assert [words(text[start:])[0] for start in starts if words(text[start:])] == words(text)


@given(TEXTS)
def test_a_cut_between_words_touches_none(text: str) -> None:
    text = text.replace("\u0e31", "")  # a Thai mark on a Latin letter is no word of any language
    for at in range(len(text) + 1):
        if parts_words(text, at):
            assert len(words(text[:at])) + len(words(text[at:])) == len(words(text))


def test_paragraphs_then_sentences_then_words() -> None:
    paragraphs = "One two three four five.\n\nSix seven eight. Nine ten.\n\nEleven."
    assert pieces(paragraphs, 8) == ["One two three four five.\n\n", "Six seven eight. Nine ten.\n\nEleven."]
    assert pieces("One two. Three four five. Six seven eight.", 6) == ["One two. Three four five. ", "Six seven eight."]
    assert pieces("one two three four five", 2) == ["one two ", "three four ", "five"]
    assert pieces("One.\n\n" + "w " * 20, 10)[0] == "One.\n\n" + "w " * 9  # a paragraph's end in the first half
    assert pieces("今天天气很好。我们去公园吧。", 8) == ["今天天气很好。", "我们去公园吧。"]
    assert pieces("abcdefgh", 3, unit="characters") == ["abc", "def", "gh"]
    assert pieces("a/b/c/d e", 2) == ["a/b/", "c/d ", "e"]
    assert pieces("fits", 1) == ["fits"]
    assert pieces("", 1) == []


def test_parts_know_their_number_and_place() -> None:
    made = list(cut.function(record("one two three four five", k=1), 3, overlap=1))
    assert [one["text"] for one in made] == ["one two three ", "three four five"]
    assert [one["meta"] for one in made] == [{"k": 1, "part": 1, "start": 0}, {"k": 1, "part": 2, "start": 8}]
    assert {tuple(one["parents"]) for one in made} == {("r",)}


def test_a_character_keeps_its_marks() -> None:
    assert pieces("e\u0301" * 4, 3, unit="characters") == ["e\u0301"] * 4
    assert pieces("नि" * 3, 3, unit="characters") == ["नि"] * 3
    assert whole_character("a👩\u200d👩", 0, 3) == 1
    assert whole_character("a\r\nb", 0, 2) == 1


def test_long_texts_cost_linear_time() -> None:
    for text in ("word " * 80_000, "字" * 100_000, "x" * 400_000, "\n" * 400_000, "a/" * 100_000):
        for unit in ("words", "characters"):
            found = pieces(text, 5000, unit=unit)
            assert sum(map(len, found)) == len(text)


def test_options_out_of_range() -> None:
    with pytest.raises(ValidationError):
        cut.options(seq_len=0)
    with pytest.raises(InputError, match="overlap 3 must be at most half of seq_len 5"):
        pieces("a", 5, overlap=3)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small byte-level BPE, whose tokens cross words and cut characters into bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(["the quick brown fox jumps over the lazy dog. " * 3, "now is the time."], trainer)
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Model(uri="./tokenizer", path=Path(folder))


@pytest.mark.model
@settings(max_examples=25, deadline=None)
@given(st.text("the quick brown.\n\n é春👩", max_size=150), st.integers(8, 30), st.integers(0, 4))
def test_tokens_are_a_models(tokenizer: Model, text: str, seq_len: int, overlap: int) -> None:
    found = pieces(text, seq_len, tokenizer=tokenizer)
    assert "".join(found) == text
    assert max(lengths(found, "words", tokenizer), default=0) <= seq_len
    covered = 0
    for start, end in spans(text, seq_len, overlap, "words", tokenizer):
        assert start <= covered < end
        covered = end
    assert covered == len(text)


@pytest.mark.model
def test_a_character_of_more_tokens_than_fit_stays_whole(tokenizer: Model) -> None:
    assert pieces("👩👩", 1, tokenizer=tokenizer) == ["👩", "👩"]
