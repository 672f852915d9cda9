"""The boundaries of each rule and reading, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory import Batch, Drop, InputError
from factory.corpus.rules.c4 import c4
from factory.corpus.rules.c4_documents import c4_documents
from factory.corpus.rules.fineweb import fineweb
from factory.corpus.rules.fineweb2 import Language, fineweb2
from factory.corpus.rules.fineweb2_languages import LANGUAGES
from factory.corpus.rules.gopher import gopher_quality
from factory.corpus.rules.juicer import data_juicer
from factory.corpus.rules.refinedweb import refinedweb_lines, words_removed
from factory.corpus.rules.repetition import gopher_repetition
from factory.corpus.rules.word_lists import bad_words

OFF: dict[str, Any] = dict.fromkeys(
    ["min_words", "max_words", "min_mean_length", "max_mean_length", "max_symbols", "max_bullets", "max_ellipses",
     "min_alphabetic", "min_stop_words"]
)  # fmt: skip
NO_REPEATS: dict[str, Any] = {
    **dict.fromkeys(["lines", "paragraphs", "line_chars", "paragraph_chars"]), "top_grams": {}, "repeated_grams": {}
}  # fmt: skip
PROSE = (
    "The river that runs past our village was quiet for most of the summer. Children swam in it, and old men sat on "
    "the bank with rods. Nobody expected the flood to come as early as it did. When it came, the bridge was the first "
    "thing to go, and with it went the only road to the market town. We have had to walk over the hills ever since."
)
CHINESE = (
    "今年的春天来得很早，村里的人都在田里忙着。老人说，他年轻的时候也有过这样的年份，后来收成很好。孩子们在河边玩，笑声传得很远。"
    "到了傍晚，家家户户升起炊烟，母亲站在门口喊他们回去吃饭。夜里下了一场小雨，第二天早晨空气格外清新，山上的树叶绿得发亮。"
)


def dropped(step: Any, text: str, **options: Any) -> str | None:
    """Why a text is dropped, or None."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    batch: Batch[Any] = step.function(Batch(pa.table([["0"], [text]], schema=schema)), **options)
    return batch.dropped[0][1] if batch.dropped else None


