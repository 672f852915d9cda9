"""Which kind of tokenizer one is, and what its pieces are made of, read from its tokenizer.json."""

from __future__ import annotations

from typing import Literal

import numpy as np

from factory import ModelError

from .merging import BEGUN, BLANK, INSIDE, OTHER, WHOLE, Symbols
from .pieces import BYTE, Pieces, byte_alphabet

# byte_level     BPE over bytes (GPT-2, Llama 3, Qwen, SmolLM2)
# byte_fallback  BPE over characters; those it does not know become bytes (SentencePiece's BPE: Llama 2, Mistral)
# unigram        pieces with probabilities, the likeliest cut (SentencePiece's Unigram: T5, XLM-R)
# wordpiece      the longest piece that fits, word by word (BERT)
Family = Literal["byte_level", "byte_fallback", "unigram", "wordpiece"]

LETTERS = {byte: letter for letter, byte in byte_alphabet().items()}  # in which byte-level pieces are written


def family_of(pieces: Pieces, name: str) -> Family:
    """The family of a tokenizer. Raises ModelError, naming `name`, for one that is of none."""
    if pieces.kind == "BPE":
        if pieces.byte_level:
            return "byte_level"
        if pieces.byte_fallback:
            return "byte_fallback"
        mark = pieces.model.get("end_of_word_suffix") or pieces.model.get("continuing_subword_prefix")
        found = f"BPE that marks words with '{mark}'" if mark else "BPE over characters without byte fallback"
    elif pieces.kind in ("Unigram", "WordPiece"):
        return "unigram" if pieces.kind == "Unigram" else "wordpiece"
    else:
        found = pieces.kind
    raise ModelError(
        f"{name}: its tokenizer is {found}; expected byte-level BPE, BPE with byte fallback, Unigram or WordPiece"
    )


def byte_tokens(pieces: Pieces) -> dict[int, int]:
    """The id of the token that stands for each byte, where characters without a piece fall back to bytes."""
    found = {at: BYTE.fullmatch(name) for at, name in pieces.names.items() if at not in pieces.added}
    return {int(byte[1], 16): at for at, byte in found.items() if byte}


def lacking(data: bytes) -> int:
    """Bytes missing from the character that the end of `data` begins; 0 when it ends with a whole one."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            return max(0, (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) - back)
        if byte < 0x80:
            break
    return 0


def symbols_of(pieces: Pieces, family: Family) -> Symbols:
    """What each id of a BPE tokenizer is made of, [ids]; added tokens, and ids that stand for nothing, are OTHER."""
    size = 1 + max(pieces.names)
    found = Symbols(np.full(size, OTHER, np.int8), np.zeros(size, np.int8), np.zeros(size, np.int16))
    for at, name in pieces.names.items():
        if at not in pieces.added and not (family == "byte_fallback" and BYTE.fullmatch(name)):
            found.kind[at], found.size[at], found.chars[at] = _made_of(pieces.bytes_of(at))
    return found


def _made_of(data: bytes) -> tuple[int, int, int]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        pass
    else:
        bare = text.removeprefix(" ")  # other blanks part words
        if not bare:
            return (BLANK, 0, 0) if text else (OTHER, 0, 0)
        return (OTHER, 0, 0) if any(one.isspace() for one in bare) else (WHOLE, 0, len(bare))
    if all(0x80 <= byte < 0xC0 for byte in data):
        return (INSIDE, len(data), 0) if len(data) < 4 else (OTHER, 0, 0)
    begun, rest = data.lstrip(b" "), lacking(data)
    if rest and len(begun) <= 3 and begun[0] >= 0xC0:  # with a blank before it at the most
        return BEGUN, rest, 1
    return OTHER, 0, 0
