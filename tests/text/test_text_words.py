"""Words, n-grams and shingles per script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.text import words as module
from factory.text.words import is_unspaced, ngrams, shingles, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP", ["don't", "stop"]),
        ("l’eau d'été", ["l'eau", "d'été"]),
        ("snake_case os.path 3.14", ["snake", "case", "os", "path", "3", "14"]),
        ("'quoted' dogs'", ["quoted", "dogs"]),
        ("Straße", ["strasse"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("U\u0308ber", ["u\u0308ber"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("中文，Python3！", ["中", "文", "python3"]),
        ("ラーメン", ["ラ", "ー", "メ", "ン"]),
        ("น้ำไทย", ["น้", "ำ", "ไ", "ท", "ย"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
        ("𠀋 — …", ["𠀋"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_ascii_pattern_agrees_with_the_general_one(text):
    assert words(text) == module._WORDS.findall(text.casefold())


@given(st.text())
def test_every_letter_and_digit_is_in_some_word(text):
    kept = "".join(words(text))
    assert all(c in kept for c in text.casefold() if c.isalpha() or c.isdecimal())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("这是中文", True),
        ("ภาษาไทย", True),
        ("hello world", False),
        ("", False),
        ("한국어", False),
        ("the word 道 means way", False),
    ],
)
def test_is_unspaced(text, expected):
    assert is_unspaced(text) is expected


def test_ngrams():
    assert ngrams([1, 2, 3], 2) == [(1, 2), (2, 3)]
    assert ngrams([1], 2) == []


def test_shingles_of_spaced_and_unspaced_text():
    assert shingles("One two, three!", 2) == {"one two", "two three"}
    assert shingles("你好 世界", 2) == {"你好", "好世", "世界"}


def test_short_texts_keep_apart():
    assert shingles("Yes.") == {"yes"}
    assert shingles("你") == {"你"}
    assert shingles("?!") == {"?!"}
    assert shingles(" \n") == set()


@given(st.text(), st.integers(1, 6))
def test_only_whitespace_has_no_shingles(text, n):
    assert bool(shingles(text, n)) == bool(text.split())
