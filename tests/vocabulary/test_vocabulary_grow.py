"""Pieces added to each kind of tokenizer: as many as asked for, of use, of the script alone; nothing else moved."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import StepError
from factory.vocabulary import gates
from factory.vocabulary.alphabets import allowed
from factory.vocabulary.families import LETTERS
from factory.vocabulary.growing import Grown
from factory.vocabulary.pieces import pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, changed, grown, sentences, texts_of, tokens, written_in


def mixed(script: str) -> list[str]:
    both = zip(ENGLISH[:20], sentences(script, 20, 1), strict=True)
    return [*ENGLISH[:40], *sentences(script), *(f"{english} {other}" for english, other in both)]


CORPUS = {script: mixed(script) for script in ("Han", "Cyrillic")}
BOTH = [(name, script) for name in MAKERS for script in CORPUS]


@cache
def extended(name: str, script: str) -> Grown:
    return grown(base(name), CORPUS[script], 60, [script])


@pytest.mark.parametrize(("name", "script"), BOTH)
def test_as_many_as_asked_for_are_added_and_each_is_of_use(name: str, script: str) -> None:
    before, found = base(name), extended(name, script)
    assert len(found.added) == 60
    assert found.first == before.get_vocab_size()
    assert found.tokenizer.get_vocab_size() == before.get_vocab_size() + 60
    assert len({one.piece for one in found.added}) == 60
    assert {found.tokenizer.token_to_id(one.piece) for one in found.added} == set(range(found.first, found.first + 60))
    assert gates.unreachable(found.tokenizer, range(found.first, found.first + 60)) == []
    assert gates.broken_round_trips(found.tokenizer, CORPUS[script]) == []
    of_script = sentences(script, 50, 2)
    assert tokens(found.tokenizer, of_script) < tokens(before, of_script) or name in ("wordpiece", "unigram")
    assert all(before.id_to_token(at) == found.tokenizer.id_to_token(at) for at in range(found.first))


@pytest.mark.parametrize(("name", "script"), BOTH)
def test_new_pieces_are_of_the_script_alone(name: str, script: str) -> None:
    found = texts_of(extended(name, script))
    assert len(found) > 30
    assert [text for text in found if not written_in(text, [script]) or not text.strip()] == []
    if script == "Cyrillic" and name != "wordpiece":
        assert any(text.startswith(" ") for text in found)


# Characters whose UTF-8 begins as that of Chinese or Cyrillic ones does, and what normalisers make others of
NEAR = "䷀䷿\u2e7fあンー한\ufe0f❤️﷼¤ΐ҅Ӂ\u0300é\u0301\u212b｀\u1fef☃🙂ԱքΩ"
TYPED = st.one_of(
    st.sampled_from(NEAR),
    st.sampled_from(" \n\t\xa0\u3000.,!'s123abcXYZ"),
    st.characters(exclude_categories=["Cs", "Cn"]),
    st.sampled_from("世界中文我们。，мирслово"),
)


@pytest.mark.parametrize(("name", "script"), BOTH)
@given(text=st.lists(st.one_of(TYPED, st.sampled_from(ENGLISH)), max_size=12).map("".join))
@example(text=" ䷀ ❤️ ︎ あ あああ　x")
@example(text="Ω ΐ ҂ ` ``")
def test_text_without_the_script_is_cut_as_before(name: str, script: str, text: str) -> None:
    before, found = base(name), extended(name, script)
    normalised = before.normalizer.normalize_str(text) if before.normalizer is not None else text
    if not allowed([script])[[ord(one) for one in text + normalised]].any():
        assert before.encode(text).ids == found.tokenizer.encode(text).ids
    assert gates.broken_round_trips(found.tokenizer, [text]) == []


@pytest.mark.parametrize("name", MAKERS)
def test_without_scripts_no_piece_goes_over_a_blank(name: str) -> None:
    lines = [line.replace(" ", blank, 1) for line in ENGLISH for blank in (" ", "\n", "\t", "\xa0", "\u3000", "  ")]
    found = grown(base(name), [*lines, *CORPUS["Cyrillic"]], 80)
    assert len(found.added) == 80
    texts = texts_of(found)
    assert [text for text in texts if any(one.isspace() for one in text.removeprefix(" "))] == []
    assert gates.unreachable(found.tokenizer, range(found.first, found.first + 80)) == []


def test_characters_that_normalise_to_others_do_not_teach_these() -> None:
    from tokenizers import Tokenizer, normalizers

    folding = Tokenizer.from_str(base("gpt2").to_str())
    folding.normalizer = normalizers.NFKC()
    wide = ["ＡＢＣＡＢＣ ＱＱＱＱ"] * 30
    found = grown(folding, [*wide, *sentences("Han")], 60, ["Han"])
    assert [text for text in texts_of(found) if not written_in(text, ["Han"])] == []
    assert found.tokenizer.encode("QQQQ ABC").ids == folding.encode("QQQQ ABC").ids


@pytest.mark.parametrize(
    ("script", "words", "other"),
    [
        ("Thai", ["สวัสดี ครับ ภาษา ไทย", "ภาษา ไทย ฿ ๑๒"], " हिन्दी भाषा  বাংলা এ"),
        ("Devanagari", ["नमस्ते दुनिया भाषा।", "भाषा हिन्दी है।"], " ภาษา ไทย বাংলা এ ਅ"),
        ("Hiragana", ["これ は ひらがな です", "ひらがな も こちら"], " カタカナ ム 中 文"),
        ("Han", ["中文 ， 。 世界 ︰ 《书》"], " カナ あ ❤️ ☃️ ䷀ ﷼ 한국"),
        ("Hangul", ["한국어 말뭉치 한국 말"], " あ ꙮ ꦀ ﷼ ꫠ"),
        ("Latin", ["tiếng Việt là ngôn ngữ", "đẹp quá é à ü"], " × ÷ ₫ · ™ ™™"),
    ],
)
def test_scripts_that_share_first_bytes_are_not_moved(script: str, words: list[str], other: str) -> None:
    before = base("gpt2")
    found = grown(before, words * 20, 15, [script], min_frequency=1)
    assert len(found.added) == 15
    assert not allowed([script])[[ord(one) for one in other]].any()
    for start in range(len(other)):
        assert found.tokenizer.encode(other[start:]).ids == before.encode(other[start:]).ids


def test_signs_written_within_a_script_belong_to_it() -> None:
    assert written_in("コンピューター・ア", ["Katakana"])
    assert written_in("है।", ["Devanagari"])
    assert not written_in("a·b", ["Han"])
    assert not any(allowed(["Han"])[ord(one)] for one in "a1 .·あア\ufe0f🙂")
    assert all(allowed(["Han"])[ord(one)] for one in "中，。「」：！")


def test_added_tokens_above_the_vocabulary_keep_their_ids() -> None:
    for name in MAKERS:
        before = base(name).from_str(base(name).to_str())
        before.add_special_tokens(["<|tool|>", "<|end|>"])
        before.add_tokens(["</think>"])
        size = before.get_vocab_size()
        found = grown(before, CORPUS["Han"], 30, ["Han"])
        assert found.first == size, name
        after = found.tokenizer
        assert [after.token_to_id(one) for one in ("<|tool|>", "<|end|>", "</think>")] == [size - 3, size - 2, size - 1]
        assert after.get_vocab_size() == size + 30
        text = "a<|tool|>list</think> <|end|>"
        assert after.encode(text).ids == before.encode(text).ids
        assert after.token_to_id(found.added[0].piece) == size
        assert gates.unreachable(after, range(size, size + 30)) == []
        assert gates.unreachable(after, range(size - 3, size)) == []


def test_the_order_of_texts_is_nothing() -> None:
    for name in MAKERS:
        turned = grown(base(name), CORPUS["Han"][::-1], 60, ["Han"])
        assert turned.definition == extended(name, "Han").definition
        assert pieces_of(turned.tokenizer).names == pieces_of(extended(name, "Han").tokenizer).names


STRANGE = st.one_of(
    st.sampled_from("\x00▅▁\t\n <unk>0x41##\ufeff\u200b\u0301🙂中文мир<s>"), st.characters(exclude_categories=["Cs"])
)


@settings(max_examples=60)
@given(
    name=st.sampled_from(list(MAKERS)),
    texts=st.lists(st.lists(STRANGE, max_size=15).map("".join), min_size=1, max_size=6),
    pieces=st.integers(1, 12),
)
@example(name="unigram", texts=["▅"], pieces=1)
@example(name="unigram", texts=["\x00<<"], pieces=1)
def test_any_text_can_be_learned_from(name: str, texts: list[str], pieces: int) -> None:
    try:
        found = grown(base(name), texts * 3, pieces, min_frequency=1)
    except StepError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert re.match(r"extend_vocabulary: the corpus (gives \d+ pieces|has no character)", refused)
        return
    assert gates.unreachable(found.tokenizer, range(found.first, found.first + pieces)) == []
    assert set(gates.broken_round_trips(found.tokenizer, texts)) <= set(gates.broken_round_trips(base(name), texts))


def test_bytes_that_the_base_lacks_are_pieces_and_their_characters_come_back() -> None:
    lacking = [LETTERS[byte] for byte in (0xF1, 0xE6, 0x05)]

    def forget(found: dict[str, Any]) -> None:
        for letter in lacking:
            del found["model"]["vocab"][letter]

    before = changed(base("gpt2"), forget)
    text = "文本\x05a"
    assert before.decode(before.encode(text).ids) != text
    found = grown(before, CORPUS["Han"], 40, ["Han"])
    assert {one.piece for one in found.added[:3]} == set(lacking)
    assert len(found.added) == 40
    assert found.tokenizer.decode(found.tokenizer.encode(text).ids) == text
    assert gates.broken_round_trips(found.tokenizer, CORPUS["Han"]) == []
    assert gates.drifted(before, found.tokenizer, ENGLISH) == []
    assert tokens(found.tokenizer, sentences("Han", 50)) < 0.5 * tokens(base("gpt2"), sentences("Han", 50))
    one = grown(before, CORPUS["Han"], scripts=["Han"], tokens_per_character=0.8)
    bare = [line for line in CORPUS["Han"] if written_in(line, ["Han"])]
    assert tokens(one.tokenizer, bare) <= 0.8 * sum(map(len, bare))
