"""Small tokenizers of every kind, trained on the spot, and pieces put in by hand as an extension would."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ENGLISH = ["The list holds 12 items in order.", "A set holds each item once.", "lists, sets and functions: 3 kinds"]
CHINESE = ["你好，世界。", "中文分词很有意思，世界很大。", "我们学习中文。"]
LINES = [*ENGLISH, *CHINESE, "café naïve Ångström", "Привет, мир!"] * 3
SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level(lines: list[str] = LINES, size: int = 330, special: tuple[str, ...] = ("<|endoftext|>",)) -> Tokenizer:
    """As GPT-2 and SmolLM2 have it: every digit alone, no normaliser."""
    made = Tokenizer(models.BPE())
    digits, level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, level])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return made


def sentencepiece(lines: list[str] = LINES, size: int = 380, metaspace: bool = False) -> Tokenizer:
    """BPE with byte fallback as Llama 2 has it: the blank is written by the normaliser, or by Metaspace."""
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=size - 256, special_tokens=SPECIAL, show_progress=False)
    trained.train_from_iterator([line for line in lines if line.isascii()], trainer)
    model = json.loads(trained.to_str())["model"]
    order = sorted(model["vocab"], key=lambda piece: model["vocab"][piece])
    vocab = {piece: at for at, piece in enumerate([*SPECIAL, *fallback, *order[3:]])}
    merges = [tuple(merge) for merge in model["merges"]]
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if metaspace:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(parts)
    made.add_special_tokens(SPECIAL)
    return made


def unigram(lines: list[str] = LINES, size: int = 120) -> Tokenizer:
    """As T5 and XLM-R have it: NFKC, blanks squeezed, Metaspace."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False, shrinking_factor=0.7
    )
    made.train_from_iterator(lines, trainer)
    return made


def wordpiece(lines: list[str] = LINES, size: int = 160) -> Tokenizer:
    """As BERT has it: lower case, Han characters alone, punctuation alone."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special,
                                                              show_progress=False))  # fmt: skip
    return made


KINDS = {"byte level": byte_level, "sentencepiece": sentencepiece, "unigram": unigram, "wordpiece": wordpiece}


def with_pieces(tokenizer: Tokenizer, *pieces: str, merges: tuple[tuple[str, str], ...] = ()) -> Tokenizer:
    """Pieces (with score -5 where they have one) and merges behind those that are there."""
    definition: dict[str, Any] = json.loads(tokenizer.to_str())
    model = definition["model"]
    for piece in pieces:
        if isinstance(model["vocab"], dict):
            model["vocab"][piece] = len(model["vocab"])
        else:
            model["vocab"].append([piece, -5.0])
    if merges:
        model["merges"] += [list(merge) for merge in merges]
    return Tokenizer.from_str(json.dumps(definition))


def as_bytes(text: str) -> str:
    """The text as byte-level pieces write it."""
    return "".join(piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
                   .pre_tokenize_str(text))  # fmt: skip
