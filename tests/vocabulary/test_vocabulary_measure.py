"""measure_vocabulary on small tokenizers: its counts against counts by hand, its gates, its page, its leak."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import CausalLM, Context, Dataset, Model, Shard, StepError, Text, Tokenizer
from factory.engine.schema import encode, schema_of, shape_record
from factory.report.markdown import clean_svg, render
from factory.vocabulary.comparing import compare
from factory.vocabulary.measure import measure_vocabulary
from factory.vocabulary.page import bars, code, histogram
from factory.vocabulary.pieces import pieces_of
from factory.vocabulary.scripts import OTHER, SCRIPTS, script_of_each
from factory.vocabulary.using import Use, best, uses_of, worst

sys.path.insert(0, str(Path(__file__).parent))
from kinds import CHINESE, ENGLISH, KINDS, LINES, as_bytes, byte_level, sentencepiece, unigram, with_pieces, wordpiece

HAN = SCRIPTS.index("Han")


class Notebook:
    """The engine's side of a context, as far as this step uses it."""

    def __init__(self) -> None:
        self.sections: dict[str, str] = {}
        self.dropped: list[tuple[str, str]] = []

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason))

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def context(tmp_path: Path, notebook: Notebook) -> Context:
    return Context("measure_vocabulary", 7, 1, tmp_path / "work", tmp_path / "model", notebook)  # type: ignore[arg-type]


@pytest.fixture
def texts(tmp_path: Path) -> Callable[..., Dataset[Any]]:
    """Texts as a stored dataset."""
    import pyarrow.parquet as pq

    def write(*held: str) -> Dataset[Any]:
        path = tmp_path / f"texts-{len(list(tmp_path.iterdir()))}.parquet"
        records = [{"id": f"{at:04x}", "text": text} for at, text in enumerate(held)]
        pq.write_table(encode([shape_record(record, ["text"]) for record in records], schema_of(Text)), path)
        return Dataset([Shard(str(path), "texts")], Text)

    return write


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Model]:
    """A tokenizer as a folder that a recipe can name."""

    def save(tokenizer: Any, name: str) -> Model:
        from transformers import PreTrainedTokenizerFast

        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / name)
        return Tokenizer(name, name, tmp_path / name)

    return save


def extended() -> tuple[Any, Any]:
    """A tokenizer that knows English only, and one with four Chinese pieces more and what they are made of."""
    base = byte_level(ENGLISH, 300)
    pieces: list[str] = []
    merges: list[tuple[str, str]] = []
    for word in ("世界", "中文"):
        halves = []
        for letter in map(as_bytes, word):
            pieces += [letter[:2], letter]
            merges += [(letter[0], letter[1]), (letter[:2], letter[2])]
            halves.append(letter)
        pieces.append("".join(halves))
        merges.append((halves[0], halves[1]))
    return base, with_pieces(base, *dict.fromkeys(pieces), merges=tuple(dict.fromkeys(merges)))