def left(step: Any, text: str, **options: Any) -> str | None:
    """The text that a rule leaves, or None."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    batch: Batch[Any] = step.function(Batch(pa.table([["0"], [text]], schema=schema)), **options)
    return str(batch["text"][0]) if len(batch) else None


def quality(text: str, reading: str, **options: Any) -> bool:
    return dropped(gopher_quality, text, **{**OFF, "reading": reading, **options}) is None


def repeats(text: str, reading: str, **options: Any) -> bool:
    return dropped(gopher_repetition, text, **{**NO_REPEATS, "min_words": 0, "reading": reading, **options}) is None


def test_prose_passes_and_reasons_are_told() -> None:
    for rule in (gopher_quality, gopher_repetition, c4, fineweb, refinedweb_lines, data_juicer):
        assert dropped(rule, PROSE) is None, rule.name
    assert dropped(gopher_quality, PROSE, reading="datatrove") is None
    assert dropped(gopher_quality, "too short") == "too few words"
    assert dropped(gopher_quality, "x " * 60) == "mean word length"
    assert dropped(gopher_quality, PROSE + " #" * 20) == "too many hash signs"
    assert dropped(gopher_quality, PROSE + " wow…" * 20) == "too many ellipses"
    assert dropped(gopher_quality, PROSE + " wow…" * 20, reading="dclm") == "too many symbols"
    assert dropped(gopher_quality, PROSE + " 12345" * 30) == "too few alphabetic words"
    assert dropped(gopher_quality, "lorem dolor " * 40) == "too few stop words"
    assert dropped(gopher_repetition, "one line\n" * 9) == "too many repeated lines"
    assert dropped(gopher_repetition, f"{PROSE} {PROSE}") == "too many characters in repeated 5-grams"


@pytest.mark.parametrize("rule", [gopher_quality, gopher_repetition, c4, c4_documents, fineweb, refinedweb_lines])
@pytest.mark.parametrize("text", ["", "word", " \n\n ", "a" * 200_000, "\n" * 1000, "中" * 50_000, "🙂", "e\u0301"])
def test_odd_texts_are_decided_in_every_reading(rule: Any, text: str) -> None:
    readings = rule.options.model_fields.get("reading")
    for reading in readings.annotation.__args__ if readings else [None]:
        dropped(rule, text, **({"reading": reading} if reading else {}))


def test_readings_of_a_word() -> None:
    assert quality("state-of-the-art", "gopher", max_words=1)
    assert not quality("state-of-the-art", "datatrove", max_words=3)
    assert quality("it's (fine)", "gopher", max_words=2)
    assert not quality("it's (fine)", "datatrove", max_words=2)  # it, 's, fine; brackets are none
    assert quality("a bb cccccccccc", "dolma", max_mean_length=2)  # the median
    assert not quality("a bb cccccccccc", "gopher", max_mean_length=4)
    assert quality("ää", "gopher", max_mean_length=2)
    assert not quality("ää", "datamap", max_mean_length=3)  # four bytes


def test_readings_of_no_words() -> None:
    for reading, keeps in (("gopher", True), ("dolma", False), ("dclm", False), ("datamap", False), ("nemo", False)):
        assert quality(" \n", reading, min_alphabetic=0.1) is keeps
    assert quality("alone", "dclm", min_alphabetic=0.8)
    assert not quality("alone", "datamap", min_alphabetic=0.8)
    assert quality("", "datamap", max_symbols=0.1)
    assert not quality("", "nemo", max_symbols=0.1)


def test_readings_of_bullets_and_ellipses() -> None:
    for bullet, readings in {"•": "gopher datatrove dclm datamap nemo", "-": "gopher datatrove dolma dclm datamap",
                             "*": "gopher dolma dclm datamap", "●": "gopher dclm datamap nemo", "‣": "gopher nemo",
                             "⦾": "nemo"}.items():  # fmt: skip
        for reading in ("gopher", "datatrove", "dolma", "dclm", "datamap", "nemo"):
            assert quality(f"{bullet} x", reading, max_bullets=0.5) is (reading not in readings.split()), (
                bullet,
                reading,
            )
    assert quality(" - x", "dolma", max_bullets=0.5)  # as the line stands
    assert not quality(" - x", "gopher", max_bullets=0.5)
    assert not quality("x. . .", "dclm", max_ellipses=0.5)
    assert quality("x. . .", "gopher", max_ellipses=0.5)
    assert quality("x...", "dolma", max_ellipses=0.5)
    assert not quality("Read More", "nemo", max_ellipses=0.5)
    assert quality("x...\n\n", "datatrove", max_ellipses=0.5)  # blank lines count
    assert not quality("x...\n\n", "dclm", max_ellipses=0.5)


def test_limits_themselves_are_within() -> None:
    assert quality("# a b c d e f g h i", "gopher", max_symbols=0.1)
    assert not quality("# # b c d e f g h i", "gopher", max_symbols=0.1)
    assert quality("a b c d 5", "gopher", min_alphabetic=0.8)
    assert not quality("a b c 5 5", "gopher", min_alphabetic=0.8)


def test_readings_of_stop_words() -> None:
    assert quality("The, (of)", "gopher", min_stop_words=2)
    assert not quality("the the", "gopher", min_stop_words=2)
    assert quality("the the", "gopher", min_stop_words=2, distinct=False)
    assert quality("the the", "dclm", min_stop_words=2)
    assert not quality("the the", "dclm", min_stop_words=2, distinct=True)
    assert quality("THE of", "dclm", min_stop_words=2)
    assert not quality("THE of", "dolma", min_stop_words=2)
    assert not quality("The of", "datatrove", min_stop_words=2)
    assert quality("我的 是", "datatrove", min_stop_words=2, stop_words=["的", "是"])


def test_readings_of_a_repeated_line() -> None:
    text = "a\nb\na\nc"  # one of four again, two of four in repeats
    for reading, most in (("gopher", 0.25), ("datatrove", 0.25), ("nemo", 0.25), ("dolma", 0.5), ("dclm", 0.5)):
        assert repeats(text, reading, lines=most)
        assert not repeats(text, reading, lines=most - 0.01)
    assert repeats(" a\na", "datatrove", lines=0.0)  # as they stand
    assert not repeats(" a\na", "gopher", lines=0.0)
    assert not repeats("\n\n\nx", "dolma", lines=0.5)  # blank lines repeat
    assert repeats("", "gopher", lines=0.0)
    for reading in ("datatrove", "dclm", "datamap", "nemo"):
        assert not repeats("", reading, lines=0.9)


def test_readings_of_n_grams() -> None:
    text = "x y x y z w"  # 6 characters of words, 11 of text; the commonest 2-gram is x y
    for reading, share in (
        ("gopher", 4 / 6),
        ("datatrove", 6 / 11),
        ("dolma", 4 / 6),
        ("dclm", 4 / 6),
        ("nemo", 6 / 11),
    ):
        assert repeats(text, reading, top_grams={2: share + 1e-9}), reading
        assert not repeats(text, reading, top_grams={2: share - 1e-9}), reading
    # Repeated 2-grams: x y again; of both, with the y x between; of nine in ten words in 2-grams; with a blank.
    for reading, share in (
        ("gopher", 2 / 6),
        ("datatrove", 2 / 11),
        ("dclm", 4 / 6),
        ("dolma", 4 / 10),
        ("nemo", 3 / 11),
    ):
        assert repeats(text, reading, repeated_grams={2: share + 1e-9}), reading
        assert not repeats(text, reading, repeated_grams={2: share - 1e-9}), reading
    assert repeats("one two", "gopher", top_grams={2: 0.0})
    assert not repeats("one two", "datatrove", top_grams={2: 0.9})  # once is enough there
    assert not repeats("one", "nemo", top_grams={2: 0.9})
    assert repeats("X y x Y", "dclm", top_grams={2: 0.0})  # as they are written
    assert not repeats("X y x Y", "gopher", top_grams={2: 0.9})


def test_short_texts_pass_the_rules_on_n_grams() -> None:
    assert dropped(gopher_repetition, "buy now " * 20) is None
    assert dropped(gopher_repetition, "buy now " * 30) == "too many characters in the top 2-gram"


def test_fineweb_by_its_boundaries() -> None:
    on: dict[str, Any] = dict.fromkeys(["min_ended_lines", "max_short_lines", "max_repeated_chars", "max_newlines"])
    half = "It ends.\nIt does not"
    assert dropped(fineweb, half, **{**on, "min_ended_lines": 0.5}) is None
    assert dropped(fineweb, half, **{**on, "min_ended_lines": 0.5}, reading="datatrove_first") is not None
    assert dropped(fineweb, 'He said "yes."', **{**on, "min_ended_lines": 0.5}) is None
    assert dropped(fineweb, 'He said "yes."', **{**on, "min_ended_lines": 0.5}, reading="datatrove") is not None
    assert dropped(fineweb, "他说好。", **{**on, "min_ended_lines": 0.5}) is None
    assert dropped(fineweb, "他说好。", **{**on, "min_ended_lines": 0.5}, reading="datatrove_first") is not None
    assert dropped(fineweb, "x" * 30 + "\n" + "y" * 31, **{**on, "max_short_lines": 0.5}) is None
    assert dropped(fineweb, "x" * 30 + "\n" + "y" * 30, **{**on, "max_short_lines": 0.5}) == "too many short lines"
    assert dropped(fineweb, "a\nb\nc", **{**on, "max_newlines": 0.7}) is None
    assert dropped(fineweb, "a\nb\nc", **{**on, "max_newlines": 0.6}) == "too many newlines"
    assert dropped(fineweb, " \n") == "no lines"


def test_c4_keeps_sentences_and_tells_why_it_drops() -> None:
    page = (
        "Home | About\nThe first line is a sentence here. So is Dr. Smith's.\nIt cites a source of its own.[3]\nno end"
    )
    assert left(c4, page) == "The first line is a sentence here. So is Dr. Smith's.\nIt cites a source of its own."
    assert left(c4, page, min_sentences=4) is None
    assert left(c4, page, citations=False) is None  # two sentences
    assert dropped(c4, "This line has, of all things, lorem ipsum in it.") == "lorem ipsum"
    assert dropped(c4, "This function is foo() { return bar; } here.") == "curly bracket"
    assert dropped(c4, "Please enable JavaScript to use this fine page.") == "too few sentences"
    assert left(c4, "Only three words.", min_sentences=1) is None
    assert left(c4, "Only three words.", reading="datatrove", min_sentences=1) == "Only three words."
    assert left(c4, "It ends in a quote mark, 'so'", min_sentences=1) is None
    assert left(c4, "It ends in a quote mark, 'so'", reading="datatrove", min_sentences=1) is not None
    assert left(c4, "To be continued in the next part...", min_sentences=1) is None
    assert left(c4, "这是第一句。这是第二句！", end_marks=["。", "！"], min_words=0, min_sentences=2) is not None
    assert left(c4, f"{'x' * 1001} is a word that goes on. And on.", min_sentences=1) is None


def test_c4_documents_are_dropped_whole() -> None:
    assert dropped(c4_documents, "ends.\n" * 3 + "does not") is None
    assert dropped(c4_documents, "ends.\n" + "does not\n" * 7) == "too many lines end in no mark"
    assert dropped(c4_documents, "Privacy Policy.\n\nfine.\n\nfine.") is None
    assert dropped(c4_documents, "Privacy Policy.\n\nfine.") == "too much boilerplate"
    assert dropped(c4_documents, "x" * 1001 + ".") == "a word too long"
    assert dropped(c4_documents, "long enough.\n" * 2, min_paragraphs=3, paragraph_chars=5) == "too few long paragraphs"


def test_refinedweb_cuts_lines_and_counts_what_it_cuts() -> None:
    page = "A line that stays as it is.\nCLICK HERE NOW\n12345\n12.3K Likes\nword\nSign-in to read it\n\nThe end of it."
    kept = "A line that stays as it is.\nto read it\n\nThe end of it."
    assert left(refinedweb_lines, page, max_removed=0.5) == kept
    assert dropped(refinedweb_lines, page) == "too many words in lines that were cut"
    assert dropped(refinedweb_lines, "12345\n67890", max_removed=None) == "nothing left"
    assert left(refinedweb_lines, "ÄÖ ab", max_removed=None) == "ÄÖ ab"  # two of five characters
    assert left(refinedweb_lines, "ÄÖ ab", max_removed=None, reading="datamap", max_uppercase=0.2) is None
    assert left(refinedweb_lines, "3 views of the matter", max_removed=None) == "3 views of the matter"
    assert left(refinedweb_lines, "a b\n\n", reading="datamap") == "a b\n\n"


def test_words_removed_needs_a_count() -> None:
    record: Any = {"id": "0", "parents": [], "text": "three words left", "meta": {"words": 4}}
    assert words_removed.function(record, before="words", max_removed=0.25)
    with pytest.raises(Drop, match="too many words removed"):
        words_removed.function(record, before="words", max_removed=0.24)
    with pytest.raises(Drop, match="no word count"):
        words_removed.function(record, before="length")


def test_data_juicer_counts_chinese_words_unless_told_otherwise() -> None:
    assert dropped(data_juicer, CHINESE) is None
    assert dropped(data_juicer, CHINESE, reading="data_juicer") == "number of words"
    assert dropped(data_juicer, "!!! ??? ... --- ;;;") == "alphanumeric characters"
    assert dropped(data_juicer, "a\nb\nc\nd") == "average line length"
    assert dropped(data_juicer, "ab" * 200) == "too many repeated characters"


def test_word_lists_are_read_and_counted(tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("# a list\nflood\nmarket town\n坏词\n\n", encoding="utf-8")
    assert dropped(bad_words, PROSE, words=listed) == "bad words"
    assert dropped(bad_words, PROSE, words=listed, max_count=2) is None
    assert dropped(bad_words, PROSE, words=listed, max_count=1) == "bad words"
    assert dropped(bad_words, "floods and markets, town by town", words=listed) is None
    assert dropped(bad_words, "这里有坏词在内", words=listed) == "bad words"
    assert dropped(data_juicer, PROSE, flagged_words=listed, max_flagged=0.01) == "too many flagged words"
    assert dropped(data_juicer, PROSE, stop_words=listed) == "too few stop words"
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for name, said in (("empty", "has no entry"), ("latin", "is not UTF-8"), ("missing", "cannot be read: No such")):
        with pytest.raises(InputError, match=f"the list {name}.txt {said}"):
            dropped(bad_words, PROSE, words=tmp_path / f"{name}.txt")


def test_a_word_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("# flood\nmud\n", encoding="utf-8-sig")
    assert dropped(bad_words, "A flood came.", words=listed) is None
    assert dropped(bad_words, "The mud stayed.", words=listed) == "bad words"


def test_fineweb2_knows_its_languages() -> None:
    assert set(LANGUAGES) == set(Language.__args__)  # type: ignore[attr-defined]
    assert dropped(fineweb2, CHINESE, language="cmn_Hani") is None
    assert dropped(fineweb2, PROSE, language="cmn_Hani") is not None
    for own in LANGUAGES.values():
        assert all(a > b for a, b in zip(own.repeated_grams, own.repeated_grams[1:], strict=False))
        assert len(own.stop_words.split()) >= 10
