"""Rules decide and measure as plain Python does from their published definitions, in every reading."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import Batch
from factory.corpus.rules.c4 import c4
from factory.corpus.rules.fineweb import shape
from factory.corpus.rules.gopher import STOP_WORDS, quality
from factory.corpus.rules.repetition import repetition
from factory.text.column import TextColumn
from factory.text.tokens import tokens

EXAMPLES = settings.default.max_examples  # fewer in `make check`

compiled = settings(max_examples=3 * EXAMPLES // 2)  # the first call compiles kernels


def beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = beside("reference_rules")
reference_repetition = beside("reference_repetition")
reference_tokens = beside("reference_tokens")

READINGS = ["gopher", "datatrove", "dolma", "dclm", "datamap", "nemo"]
WORDS = [
    "–", "—", "»", "１", "°",
    "the", "The", "and", "to", "of", "x", "dog", "don't", "l’eau", "#", "##", "#a#", "...", "…",
    ". . .", "[...]", "-»", "read more", "• a", "- b", "* c", "⦾", "12", "3.5", "中文", "春天来了。",
    "にほん", "ภาษา", "привет", "Ünï", "e\u0301", "한글", "🙂", "(", ")", "!", "?", "。", "\"", "'", "’",
    "\u00a0", "\u3000", "\r", "{", "[1]", "[edit]", "[citation needed]", "javaScript",
    "cookie policy", "uses cookies", "Terms of Use", "privacy policy", "lorem ipsum", "Dr.", "J.",
    "end.", "end?", "End!", "no...",
]  # fmt: skip
piece = st.sampled_from(WORDS)
line = st.lists(piece | st.just(" "), max_size=9).map(" ".join) | st.lists(piece, max_size=4).map("".join)
text = st.lists(line | st.sampled_from(["", " ", "same line", "same line of six words here."]), max_size=9).map(
    "\n".join
)
repeating = st.lists(st.sampled_from(["a", "b", "cc", "中", "d\n", "\n\n", "E."]), max_size=60).map(" ".join)
anything = text | repeating | st.text(st.sampled_from("aB #.…-•*\n\t 中ก'\"!。{[]3"), max_size=60)

SAMPLE = [
    "",
    " \n ",
    "a",
    "\n\nline\n\n\nline\nother line\n \nline\n",
    "The cat sat on the mat. And the dog, that was to be of use, sat with the cat! \n\n- one...\n- two…\n* three",
    "我们今天去公园散步，看到很多花。\n花开得很漂亮，我们拍了很多照片！\n我们今天去公园散步，看到很多花。",
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n吾輩は猫である。",
    "Der Hund läuft über die Straße und die Straße ist lang. Größe zählt nicht, oder?\nDer Hund läuft.",
    "Мама мыла раму. Мама мыла раму, а папа читал газету.\nМама мыла раму.",
    "ภาษาไทยเขียนไม่เว้นวรรค ภาษาไทยสวยงาม",
    "हिन्दी भाषा बहुत सुन्दर है। हिन्दी भाषा बहुत सुन्दर है।",
    "buy now " * 40,
    "# ## ... …\n" * 7,
]


def made(*texts: str) -> Batch[Any]:
    schema = pa.schema([("id", pa.string()), ("text", pa.large_string())])
    return Batch(pa.table([[str(at) for at in range(len(texts))], list(texts)], schema=schema))


def left(batch: Batch[Any]) -> list[str]:
    return list(batch["id"].to_pylist())


def reasons(batch: Batch[Any]) -> dict[str, str]:
    """id -> why it was dropped."""
    return {str(key): reason for table, reason, _ in batch.dropped for key in table["id"].to_pylist()}


def agree(found: dict[str, Any], expected: list[dict[str, Any]], texts: list[str]) -> None:
    for at, numbers in enumerate(expected):
        assert set(numbers) <= set(found)
        for name, value in numbers.items():
            assert reference.same(float(found[name][at]), float(value)), (name, texts[at], found[name][at], value)


def token_texts(texts: list[str]) -> list[list[str]]:
    column = TextColumn(pa.array(texts, pa.string()))
    found, data = tokens(column.texts), bytes(column.texts.data)
    parts = [data[a:b].decode() for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
    assert [len(part) for part in parts] == found.chars.tolist()
    return [parts[found.rows[at] : found.rows[at + 1]] for at in range(len(texts))]


def test_tokens_by_hand() -> None:
    assert token_texts(
        ["Don't stop, it's \"fine\" (really)...", "see http://a.b/c?d=1, x=y 3+4 well-known U.S.", ""]
    ) == [
        ["Do", "n't", "stop", ",", "it", "'s", '"', "fine", '"', "(", "really", ")", "..."],
        ["see", "http://a.b/c?d=1", ",", "x", "=", "y", "3", "+", "4", "well", "-", "known", "U.S."],
        [],
    ]


@settings(max_examples=4 * EXAMPLES)
@given(
    st.lists(
        anything | st.text(st.sampled_from("aZ0.,-–'’\"st%$€+=/:&_~中かก\u0e31\u0301🙂w ntre"), max_size=14), max_size=5
    )
)
@example(SAMPLE)
def test_tokens_are_those_of_the_rules(texts: list[str]) -> None:
    assert token_texts(texts) == [reference_tokens.tokens(text) for text in texts]


@pytest.mark.parametrize("reading", READINGS)
@compiled
@given(st.lists(anything, max_size=4))
@example(SAMPLE)
def test_quality_counts_what_the_definitions_count(reading: str, texts: list[str]) -> None:
    found = quality(TextColumn(pa.array(texts, pa.string())), reading, sorted(STOP_WORDS))  # type: ignore[arg-type]
    more = {"tokens": reference_tokens.tokens} if reading == "datatrove" else {}
    agree(found, [getattr(reference, reading)(text, STOP_WORDS, **more) for text in texts], texts)


@pytest.mark.parametrize("reading", READINGS)
@compiled
@given(st.lists(anything, max_size=4))
@example(SAMPLE)
def test_repetition_counts_what_the_definitions_count(reading: str, texts: list[str]) -> None:
    top, repeated = [2, 3, 4], [2, 3, 5, 6, 7, 8, 9, 10]
    found = repetition(TextColumn(pa.array(texts, pa.string())), reading, top, repeated)  # type: ignore[arg-type]
    more = {"tokens": reference_tokens.tokens} if reading == "datatrove" else {}
    expected = [getattr(reference_repetition, reading)(text, top, repeated, **more) for text in texts]
    agree(found, expected, texts)


@pytest.mark.parametrize("reading", ["fineweb", "datatrove", "datatrove_first"])
@compiled
@given(st.lists(anything, max_size=4))
@example(SAMPLE)
def test_fineweb_counts_what_the_definitions_count(reading: str, texts: list[str]) -> None:
    found = shape(TextColumn(pa.array(texts, pa.string())), reading, 12)  # type: ignore[arg-type]
    agree(found, [reference.fineweb(text, reading, 12, reference_tokens.tokens) for text in texts], texts)


@pytest.mark.parametrize("reading", ["tfds", "datatrove"])
@pytest.mark.parametrize("ends", [None, ""])
@compiled
@given(texts=st.lists(anything, max_size=4))
@example(texts=SAMPLE)
def test_c4_keeps_the_lines_that_its_code_keeps(reading: str, ends: str | None, texts: list[str]) -> None:
    marks = None if ends is None else []
    batch = c4.function(made(*texts), reading=reading, min_words=2, min_sentences=1, end_marks=marks)
    expected = [reference.c4(text, reading, 2, ends) for text in texts]
    stay = [at for at, one in enumerate(expected) if not one["banned"] and one["sentences"]]
    assert left(batch) == [str(at) for at in stay]
    assert batch["text"].to_pylist() == [expected[at]["text"] for at in stay]
    assert {k: v for k, v in reasons(batch).items() if v != "too few sentences"} == {
        str(at): one["banned"] for at, one in enumerate(expected) if one["banned"]
    }
