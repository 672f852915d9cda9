"""A second tokenizer's pieces in a base of its own kind and of every other: reachable, in its order, none twice."""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from factory import StepError
from factory.vocabulary import gates
from factory.vocabulary.pieces import pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, changed, grown, plain_wordpiece, sentences, texts_of, tokens, written_in
from kinds import byte_level, sentencepiece, unigram

SCRIPTS = ["Han", "Cyrillic"]
HAN, CYRILLIC = (sentences(script, 200) for script in SCRIPTS)


@cache
def second(kind: str) -> Any:
    lines = [*HAN, *CYRILLIC, *ENGLISH[:30]]
    if kind == "sentencepiece":  # of Llama 2's kind, but trained on the other scripts
        made = sentencepiece(ENGLISH, 280)
        return grown(made, lines, 150, SCRIPTS).tokenizer
    if kind == "wordpiece":
        return grown(plain_wordpiece(), lines, 150, SCRIPTS).tokenizer
    return {"byte_level": byte_level, "unigram": unigram}[kind](lines, {"byte_level": 600, "unigram": 200}[kind])


KINDS = ["byte_level", "sentencepiece", "wordpiece", "unigram"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MAKERS)
def test_all_are_reachable_and_in_their_order(name: str, kind: str) -> None:
    before, other = base(name), pieces_of(second(kind))
    found = grown(before, [], scripts=SCRIPTS, second=second(kind))
    new = range(found.first, found.first + len(found.added))
    assert len(new) > 50
    assert gates.unreachable(found.tokenizer, new) == []
    assert found.tokenizer.get_vocab_size() == before.get_vocab_size() + len(new)
    assert len({one.piece for one in found.added} - set(pieces_of(before).vocabulary)) == len(new)
    texts = texts_of(found)
    assert [text for text in texts if not written_in(text, SCRIPTS)] == []
    order = {text: at for at in sorted(other.names, reverse=True) if (text := other.text_of(at))}
    places = [order[text] for text in texts if text in order]
    if name.startswith("unigram") and kind != "wordpiece":  # BPE adds what it takes to get to a piece
        assert len(places) == len(texts)
        assert places == sorted(places)
    if (name, kind) == ("wordpiece", "wordpiece"):
        assert [one.piece for one in found.added] == [other.names[at] for at in sorted(other.names)][-len(new) :]
    assert len(places) > 30
    lines = sentences("Han", 40, 5) + sentences("Cyrillic", 40, 5)
    assert gates.broken_round_trips(found.tokenizer, lines) == []
    if name not in ("wordpiece", "unigram"):  # these cut what they do not know into one token
        assert tokens(found.tokenizer, lines) < 0.6 * tokens(before, lines)
    assert gates.drifted(before, found.tokenizer, [*ENGLISH, " あ ❤️ Ω × ฿"]) == []


@pytest.mark.parametrize("name", ["gpt2", "llama3", "unigram_bytes"])
def test_words_that_the_second_has_are_tokens_of_the_base(name: str) -> None:
    for kind in KINDS:
        found = grown(base(name), [], scripts=SCRIPTS, second=second(kind))
        texts = set(texts_of(found))
        lacking = {text for at in pieces_of(second(kind)).names if (text := pieces_of(second(kind)).text_of(at))}
        words = {" вопрос", " модель"} if kind != "wordpiece" else {" и", " на"}
        assert {one for one in words if one in lacking or one.strip() in lacking} <= texts
        assert {"世界", "中文"} <= texts or kind == "unigram"
        assert not any("#" in text for text in texts)


@pytest.mark.parametrize("name", MAKERS)
def test_with_a_number_it_is_the_first_so_many(name: str) -> None:
    every = grown(base(name), [], scripts=["Han"], second=second("sentencepiece"))
    some = grown(base(name), [], 30, ["Han"], second=second("sentencepiece"))
    assert 28 <= len(some.added) <= 30 if name in ("gpt2", "llama3", "qwen") else len(some.added) == 30
    if name not in ("gpt2", "llama3", "qwen"):
        assert [one.piece for one in some.added] == [one.piece for one in every.added[:30]]


@pytest.mark.parametrize("name", MAKERS)
def test_a_tokenizer_that_has_nothing_new_is_refused(name: str) -> None:
    said = (
        r"^extend_vocabulary: the tokenizer to merge has no piece of these scripts that the base lacks and can reach$"
    )
    with pytest.raises(StepError, match=said):
        grown(base(name), [], scripts=["Han"], second=base(name))
    with pytest.raises(StepError, match=said):
        grown(base(name), [], scripts=["Thai"], second=second("byte_level"))


def test_pieces_over_what_the_base_cuts_apart_are_left_out() -> None:
    from tokenizers import pre_tokenizers

    def uncut(found: dict[str, Any]) -> None:
        found["pre_tokenizer"] = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        }

    lines = ["中文。世界，" * 3 for _ in range(20)]
    whole = changed(byte_level(ENGLISH, 300), uncut)
    other = grown(whole, lines, 15, ["Han"])
    assert any("。" in text and len(text) > 1 for text in texts_of(other))
    found = grown(base("gpt2"), [], scripts=["Han"], second=other.tokenizer)
    assert gates.unreachable(found.tokenizer, range(found.first, found.first + len(found.added))) == []
    assert {"中文", "世界", "。"} <= set(texts_of(found))
    assert isinstance(base("gpt2").pre_tokenizer, pre_tokenizers.ByteLevel)


def test_likely_pieces_of_a_unigram_stay_likelier() -> None:
    found = grown(base("unigram"), [], scripts=SCRIPTS, second=second("unigram"))
    given = dict(pieces_of(second("unigram")).model["vocab"])
    own = [score for _, score in pieces_of(base("unigram")).model["vocab"]]
    scores = [one.score for one in found.added]
    assert min(own) <= min(scores) < max(scores)
    likelier = sorted(found.added, key=lambda one: given[one.piece])
    assert all(one.score <= other.score for one, other in pairwise(likelier))
