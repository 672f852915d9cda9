"""What bounds new pieces: tokens per character, uses, length, frequency, coverage; what is said where there are few."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from factory import InputError, ModelError, StepError
from factory.vocabulary.candidates import base_parts, needed
from factory.vocabulary.growing import definition_with
from factory.vocabulary.pieces import pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, changed, grown, ids, sentences, texts_of, tokens, word_level

HAN, CYRILLIC = (sentences(script, 200) for script in ("Han", "Cyrillic"))
BARE = {"Han": [line.strip("。") for line in HAN], "Cyrillic": [line.strip(".") for line in CYRILLIC]}


@pytest.mark.parametrize("script", BARE)
@pytest.mark.parametrize("name", MAKERS)
def test_tokens_per_character_are_reached_with_no_piece_too_many(name: str, script: str) -> None:
    before, lines = base(name), BARE[script]
    found = grown(before, lines, scripts=[script], tokens_per_character=0.6)
    assert found.after.tokens / found.after.characters <= 0.6
    assert found.after.lost == 0
    assert found.before.characters == found.after.characters == sum(len("".join(line.split())) for line in lines)
    if name in ("gpt2", "llama3", "qwen", "wordpiece"):  # the others write a mark in front of a line
        assert found.after.tokens == tokens(found.tokenizer, lines)
    if name in ("gpt2", "llama3", "qwen"):
        pieces = pieces_of(before)
        fewer = definition_with(pieces, found.family, found.added[:-1], found.first)
        less = changed(before, lambda definition: definition.update(fewer))
        assert tokens(less, lines) / found.after.characters > 0.6
        assert found.before.tokens == tokens(before, lines)


@pytest.mark.parametrize("name", MAKERS)
def test_tokens_per_character_that_cannot_be_had_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"tokens_per_character 0\.01 is not reached; with all \d+ pieces that the "
                                         r"corpus gives there are 0\.\d\d\d"):  # fmt: skip
        grown(base(name), HAN, scripts=["Han"], tokens_per_character=0.01)
    with pytest.raises(InputError, match=r"tokens_per_character 9 is reached without a new piece; the base cuts this "
                                         r"corpus into \d\.\d\d\d"):  # fmt: skip
        grown(base(name), HAN, scripts=["Han"], tokens_per_character=9)


@pytest.mark.parametrize("name", MAKERS)
def test_pieces_that_are_used_too_rarely_go(name: str) -> None:
    before = base(name)
    every = grown(before, CYRILLIC, scripts=["Cyrillic"], tokens_per_character=0.35)
    count = 67 if name == "wordpiece" else 40  # which has most characters twice
    found = grown(before, CYRILLIC, count, ["Cyrillic"], min_uses=12)
    assert len(found.added) == count
    uses: Counter[int] = Counter(token for line in CYRILLIC for token in ids(found.tokenizer, line))
    held = needed(found.added, found.first)
    leaves = [at for at, one in enumerate(found.added) if at not in held and len(one.piece.removeprefix("##")) > 1]
    assert leaves
    assert [found.added[at].piece for at in leaves if uses[found.first + at] < 12] == []  # characters are for coverage
    kept = {one.piece for one in every.added} - {one.piece for one in found.added}
    assert kept  # something went


@pytest.mark.parametrize("name", MAKERS)
def test_bounds_of_pieces(name: str) -> None:
    before = base(name)
    lines = [*CYRILLIC, *["необыкновенно"] * 40, "щщщ эх", *["ъ"] * 3]
    for most in (1, 3, 16):
        found = grown(before, lines, 15 if most == 1 else 70, ["Cyrillic"], max_chars=most)
        longest = max(len(text.removeprefix("##").strip()) for text in texts_of(found))
        assert longest == most or 3 < longest < most == 16
    common = grown(before, lines, 10, ["Cyrillic"], min_frequency=30)
    text = "\n".join(lines)
    for one in texts_of(common):
        assert len(re.findall(re.escape(one.removeprefix("##").strip()), text)) >= 30, one


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("gpt2", "llama3", "qwen")])
def test_coverage_says_how_many_characters_get_a_piece(name: str) -> None:
    lines = [*CYRILLIC, "ѣ"]
    seen = base(name).normalizer.normalize_str(" ".join(lines)) if name == "wordpiece" else " ".join(lines)
    counts = Counter("".join(seen.replace(".", "").split()))
    for share in (0.8, 1.0):
        found = grown(base(name), lines, {0.8: 24, 1.0: 70}[share], ["Cyrillic"], coverage=share, min_frequency=1)
        single = {text.strip() for text in texts_of(found) if len(text.strip().removeprefix("##")) == 1}
        single = {one.removeprefix("##") for one in single} & set(counts)
        covered = sum(counts[one] for one in single)
        rarest = min(counts[one] for one in single)
        assert covered >= share * sum(counts.values())
        assert covered - rarest < share * sum(counts.values())
    assert "ѣ" in single


@pytest.mark.parametrize("name", MAKERS)
def test_more_pieces_than_there_are(name: str) -> None:
    with pytest.raises(StepError) as caught:
        grown(base(name), CYRILLIC[:20], 5000, ["Cyrillic"])
    said = re.fullmatch(
        r"extend_vocabulary: the corpus gives (\d+) pieces that stand 2 times or more"
        r"(?:; (\d+) of them can be reached, are no rarer than min_uses and leave protected text as it is)?"
        r"; 5,000 were asked for\. Ask for fewer, bring more text, or name other scripts",
        str(caught.value),
    )
    assert said
    number = int(said[2] or said[1])
    assert len(grown(base(name), CYRILLIC[:20], number, ["Cyrillic"]).added) == number


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("texts", [[], [""], ENGLISH, [" \n\t"]])
def test_a_corpus_without_the_script(name: str, texts: list[str]) -> None:
    for asked in ({"pieces": 5}, {"tokens_per_character": 0.5}):
        with pytest.raises(StepError, match=r"^extend_vocabulary: the corpus has no character of these scripts\. Bring "
                                            r"other text, or name other scripts$"):  # fmt: skip
            grown(base(name), texts, scripts=["Han"], **asked)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Hann"], "there is no script 'Hann'; did you mean 'Han'?"),
        (["Han", "Cyrilic"], "there is no script 'Cyrilic'; did you mean 'Cyrillic'?"),
        (["latin1"], "there is no script 'latin1'; did you mean 'Latin'?"),
    ],
)
def test_an_unknown_script(names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        grown(base("gpt2"), HAN, 5, names)


def with_end_of_word() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE(vocab={"a</w>": 0, "a": 1}, merges=[], end_of_word_suffix="</w>"))


def of_characters() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (word_level, "WordLevel"),
        (with_end_of_word, "BPE that marks words with '</w>'"),
        (of_characters, "BPE over characters without byte fallback"),
    ],
)
def test_kinds_of_tokenizers_that_have_no_way_to_grow(make: Any, found: str) -> None:
    said = f"base: its tokenizer is {found}; expected byte-level BPE, BPE with byte fallback, Unigram or WordPiece"
    with pytest.raises(ModelError, match=f"^{re.escape(said)}$"):
        grown(make(), HAN, 5)


@pytest.mark.parametrize("name", MAKERS)
def test_each_piece_says_which_tokens_it_replaces(name: str) -> None:
    before = base(name)
    found = grown(before, CYRILLIC, 60, ["Cyrillic"])
    pieces = pieces_of(before)
    for one, parts in zip(found.added, base_parts(found.added, found.first), strict=True):
        assert parts
        assert max(parts) < found.first
        if pieces.unknown not in parts:
            spelled = b"".join(pieces.bytes_of(part) for part in parts)
            at = found.tokenizer.token_to_id(one.piece)
            assert spelled == pieces_of(found.tokenizer).bytes_of(at)


def test_more_unigram_pieces_are_never_worse() -> None:
    """Characters alone, of a large alphabet, may not take all the room when some of what is proposed has to go."""
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 300)]
    rng = random.Random(2)
    words = ["".join(rng.choices(letters, k=2)) for _ in range(60)]
    texts = ["".join(rng.choices(words, k=12)) + "".join(rng.choices(letters, k=2)) for _ in range(200)]
    found = [grown(base("unigram_bytes"), texts, count, ["Han"]) for count in (40, 80, 160)]
    rates = [one.after.tokens for one in found]
    assert rates == sorted(rates, reverse=True)
    assert all(sum(len(piece.piece) > 1 for piece in one.added) >= 10 for one in found)


def test_a_segment_with_a_rare_character_still_teaches() -> None:
    found = grown(base("unigram"), ["中文中文世界"] * 20, 3, ["Han"])
    assert len(found.added) == 3
