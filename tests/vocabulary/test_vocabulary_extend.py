"""extend_vocabulary on tokenizers: what it says no to, and a folder that transformers reads as it was made."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import InputError, ModelError, RecipeError, StepError, Tokenizer
from factory.models.extension import Extension, extension_of
from factory.vocabulary import gates
from factory.vocabulary.alphabets import allowed
from factory.vocabulary.extend import _check
from factory.vocabulary.growing import Wanted, grow

sys.path.insert(0, str(Path(__file__).parent))
from bases import ENGLISH, MAKERS, base, changed, ids, sentences, word_level
from kinds import byte_level
from steps import CHATML, extend, files, read_json, save

pytestmark = pytest.mark.model
HAN, CYRILLIC = (sentences(script, 100) for script in ("Han", "Cyrillic"))
CORPUS = ["\n".join(HAN[:50]), *HAN[50:], *ENGLISH[:20]]
NAMED = {
    "gpt2": {"eos_token": "<|endoftext|>"}, "llama3": {"eos_token": "<|endoftext|>"},
    "qwen": {"eos_token": "<|endoftext|>"}, "wordpiece": {"unk_token": "[UNK]", "cls_token": "[CLS]"},
}  # fmt: skip
SENTENCEPIECE = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("name", MAKERS)
def test_transformers_reads_what_was_made(name: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    made = base(name).from_str(base(name).to_str())
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    source = save(made, tmp_path / "chat", **NAMED.get(name, SENTENCEPIECE))
    old = AutoTokenizer.from_pretrained(tmp_path / "chat")
    found, page = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"])
    assert isinstance(found, Tokenizer)
    assert found.path == tmp_path / "run" / "model"
    assert extension_of(found) == Extension(len(old), 40)
    assert read_json(found.path / "extension.json") == {"first": len(old), "count": 40}
    new = AutoTokenizer.from_pretrained(found.path)
    assert len(new) == len(old) + 40
    assert new.chat_template == CHATML
    assert new.special_tokens_map == old.special_tokens_map
    assert new.all_special_ids == old.all_special_ids
    assert new.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == [len(old) - 2, len(old) - 1]
    backend = base(name).from_file(str(found.path / "tokenizer.json"))
    for line in [*HAN, *ENGLISH, "<|im_start|>中文<|im_end|>", " a  b\t中 文\n"]:
        assert new(line, add_special_tokens=False).input_ids == ids(backend, line)
        assert new(line).input_ids == backend.encode(line).ids
        if not re.search("[\u3000-\uffff]", line):
            assert new(line).input_ids == old(line).input_ids
    assert new.decode(new("世界很大").input_ids).replace(" ", "") == "世界很大"
    assert gates.unreachable(new.backend_tokenizer, range(len(old), len(new))) == []
    assert f"| new pieces | 40, ids from {len(old):,} |" in page
    assert "tokens per character" in page


def test_a_base_without_a_template_gets_none(tmp_path: Path) -> None:
    source = save(base("gpt2"), tmp_path / "plain", eos_token="<|endoftext|>")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=5, scripts=["Han"])
    assert not (found.path / "chat_template.jinja").exists()
    assert "chat_template" not in read_json(found.path / "tokenizer_config.json")


def test_a_template_around_a_text_is_kept(tmp_path: Path) -> None:
    from tokenizers import processors
    from transformers import AutoTokenizer

    made = base("prepend").from_str(base("prepend").to_str())
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    made.enable_truncation(12)
    found, _ = extend(
        tmp_path / "run", save(made, tmp_path / "base", **SENTENCEPIECE), CORPUS, pieces=30, scripts=["Han"]
    )
    new = AutoTokenizer.from_pretrained(found.path)
    got = new("世界" * 40).input_ids
    assert (got[0], got[-1]) == (1, 2)


def test_truncation_hides_no_text_from_learning(tmp_path: Path) -> None:
    made = base("gpt2").from_str(base("gpt2").to_str())
    made.enable_truncation(3)
    _, page = extend(tmp_path / "run", save(made, tmp_path / "base"), ["\n".join(HAN)], pieces=40, scripts=["Han"])
    assert f"| characters learned from | {sum(map(len, HAN)):,} |" in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "say how many pieces to add, or tokens_per_character, or merge"),
        (
            {"pieces": 5, "tokens_per_character": 0.5},
            "pieces and tokens_per_character both say how many; give one of them",
        ),
        ({"pieces": 5, "scripts": ["Hann"]}, "there is no script 'Hann'; did you mean 'Han'?"),
    ],
)
def test_options_that_do_not_go_together(options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        extend(tmp_path / "run", save(base("gpt2"), tmp_path / "base"), CORPUS, **options)


def test_tokens_per_character_are_not_for_merging(tmp_path: Path) -> None:
    other = save(byte_level(HAN, 400), tmp_path / "other")
    said = r"^extend_vocabulary: tokens_per_character is for pieces of the corpus; with merge, say pieces$"
    with pytest.raises(InputError, match=said):
        extend(tmp_path / "run", save(base("gpt2"), tmp_path / "base"), CORPUS, merge=other, tokens_per_character=0.5)
    found, page = extend(tmp_path / "two", save(base("gpt2"), tmp_path / "base"), CORPUS, merge=other, scripts=["Han"])
    assert found.path is not None
    assert "tokens per character" not in page
    assert extension_of(found).count > 30


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    source = save(word_level(), tmp_path / "words", unk_token="<unk>")
    with pytest.raises(ModelError, match=r"words: its tokenizer is WordLevel; expected byte-level BPE, BPE with byte"):
        extend(tmp_path / "run", source, CORPUS, pieces=5)


def test_a_tokenizer_with_a_part_in_python_is_refused() -> None:
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from factory.vocabulary.extend import backend

    class Halves:
        def pre_tokenize(self, text: Any) -> None:
            text.split(lambda at, part: [part])

    made = base("gpt2").from_str(base("gpt2").to_str())
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made)
    wrapped.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Halves())
    with pytest.raises(ModelError, match=r"^mine: a part of its tokenizer is written in Python and cannot be stored"):
        backend(wrapped, "mine")
    with pytest.raises(
        ModelError, match=r"^mine: its tokenizer has no tokenizer\.json; expected one of the tokenizers"
    ):
        backend(object(), "mine")


def test_protected_lines_with_the_script_are_not_protected(tmp_path: Path) -> None:
    protect = ["\n".join([*ENGLISH, *HAN[:5]]), "", "x中"]
    source = save(base("gpt2"), tmp_path / "base")
    _, page = extend(tmp_path / "run", source, CORPUS, pieces=40, scripts=["Han"], protect=protect)
    assert f"| protected lines cut otherwise | 0 of {len(ENGLISH)} |" in page
    with pytest.raises(StepError, match=r"leave protected text as it is; 60 were asked for"):
        extend(tmp_path / "two", source, HAN, pieces=60, protect=HAN)
    _, page = extend(tmp_path / "three", source, CORPUS, pieces=40, protect=[*ENGLISH[:100], *HAN], max_drift=0.6)
    changed, of = map(int, re.search(r"cut otherwise \| (\d+) of (\d+) \|", page).groups())
    assert 0 < changed <= 0.6 * of == 120


def test_a_line_that_does_not_come_back_fails_the_step_unless_the_base_lost_it(tmp_path: Path) -> None:
    def deaf(found: dict[str, Any]) -> None:
        strip = {"type": "Strip", "content": "。", "start": 0, "stop": 1}
        found["decoder"] = {"type": "Sequence", "decoders": [found["decoder"], strip]}

    source = save(changed(base("gpt2"), deaf), tmp_path / "deaf")
    extend(tmp_path / "run", source, HAN, pieces=20, scripts=["Han"])
    sound = grow(base("gpt2"), "gpt2", HAN, Wanted(20, None, allowed(["Han"])))
    lost = replace(sound, tokenizer=changed(sound.tokenizer, deaf))
    with pytest.raises(StepError, match=r"\d+ of \d+ lines do not come back from encoding and decoding, as '"):
        _check(base("gpt2"), lost, HAN)
    _check(base("gpt2"), sound, HAN)


def test_of_a_large_corpus_records_are_drawn_by_their_ids(tmp_path: Path) -> None:
    source = save(base("gpt2"), tmp_path / "base")
    whole = sum(map(len, HAN))
    pages = [
        extend(tmp_path / str(at), source, HAN, pieces=10, scripts=["Han"], learn_from=most)[1]
        for at, most in enumerate([whole, whole // 2, whole // 2])
    ]
    learned = [int(re.search(r"learned from \| ([\d,]+)", page)[1].replace(",", "")) for page in pages]
    assert learned[0] == whole
    assert learned[1] == learned[2]
    assert 0.4 * whole < learned[1] <= whole // 2
    _, page = extend(tmp_path / "few", source, ["".join(HAN)] * 2, pieces=10, scripts=["Han"], learn_from=500)
    assert "| characters learned from | 500 |" in page  # a record that is longer than the bound is cut


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    source = save(base("gpt2"), tmp_path / "base")
    left = tmp_path / "run" / "model"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    found, _ = extend(tmp_path / "run", source, CORPUS, pieces=10, scripts=["Han"])
    again, _ = extend(tmp_path / "clean", source, CORPUS, pieces=10, scripts=["Han"])
    assert files(found.path) == files(again.path)


def test_a_recipe_with_mistakes_names_their_lines(tmp_path: Path) -> None:
    from factory import build

    save(base("gpt2"), tmp_path / "old")
    (tmp_path / "texts.jsonl").write_text('{"text": "中文"}\n', encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "name: words\ntargets:\n  more:\n    from: texts.jsonl\n    steps:\n      - extend_vocabulary:\n"
        "          base: ./old\n          pieces: 0\n          min_uses: -1\n          initialise: meen\n",
        encoding="utf-8",
    )
    with pytest.raises(RecipeError) as caught:
        build(tmp_path / "recipe.yaml")
    said = str(caught.value)
    assert re.search(r"recipe\.yaml:8\b.*pieces", said)
    assert re.search(r"recipe\.yaml:9\b.*min_uses", said)
    assert re.search(r"recipe\.yaml:10\b.*'mean'", said)
