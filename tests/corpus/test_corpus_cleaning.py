"""Steps that look at one record."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, InputError, assistant, digest, user
from factory.corpus.cleaning.language import language
from factory.corpus.cleaning.length import length
from factory.corpus.cleaning.normalize import normalize, normalized
from factory.corpus.cleaning.pii import mask_pii
from factory.corpus.mixing.paragraphs import paragraphs, parts, split_paragraphs
from factory.corpus.mixing.split import part_of, split
from factory.corpus.reshape import as_pairs, as_text

Through = Callable[..., Any]


def text(value: str, **meta: Any) -> dict[str, Any]:
    return {"id": digest(value), "parents": ["x.txt"], "text": value, "meta": meta}


def reason(step: Callable[..., Any], *args: Any, **options: Any) -> str:
    with pytest.raises(Drop) as caught:
        step(*args, **options)
    return caught.value.reason


ENGLISH = (
    "The river runs through the valley and has shaped the land for thousands of years. People who live there have "
    "learned to build with what the water brings: stones, sand and wood. In spring the snow melts, and the fields "
    "near the bank are under water for a week, which is good for the soil. That is why the old houses stand on hills."
)


@given(st.text())
def test_normalising_twice_is_normalising_once(value: str) -> None:
    for form in ("NFC", "NFKC"):
        once = normalized(value, form)  # type: ignore[arg-type]
        assert normalized(once, form) == once  # type: ignore[arg-type]


def test_normalize_changes_looks_and_not_meaning() -> None:
    assert normalized("cafe\u0301 \r\nx\x00\x07y\ufeff\t\n\n\n\n\n 1,024 \u200d") == "café\nxy\n\n\n 1,024 \u200d"
    assert normalized("x² ①\u00a0", "NFC") == "x² ①"
    assert normalized("x²ﬁ", "NFKC") == "x2fi"
    assert normalized("    indented\n        more") == "    indented\n        more"


def test_normalize_reaches_messages_and_leaves_roles_and_meta(through: Through) -> None:
    record = {
        "id": "1",
        "parents": [],
        "prompt": user("a \r\nb"),
        "completion": assistant("c\x00"),
        "meta": {"k": "a \r"},
    }
    made = through(normalize, record)
    assert made == {**record, "prompt": user("a\nb"), "completion": assistant("c")}


def test_long_runs_of_blanks_cost_linear_time(through: Through) -> None:
    through(mask_pii, text("@"))  # compiles the kernel
    started = time.process_time()
    normalized("x" + " " * 2_000_000 + "y")
    through(mask_pii, text("a" * 1_000_000 + "@" + "b." * 100_000 + "1" * 100_000))
    assert time.process_time() - started < 5


def test_language_keeps_and_notes(through: Through) -> None:
    made = through(language, text(ENGLISH), keep=["en"])
    assert made["meta"]["language"] == "en"
    assert made["meta"]["language_score"] >= 0.65
    german = "Der Fluss fließt durch das Tal und hat das Land seit Tausenden von Jahren geformt und bewässert."
    with pytest.raises(Drop) as caught:
        through(language, text(german), keep=["en"])
    assert (caught.value.reason, caught.value.details["found"]) == ("language", "de")
    assert through(language, text(german))["meta"]["language"] == "de"
    assert through(language, text("12 34 -- !"))["meta"]["language"] == ""
    chinese = {
        "id": "1",
        "parents": [],
        "prompt": user("请写一首关于春天的诗"),
        "completion": assistant("春天来了"),
        "meta": {},
    }
    assert through(language, chinese, keep=["zh"])["meta"]["language"] == "zh"


def test_language_reads_prose_before_signatures(through: Through) -> None:
    signature = "module.function(a, b, *, skipkeys=False, check_circular=True, cls=None, indent=None, **kw)\n\n"
    assert through(language, text(signature + ENGLISH), keep=["en"])["meta"]["language"] == "en"


def test_length_counts_words_in_any_script() -> None:
    assert length.function(text("one two three"), min_words=3, max_words=3, min_chars=13, max_chars=13)
    assert reason(length.function, text("one two"), min_words=3) == "too few words"
    assert reason(length.function, text("one two"), max_words=1) == "too many words"
    assert reason(length.function, text("one"), min_chars=4) == "too few characters"
    assert reason(length.function, text("ones"), max_chars=3) == "too many characters"
    assert length.function(text("春天来了"), min_words=4, max_words=4)
    assert reason(length.function, {"id": "", "parents": [], "meta": {}}, min_words=1) == "too few words"


def test_pii_is_masked_and_counted(through: Through) -> None:
    made = through(mask_pii, text("Write to ann.lee+x@mail.corp.org or +49 30 1234567, (555) 234-5678; host 8.8.8.8."))
    assert made["text"] == "Write to <EMAIL> or <PHONE>, <PHONE>; host <IP>."
    assert made["meta"]["pii"] == {"email": 1, "ip": 1, "phone": 2}
    assert through(mask_pii, made) == made


@pytest.mark.parametrize(
    "kept",
    [
        "someone@example.com", "192.168.0.1 and 127.0.0.1", "version 1.2.3.4", "1.2.3.4.5", "300.1.2.3", "2024-01-15",
        "@decorator", "x = 5552345678", "pi 3.14159265358979", "1234567890123456", "a@b", "10.0.0.0/8", "+ 12 34 56",
    ],
)  # fmt: skip
def test_pii_lookalikes_stay(through: Through, kept: str) -> None:
    assert through(mask_pii, text(kept)) == text(kept)


def test_paragraphs_stay_whole_and_know_their_heading() -> None:
    source = "# One\n\nFirst.\n\nSecond.\n\n```\n# code\n\nmore\n```\n\nTwo\n===\n\nThird."
    assert [(p.text, p.heading) for p in paragraphs(source)] == [
        ("# One", "One"),
        ("First.", "One"),
        ("Second.", "One"),
        ("```\n# code\n\nmore\n```", "One"),
        ("Two\n===", "Two"),
        ("Third.", "Two"),
    ]
    cut = list(split_paragraphs.function(text(source, path="a.md"), max_chars=40, min_chars=10))
    assert [(r["meta"].get("heading"), r["meta"]["part"]) for r in cut] == [("One", 1), ("One", 2), ("Two", 3)]
    assert cut[0]["text"] == "# One\n\nFirst.\n\nSecond."
    assert all(r["meta"]["path"] == "a.md" and r["parents"] == [text(source)["id"]] for r in cut)


def test_a_short_section_shares_a_part_with_the_next() -> None:
    source = "# A\n\nx\n\n# B\n\ny"
    assert len(list(parts(source, 100, 50))) == 1
    assert len(list(parts(source, 100, 0))) == 2


def test_a_long_paragraph_is_cut_at_sentences() -> None:
    found = [part for _, part in parts("One is here. Two is here. Three is here. " + "x" * 50, 30, 0)]
    assert found == ["One is here. Two is here.", "Three is here.", "x" * 30, "x" * 20]
    assert [part for _, part in parts("今天天气很好。我们去公园吧。", 8, 0)] == ["今天天气很好。", "我们去公园吧。"]
    with pytest.raises(InputError):
        list(split_paragraphs.function(text("x"), max_chars=10, min_chars=20))


@given(st.text("ab .。!\n#=`\u0301", max_size=300), st.integers(1, 40), st.integers(0, 40))
def test_splitting_loses_no_text_and_keeps_the_limit(value: str, most: int, least: int) -> None:
    found = [part for _, part in parts(value, most, min(least, most))]
    assert "".join("".join(found).split()) == "".join(value.split())
    assert all(0 < len(part) <= most for part in found)


def test_split_is_stable_and_keeps_equal_texts_together() -> None:
    def part(record: dict[str, Any], **options: Any) -> str:
        try:
            split.function(record, "train", **options)
        except Drop as drop:
            return str(drop.details["part"])
        return "train"

    records = [text(f"text number {n}") for n in range(2000)]
    found = [part(record) for record in records]
    assert 0.87 < found.count("train") / 2000 < 0.93
    assert {
        part({**r, "id": "other", "text": r["text"].upper() + "  "}) == f for r, f in zip(records, found, strict=True)
    } == {True}
    pairs = [
        {"id": str(n), "parents": [], "prompt": user("same"), "completion": assistant(str(n)), "meta": {}}
        for n in range(50)
    ]
    assert len({part(pair) for pair in pairs}) == 1
    lines = [{**text(str(n)), "parents": [f"a.jsonl#{n}"]} for n in range(50)]
    assert len({part(line, by="source") for line in lines}) == 1
    assert len({part(line) for line in lines}) == 2
    with pytest.raises(InputError, match="did you mean 'train'"):
        split.function(text("x"), "trian")
    with pytest.raises(InputError, match="at least one share"):
        split.function(text("x"), "train", parts={"train": 0.0, "b": 0.0})


@given(st.text(), st.lists(st.floats(0.01, 10), min_size=1, max_size=5))
def test_every_key_has_a_part(key: str, shares: list[float]) -> None:
    parts = {str(n): share for n, share in enumerate(shares)}
    assert part_of(key, parts) in parts


def test_as_text_and_as_pairs_move_fields_out_of_meta() -> None:
    record = {"id": "1", "parents": ["x.csv#2"], "meta": {"body": "hello", "n": 3, "tags": ["a"], "none": None}}
    made = as_text.function(record, column="body")
    assert made == {"id": "1", "parents": ["x.csv#2"], "text": "hello", "meta": {"n": 3, "tags": ["a"], "none": None}}
    assert as_text.function(record, column="n")["text"] == "3"
    assert reason(as_text.function, record, column="tags") == "not text"
    assert reason(as_text.function, record, column="none") == "missing column"
    pair = as_pairs.function(record, prompt="body", completion="n")
    assert (pair["prompt"], pair["completion"]) == (user("hello"), assistant("3"))
    assert pair["meta"] == {"tags": ["a"], "none": None}
    assert reason(as_pairs.function, record) == "missing column"
    assert as_text.function(pair, column="completion")["text"] == "3"