def read(metrics: Any) -> dict[tuple[str, str], float]:
    return {(metric["name"], metric["of"]): metric["value"] for metric in metrics}


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(lines=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_counts_are_those_of_a_count_by_hand(kind: str, lines: list[str]) -> None:
    tokenizer = TRAINED[kind]
    lines = [*LINES, *lines]
    found = compare(tokenizer, tokenizer, lines)
    assert found.lines == sum(bool(line) for line in lines)
    assert found.characters.sum() == sum(map(len, lines))
    assert found.bytes.sum() == sum(len(line.encode()) for line in lines)
    ids = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
    assert found.after.tokens.sum() == sum(map(len, ids)) == found.after.uses.sum()
    assert found.before.tokens.tolist() == found.after.tokens.tolist()
    assert (found.longer, found.newly_broken) == (0, 0)


TRAINED: dict[str, Any] = {name: make() for name, make in KINDS.items()}


def test_characters_count_to_the_script_of_the_letters_before_them() -> None:
    line = "12 ab, 中文。3 ж"
    codes = np.frombuffer(line.encode("utf-32-le"), np.uint32)
    found = script_of_each(codes, np.array([0, len(line)]))
    assert [SCRIPTS[place] for place in found] == [*["Latin"] * 7, *["Han"] * 5, "Cyrillic"]
    names = [
        SCRIPTS[script_of_each(np.array([ord(letter)], np.uint32), np.array([0, 1]))[0]] for letter in "あ한عאกदαxத1"
    ]
    assert names == ["Kana", "Hangul", "Arabic", "Hebrew", "Thai", "Devanagari", "Greek", "Latin", "other", "other"]
    two = np.frombuffer("a12中".encode("utf-32-le"), np.uint32)
    assert script_of_each(two, np.array([0, 1, 3, 3, 4])).tolist() == [0, OTHER, OTHER, HAN]


def test_tokens_count_to_the_script_of_their_last_character() -> None:
    found = compare(byte_level(ENGLISH, 300), byte_level(ENGLISH, 300), ["世界 xyz"])
    assert found.after.tokens[[HAN, 0]].tolist() == [7, 3]  # six bytes and the blank; three letters
    assert found.after.partial[[HAN, 0]].tolist() == [6, 0]
    assert found.words[[HAN, 0]].tolist() == [1, 1]


def test_what_is_unknown_is_not_covered() -> None:
    found = compare(wordpiece(), wordpiece(), ["a list \U0001f600\U0001f600 \u0ba4"])
    assert found.after.unknown.sum() == 3
    assert found.characters.sum() == 11


def test_lines_that_grew_are_shown() -> None:
    old, new = extended()
    found = compare(new, old, ["世界", "a list", "中文 世界"])
    assert (found.lines, found.longer) == (3, 2)
    assert found.grown == [("世界", 1, 6), ("中文 世界", 3, 13)]


def test_uses_say_what_a_token_saves() -> None:
    old, new = extended()
    pieces = pieces_of(new)
    found = compare(old, new, ["世界 世界", "中文世界", "中"])
    added = [token for piece, token in pieces.vocabulary.items() if piece not in pieces_of(old).vocabulary]
    uses = {one.text: one for one in uses_of(old, pieces, added, found.after.uses)}
    assert set(uses) == {"世", "界", "世界", "中", "文", "中文"}  # the halves are no characters
    assert (uses["世界"].uses, uses["世界"].saved) == (3, 15)
    assert (uses["中"].uses, uses["中"].saved) == (1, 2)
    saved = int(found.before.tokens.sum() - found.after.tokens.sum())
    assert sum(one.saved for one in uses.values()) == saved
    assert [one.text for one in best(list(uses.values()), 2)] == ["世界", "中文"]
    assert [one.text for one in worst(list(uses.values()), 9)][:3] == ["世", "界", "文"]


def test_the_step_measures_and_says_so(context: Context, notebook: Notebook, texts: Any, saved: Any) -> None:
    old, new = extended()
    dataset = texts("世界中文\n\nA list.", " \n", "中文 it is")
    metrics = list(
        measure_vocabulary.function(
            dataset, context, saved(old, "old"), saved(new, "new"), protect=texts("\n".join(ENGLISH))
        )
    )
    found = read(metrics)
    assert found["tokens_per_character (Han)", "before"] == pytest.approx((12 + 6) / 7)
    assert found["tokens_per_character (Han)", "after"] == pytest.approx((2 + 1) / 7)
    assert found["tokens_per_character (Latin)", "before"] == found["tokens_per_character (Latin)", "after"]
    assert found["byte_fallback", "before"] > found["byte_fallback", "after"] == 0
    assert found["coverage", "after"] == found["round_trip", "after"] == 1
    assert (found["new_tokens", "after"], found["intermediates", "after"]) == (9, 3)
    assert (found["unreachable", "after"], found["lines_longer", "after"], found["drift", "after"]) == (0, 0, 0)
    assert ("leak", "after") not in found
    assert notebook.dropped == [("0001", "no text")]
    assert all(metric["parents"] == ["0000", "0002"] for metric in metrics)
    assert len({metric["id"] for metric in metrics}) == len(metrics)
    page = notebook.sections["Vocabulary"]
    assert "| Han | 7 | 2.571 → 0.429 | −83.3 % | – |" in page
    assert "| `中文` | 2 | 10 | `世` | 0 | 0 |" in page
    assert "<table>" in render(page)
    assert clean_svg(notebook.sections["Uses of new tokens"])


def test_drift_fails_the_step_with_examples(context: Context, texts: Any, saved: Any) -> None:
    old, new = extended()
    models = saved(old, "old"), saved(new, "new")
    protect = texts("a list\nin 世界\na set")
    with pytest.raises(
        StepError, match=r"1 of 3 protected lines have other tokens than before, as\n  'in 世界': ä ¸ ĸ ç → 世界"
    ):
        list(measure_vocabulary.function(texts("a list"), context, *models, protect=protect))
    metrics = measure_vocabulary.function(texts("a list"), context, *models, protect=protect, max_drift=0.5)
    assert read(metrics)["drift", "after"] == pytest.approx(1 / 3)


def test_dead_tokens_and_lost_text_fail_the_step(context: Context, texts: Any, saved: Any) -> None:
    from tokenizers import decoders

    base = byte_level()
    dead = with_pieces(base, "QZ", "QZX", "ZX", merges=(("Q", "Z"), ("Z", "X"), ("Q", "ZX")))
    with pytest.raises(StepError, match=r"1 of 3 new tokens are dead: no text produces 'QZX'"):
        list(measure_vocabulary.function(texts("a list"), context, saved(base, "base"), saved(dead, "dead")))
    lossy = type(base).from_str(base.to_str())
    lossy.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    models = saved(base, "base"), saved(lossy, "lossy")
    with pytest.raises(StepError, match=r"1 of 2 lines no longer come back, as ' a list'"):
        list(measure_vocabulary.function(texts("a list\n a list"), context, *models))
    assert list(measure_vocabulary.function(texts("a list\n a list"), context, *models, max_broken=0.5))
    back = measure_vocabulary.function(texts(" a list"), context, models[1], models[0])
    assert read(back)["round_trip", "before"] == 0  # that it was broken before closes no gate


def test_nothing_to_measure_is_said(context: Context, notebook: Notebook, texts: Any, saved: Any) -> None:
    model = saved(byte_level(), "base")
    assert list(measure_vocabulary.function(texts("", " "), context, model, model)) == []
    assert notebook.sections["Vocabulary"] == "No record could be measured."


@pytest.mark.parametrize(("old", "new"), [("unigram", "sentencepiece"), ("wordpiece", "byte level")])
def test_tokenizers_of_two_kinds_are_compared(
    context: Context, texts: Any, saved: Any, notebook: Notebook, old: str, new: str
) -> None:
    models = saved(TRAINED[old], "old"), saved(TRAINED[new], "new")
    found = read(measure_vocabulary.function(texts("\n".join(LINES)), context, *models, max_unreachable=1))
    assert found["coverage", "after"] == 1
    assert found["round_trip", "after"] == 1
    assert render(notebook.sections["Vocabulary"])


def test_code_stays_a_cell_and_code() -> None:
    assert code(" a|b") == "`␣a\\|b`"
    assert code("\n\x00") == "`\\n\\x00`"
    assert "<code>a`b``</code>" in render(f"| x |\n|---|\n| {code('a`b``')} |")
    assert "&lt;b&gt;" in clean_svg(bars("<b>", ["<b>"], np.array([0])))


def test_the_histogram_has_a_bar_for_each_doubling() -> None:
    uses = [Use(0, "a", count, 0) for count in (0, 0, 1, 2, 3, 4, 1000)]
    drawn = histogram(uses)
    assert [name in drawn for name in (">never<", ">once<", ">2 to 3<", ">512 to 1,023<")] == [True] * 4
    assert drawn.count("<rect") == 11


@pytest.mark.model
def test_leak_is_the_mass_on_new_tokens_by_hand(
    context: Context, texts: Any, notebook: Notebook, tmp_path: Path
) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    folders = []
    for name, tokenizer in zip(("old", "new"), extended(), strict=True):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=128, initializer_range=0.5, tie_word_embeddings=True,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(tmp_path / name)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / name)
        folders.append(CausalLM(name, name, tmp_path / name))
    lines = [*ENGLISH, "世界", "a"]
    found = read(measure_vocabulary.function(texts("\n".join(lines)), context, *folders))
    model, tokenizer = LlamaForCausalLM.from_pretrained(tmp_path / "new").eval(), extended()[1]
    masses = []
    for line in ENGLISH:  # what holds a new token, or nothing to foresee, is left out
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer.encode(line).ids])).logits[0]
        masses += torch.softmax(logits.double(), -1)[:, 300:].sum(-1).tolist()
    assert found["leak", "after"] == pytest.approx(sum(masses) / len(masses), rel=1e-5)
    assert found["parameters_added", "after"] == 9 * 32
    assert found["bytes_added", "after"] == 9 * 32 * 4
    chars = sum(map(len, lines))
    tokens = sum(len(tokenizer.encode(line).ids) for line in lines)
    assert found["characters_in_context", "after"] == pytest.approx(128 * chars / tokens)
    assert "The new rows are 288 parameters" in notebook.sections["Vocabulary"]


