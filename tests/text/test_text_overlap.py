"""ROUGE-L and its index, against the definition computed the slow way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from factory.text.overlap import RougeIndex, rouge_l, support
from factory.text.words import rouge_words, words

EXAMPLES = settings.default.max_examples  # fewer in `make check`


def longest_common(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def by_definition(a, b):
    common = longest_common(a, b)
    precision, recall = (common / len(b), common / len(a)) if common else (0.0, 0.0)
    return 2 * precision * recall / (precision + recall) if common else 0.0


tokens = st.lists(st.sampled_from("abcdef"), max_size=12)


@given(tokens, tokens)
def test_rouge_l_is_the_definition(a, b):
    assert rouge_l(a, b) == by_definition(a, b)


def test_rouge_l_sees_every_script():
    assert rouge_l(words("今天天气很好"), words("今天天气不好")) == pytest.approx(10 / 12)
    assert rouge_l(words("Write a poem."), words("write a POEM")) == 1.0


@settings(max_examples=2 * EXAMPLES)  # kernels are compiled in the first example
@given(
    st.lists(tokens, max_size=25),
    st.one_of(st.sampled_from([0.0, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.8, 1.0]), st.floats(0, 1)),
)
def test_the_index_decides_as_comparing_with_all(sequences, threshold):
    index, known = RougeIndex(), []
    for key, sequence in enumerate(sequences):
        scores = [by_definition(sequence, other) for other in known]
        best = max(scores, default=0.0)
        expected = (scores.index(best), best) if best > threshold else None
        assert index.nearest(sequence, threshold) == expected
        index.add(key, sequence)
        known.append(sequence)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=50, max_size=200), max_size=6), st.floats(0.3, 1))
def test_long_sequences_too(sequences, threshold):
    index = RougeIndex()
    for key, sequence in enumerate(sequences):
        scores = [rouge_l(sequence, other) for other in sequences[:key]]
        best = max(scores, default=0.0)
        assert index.nearest(sequence, threshold) == ((scores.index(best), best) if best > threshold else None)
        index.add(key, sequence)


LATIN = st.text(st.sampled_from("aBz09_-'’.,/ \n\téÉßİKﬁø²½e\u0301µª→“"), max_size=40)


@given(LATIN)
def test_tokens_of_latin_text_are_those_of_rouge_score(text):
    assert rouge_words(text) == tokenize(text, None)


@given(LATIN, LATIN)
def test_scores_of_latin_text_are_those_of_rouge_score_to_the_last_bit(first, second):
    expected = RougeScorer(["rougeL"]).score(first, second)["rougeL"].fmeasure
    assert rouge_l(rouge_words(second), rouge_words(first)) == expected


def test_the_last_bit_decides_at_a_threshold_as_it_does_in_rouge_score():
    scorer, seen = RougeScorer(["rougeL"]), set()
    for m, n, common in ((9, 11, 7), (8, 12, 7), (20, 20, 14), (13, 7, 7), (19, 21, 14), (15, 25, 14)):
        first = " ".join(f"w{at}" for at in range(m))
        second = " ".join(f"w{at}" if at < common else f"v{at}" for at in range(n))
        expected = scorer.score(first, second)["rougeL"].fmeasure
        index = RougeIndex()
        index.add("x", rouge_words(first))
        assert index.nearest(rouge_words(second), 0.7) == (("x", expected) if expected > 0.7 else None)
        seen.add(expected > 0.7)
    assert seen == {True, False}  # all are .7 on paper


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("don't stop_it 3.14", ["don", "t", "stop", "it", "3", "14"]),
        ("Größe naïve", ["gr", "e", "na", "ve"]),
        ("用Python排序", ["用", "python", "排", "序"]),
        ("第２章", ["第", "２", "章"]),
        ("Напиши стих о x²", ["напиши", "стих", "о", "x"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_tokens_of_other_scripts_are_words_and_characters(text, tokens):
    assert rouge_words(text) == tokens


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=5, max_size=30), min_size=2, max_size=20), st.randoms())
def test_near_copies_are_found(sequences, random):
    index = RougeIndex()
    for key, sequence in enumerate(sequences):
        index.add(key, sequence)
    edited = list(random.choice(sequences))
    edited[random.randrange(len(edited))] = -1
    scores = [by_definition(edited, other) for other in sequences]
    expected = (scores.index(max(scores)), max(scores)) if max(scores) > 0.7 else None
    assert index.nearest(edited, 0.7) == expected


def test_an_unknown_token_matches_nothing():
    index = RougeIndex()
    index.add("x", ["a", "b"])
    assert index.nearest(["c", "d"], 0.0) is None
    assert index.nearest([], 0.0) is None
    assert len(index) == 1


def test_a_threshold_is_a_share():
    with pytest.raises(ValueError, match="between 0 and 1"):
        RougeIndex().nearest(["a"], 1.2)


def test_support_is_the_share_of_content_words_in_the_source():
    source = "The wren weighs about five grams and feeds on insects."
    assert support("Wrens weigh five grams.", source) == pytest.approx(3 / 4)  # weigh is weighs, wrens not wren
    assert support("It is heavy metal.", source) == 0
    assert support("The wren eats insects.", source, "What does the wren eat?") == pytest.approx(1 / 2)
    assert support("", source) == 1
    assert support("鹪鹩重五克", "鹪鹩大约重五克") == pytest.approx(3 / 4)
