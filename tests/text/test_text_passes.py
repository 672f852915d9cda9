"""Quick passes find what the single ones find; parts, lines and windows are counted as plain Python counts them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.text import counts, parts, passes, repeats, segments, sequences, splits
from factory.text.column import TextColumn

ODD = "aZ09 'ʼ’_ßİŉ\u0345\u0301\u200d中かภาไย한न.#…\n\n\t\r\u00a0\u3000\u2028\U00020000🙂Ǆ."
TEXTS = st.lists(st.text(st.sampled_from(ODD)) | st.text(st.characters(exclude_categories=["Cs"])), max_size=4)
LONG = st.lists(st.text(st.sampled_from("ab \n"), max_size=40), max_size=4)
compiled = settings(deadline=None)


def column(texts: list[str]) -> TextColumn:
    return TextColumn(pa.array(texts, pa.string()))


@compiled
@given(TEXTS | LONG)
@example(
    [
        "0'İ0",
        "a'ẖ5",
        "don't5",
        "l’eau",
        "a'b'5'c",
        "中'a",
        "e\u0301'a\u0301b5'c",
        "'a",
        "a'",
        "a' b",
        "....…...",
        ". . #a\n",
    ]
)
def test_quick_passes_find_what_the_single_ones_find(texts: list[str]) -> None:
    found, expected = column(texts), column(texts)
    words, symbols = passes.words_of(found)
    for name in ("rows", "hash", "chars"):
        assert np.array_equal(getattr(words, name), getattr(expected.words, name))
    for quick, single in zip(symbols, counts.symbols(expected.texts), strict=True):
        assert np.array_equal(quick, single)
    lines = passes.lines_of(found)
    for name in ("rows", "start", "end", "chars"):
        assert np.array_equal(getattr(lines, name), getattr(expected.lines, name))
    same = dict(zip(lines.hash.tolist(), expected.lines.hash.tolist(), strict=True))
    assert len(same) == len(set(same.values())) == len(set(expected.lines.hash.tolist()))


def test_passes_are_made_once_for_a_column() -> None:
    found = column(["one two"])
    assert passes.words_of(found) is passes.words_of(found)
    assert passes.lines_of(found) is passes.lines_of(found)
    assert passes.symbols_of(found) is passes.words_of(found)[1]


def test_slices_are_read_in_place() -> None:
    whole = pa.array(["no", "one\ntwo", "", "three 中"], pa.string())
    found = TextColumn(whole.slice(1, 3))
    assert np.diff(passes.lines_of(found).rows).tolist() == [2, 0, 1]
    assert np.diff(passes.words_of(found)[0].rows).tolist() == [2, 0, 2]
    assert splits.split(found.texts).chars.tolist() == [3, 3, 0, 7]


@compiled
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "ccc", "", "a "]), max_size=12), max_size=3))
def test_repeats_are_those_of_a_counter(rows: list[list[str]]) -> None:
    texts = column(["\n".join(row) for row in rows])
    found = splits.split(texts.texts)
    told = repeats.repeats(found.rows, found.hash, found.chars)
    for at, row in enumerate(rows):
        pieces = "\n".join(row).split("\n")
        many = Counter(pieces)
        every = [piece for piece in pieces if many[piece] > 1]
        later = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
        assert [int(numbers[at]) for numbers in told] == [
            len(pieces), sum(map(len, pieces)), len(later), sum(map(len, later)), len(every), sum(map(len, every))
        ]  # fmt: skip


@compiled
@given(st.lists(st.text(st.sampled_from("ab1! "), max_size=30), max_size=3), st.integers(1, 4))
def test_windows_are_counted(texts: list[str], n: int) -> None:
    found = sequences.char_windows(column(texts).texts, n)
    for at, text in enumerate(texts):
        many = Counter(text[start : start + n] for start in range(len(text) - n + 1))
        again = sorted(count for count in many.values() if count > 1)
        most = min(int(len(many) ** 0.5), len(again))
        assert found.total[at] == many.total()
        assert found.repeated[at] == sum(again)
        assert found.commonest[at] == sum(again[len(again) - most :])


def test_bare_words_have_nothing_special_at_their_ends() -> None:
    texts = column(["(hello) 42 it's, --x-- 中文。", "...", ""])
    found, data = sequences.bare(texts.texts, texts.blank_words), bytes(texts.texts.data)
    spans = zip(found.start.tolist(), found.end.tolist(), strict=True)
    assert [data[a:b].decode() for a, b in spans] == ["hello", "it's", "x", "中文"]
    assert found.rows.tolist() == [0, 4, 4, 4]
    assert found.chars.tolist() == [5, 4, 1, 2]


def test_phrases_are_found_word_by_word() -> None:
    texts, phrases = column(["a b a b c", "b a", "坏词 好 坏词", ""]), column(["a b", "c", "坏词", ""])
    assert sequences.phrase_counts(texts.words, phrases.words).tolist() == [3, 0, 2, 0]


def test_lines_are_known_by_their_ends() -> None:
    texts = column(["• one...\n- two\nthree READ More", "", "…"])
    lines = splits.split(texts.texts)
    ends = parts.marks(texts.texts, lines, "•-", ("...", "…", "read more"))
    assert (ends.opening.tolist(), ends.closing.tolist()) == ([2, 0, 0], [2, 0, 1])
    assert parts.ending_in(texts.texts, lines, "e.…").tolist() == [2, 0, 1]
    assert counts.longest(lines.rows, lines.chars).tolist() == [15, 0, 1]
    assert counts.medians(lines.rows, lines.chars).tolist() == [8.0, 0.0, 1.0]
    assert parts.count_of(texts.texts, "..").tolist() == [1, 0, 0]


def test_a_megabyte_in_one_line_is_read_once() -> None:
    """Runs of one mark, and words without end, would show a kernel that looks back or ahead from each of them."""
    hostile = [one * 1_000_000 for one in ("a", "-", ".", "1-", "'", "中", "[", '."', "a.", "//:")]
    texts = column(hostile)
    assert len(passes.words_of(texts)[0].rows) == len(hostile) + 1
    assert len(passes.lines_of(texts).start) == len(hostile)
    assert segments.lines(texts.texts).chars.tolist() == [len(one) for one in hostile]
