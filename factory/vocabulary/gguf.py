"""A tokenizer as a GGUF file without weights, as llama.cpp reads it with `vocab_only`."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import InputError, Model

from .llama_rules import check_cuts, pre_tokenizer_name, scores_of_merges, space_prefix
from .pieces import BYTE, MARKER, Pieces, pieces_of

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, FALLBACK = 1, 2, 3, 4, 5, 6  # gguf.TokenType
NAMED = ("bos", "eos", "unk", "sep", "pad", "mask")
UNREACHED = -1e4  # score of pieces that nothing is joined to


@dataclass
class Vocabulary:
    """What of a tokenizer is written: by id text and type, where the model has them scores and merges, and flags."""

    model: str  # tokenizer.ggml.model: gpt2, llama, t5, bert
    architecture: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    flags: dict[str, bool] = field(default_factory=dict)
    charsmap: bytes = b""


def save_vocabulary(model: Model, path: Path) -> int:
    """Write the tokenizer of a model to `path`; how many tokens it has, padded rows of the embeddings included.

    Raises InputError, in a sentence, where llama.cpp would cut text otherwise than the tokenizer does.
    """
    from factory.models.loading import load_tokenizer

    from .findings import size_of

    tokenizer = load_tokenizer(model)
    size = size_of(model)
    try:
        return write_vocabulary(tokenizer, path, size.rows if size else 0)
    except InputError as error:
        raise InputError(f"{model.uri}: {error}") from error


def write_vocabulary(tokenizer: PreTrainedTokenizerBase, path: Path, rows: int = 0) -> int:
    """Write a fast tokenizer of transformers: equal bytes for equal tokenizers. How many tokens are written.

    rows  of the model's embeddings; where they are more than the tokens, the others are written as unused
    """
    from gguf import GGUFWriter

    found = described(tokenizer, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    writer = GGUFWriter(temporary, found.architecture)
    try:
        add_tokens(writer, found, tokenizer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(found.tokens)


def described(tokenizer: PreTrainedTokenizerBase, rows: int) -> Vocabulary:
    """What is written of a tokenizer of transformers. Raises InputError where llama.cpp has no counterpart to it."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise InputError("its tokenizer is none of the tokenizers library")
    return vocabulary_of(pieces_of(tokenizer.backend_tokenizer), rows)