def test_options_name_models_and_datasets() -> None:
    assert measure_vocabulary.references == {"before": Model, "after": Model, "protect": Dataset}
    measure_vocabulary.options.model_validate({"before": "bundled:smollm2", "after": "tuned", "protect": None})


@pytest.mark.builds
def test_a_recipe_measures(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    from factory import build, stored

    for name, tokenizer in zip(("old", "new"), extended(), strict=True):
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path / name)
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in CHINESE]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "name: words\ntargets:\n  measured:\n    from: texts.jsonl\n"
        "    steps:\n      - measure_vocabulary: {before: ./old, after: ./new}\n",
        encoding="utf-8",
    )
    build(tmp_path / "recipe.yaml")
    dataset = stored(tmp_path / "recipe.yaml", "measured")
    found = read(list(dataset))
    assert found["tokens_per_character", "after"] < found["tokens_per_character", "before"]


def test_kinds_are_what_they_are_called() -> None:
    assert [pieces_of(TRAINED[name]).kind for name in ("byte level", "sentencepiece", "unigram", "wordpiece")] == [
        "BPE", "BPE", "Unigram", "WordPiece",
    ]  # fmt: skip
    assert (pieces_of(unigram()).byte_level, pieces_of(sentencepiece()).byte_fallback) == (False, True)