def add_tokens(writer: GGUFWriter, found: Vocabulary, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say to the writer all that llama.cpp reads of a vocabulary, and the chat template."""
    writer.add_tokenizer_model(found.model)
    writer.add_tokenizer_pre(found.pre)
    writer.add_token_list(found.tokens)
    if found.scores:
        writer.add_token_scores(found.scores)
    writer.add_token_types(found.types)
    if found.merges:
        writer.add_token_merges(found.merges)
    if found.charsmap:
        writer.add_precompiled_charsmap(found.charsmap)
    for name, value in {**found.flags, **_ends(tokenizer)}.items():
        writer.add_bool(f"tokenizer.ggml.{name}", value)
    for name, token in _named(tokenizer).items():
        getattr(writer, f"add_{name}_token_id")(token)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def vocabulary_of(pieces: Pieces, rows: int = 0) -> Vocabulary:
    """What is written of a tokenizer. Raises InputError where llama.cpp has no counterpart to it."""
    if pieces.kind == "BPE" and pieces.byte_level:
        found = Vocabulary("gpt2", "llama", pre_tokenizer_name(pieces), *_tokens(pieces, rows))
        found.merges = [f"{left} {right}" for left, right in pieces.model["merges"]]
        return found
    if pieces.kind == "BPE" and pieces.marked and pieces.byte_fallback:
        found = Vocabulary("llama", "llama", "default", *_tokens(pieces, rows))
        found.flags = {"add_space_prefix": space_prefix(pieces)}
        scores = scores_of_merges(pieces)
        found.scores = [scores.get(text, UNREACHED) if kind == NORMAL else 0.0
                        for text, kind in zip(found.tokens, found.types, strict=True)]  # fmt: skip
        return found
    if pieces.kind == "Unigram" and pieces.marked:
        return _unigram(pieces, rows)
    if pieces.kind == "WordPiece":
        return _wordpiece(pieces, rows)
    raise InputError(
        f"llama.cpp has no tokenizer of this kind: {pieces.kind} without bytes and without blanks as {MARKER}"
    )


def _tokens(pieces: Pieces, rows: int) -> tuple[list[str], list[int]]:
    """Text and type by id; ids without a piece, up to `rows`, are unused."""
    count = max(rows, max(pieces.names) + 1)
    tokens, types = [f"[PAD{token}]" for token in range(count)], [UNUSED] * count
    for token, piece in pieces.names.items():
        tokens[token], types[token] = piece, NORMAL
        if token in pieces.added:
            types[token] = CONTROL if token in pieces.special else USER_DEFINED
            tokens[token] = piece.replace(MARKER, " ") if pieces.marked and types[token] == USER_DEFINED else piece
        elif pieces.byte_fallback and BYTE.fullmatch(piece):
            types[token] = FALLBACK
        if token == pieces.unknown:
            types[token] = UNKNOWN
        if "\0" in piece:
            raise InputError(f"llama.cpp reads pieces up to a NUL, and this tokenizer has {piece!r}")
    return tokens, types


def _unigram(pieces: Pieces, rows: int) -> Vocabulary:
    """T5's: llama.cpp takes SentencePiece's compiled normaliser, and squeezes blanks."""
    if pieces.byte_fallback:
        raise InputError(
            "llama.cpp writes characters without a piece as unknown for Unigram, and this tokenizer as bytes"
        )
    kinds = {one["type"]: one for one in pieces.normalizers}
    charsmap = base64.b64decode(kinds.pop("Precompiled", {}).get("precompiled_charsmap") or "")
    squeezed = [kinds.pop(kind) for kind in ("Strip", "Replace") if kind in kinds]
    if kinds:
        raise InputError(
            f"llama.cpp normalises text for Unigram by SentencePiece's own tables only, not by {min(kinds)}"
        )
    check_cuts(pieces)
    found = Vocabulary("t5", "t5", "default", *_tokens(pieces, rows), charsmap=charsmap)
    scores = [float(score) for _, score in pieces.model["vocab"]]
    found.scores = scores + [0.0] * (len(found.tokens) - len(scores))
    prefixed = any(one.get("prepend_scheme", "never") != "never" for one in pieces.pre_tokenizers)
    whole = bool(squeezed) or any(one["type"] == "WhitespaceSplit" for one in pieces.pre_tokenizers)
    found.flags = {"add_space_prefix": prefixed, "remove_extra_whitespaces": whole}
    return found


def _wordpiece(pieces: Pieces, rows: int) -> Vocabulary:
    """BERT's: the begin of a word is marked instead of what follows it."""
    kinds = [one["type"] for one in (*pieces.normalizers, *pieces.pre_tokenizers)]
    bert: dict[str, Any] = next((one for one in pieces.normalizers if one["type"] == "BertNormalizer"), {})
    if kinds != ["BertNormalizer", "BertPreTokenizer"] or not (bert["clean_text"] and bert["handle_chinese_chars"]):
        raise InputError(
            f"llama.cpp has BERT's normaliser and pre-tokenizer for WordPiece, and this tokenizer has {kinds}"
        )
    tokens, types = _tokens(pieces, rows)
    for token, kind in enumerate(types):
        if kind == NORMAL:
            piece = tokens[token]
            tokens[token] = piece[2:] if piece.startswith("##") else MARKER + piece
    found = Vocabulary("bert", "bert", "default", tokens, types)
    accents = bert["strip_accents"] if bert["strip_accents"] is not None else bert["lowercase"]
    found.flags = {"normalizer.lowercase": bool(bert["lowercase"]), "normalizer.strip_accents": bool(accents)}
    return found


def _named(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Ids of the tokens with a part to play; BERT's cls is llama.cpp's bos."""
    found = {name: getattr(tokenizer, f"{name}_token_id", None) for name in NAMED}
    found["bos"] = found["bos"] if found["bos"] is not None else tokenizer.cls_token_id
    return {name: token for name, token in found.items() if token is not None}


def _ends(tokenizer: PreTrainedTokenizerBase) -> dict[str, bool]:
    """Whether the tokenizer itself puts a bos in front of a text, an eos (or a sep) behind it."""
    plain, whole = (tokenizer("x", add_special_tokens=special)["input_ids"] for special in (False, True))
    first, last = whole[0] != plain[0], whole[-1] != plain[-1]
    found = {
        "add_bos_token": first and whole[0] in (tokenizer.bos_token_id, tokenizer.cls_token_id),
        "add_eos_token": last and whole[-1] == tokenizer.eos_token_id,
    }
    if tokenizer.sep_token_id is not None:
        found["add_sep_token"] = last and whole[-1] == tokenizer.sep_token_id
    return found
