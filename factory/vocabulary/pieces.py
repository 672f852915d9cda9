"""What the pieces of a tokenizer stand for, read from its definition, and the ids of texts in bounded batches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from factory import Dataset, Text

MARKER = "▁"  # SentencePiece's blank
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
BATCH = 1 << 20  # characters that are encoded at once: enough to keep the cores busy, 30 MB of ids and encodings


def byte_alphabet() -> dict[str, int]:
    """The 256 characters in which byte-level pieces are written, to their bytes (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = count(0x100)
    return {chr(byte if byte in printable else next(shifted)): byte for byte in range(256)}


@dataclass(frozen=True)
class Pieces:
    """A tokenizer's definition, as `Tokenizer.to_str` writes it, and how its pieces are read."""

    definition: dict[str, Any]

    @property
    def model(self) -> dict[str, Any]:
        return self.definition["model"]  # type: ignore[no-any-return]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Piece to id, of the model and of the tokens added to it."""
        held = self.model["vocab"]
        found = dict(held) if isinstance(held, dict) else {piece: at for at, (piece, _) in enumerate(held)}
        return found | {one["content"]: one["id"] for one in self.definition["added_tokens"]}

    @cached_property
    def names(self) -> dict[int, str]:
        """Id to piece."""
        return {at: piece for piece, at in self.vocabulary.items()}

    @cached_property
    def added(self) -> dict[int, str]:
        """Tokens that are cut out of a text before the model sees it, special or not."""
        return {one["id"]: one["content"] for one in self.definition["added_tokens"]}

    @cached_property
    def special(self) -> frozenset[int]:
        return frozenset(one["id"] for one in self.definition["added_tokens"] if one["special"])

    @cached_property
    def kind(self) -> str:
        """BPE, Unigram, WordPiece or WordLevel."""
        if "type" in self.model:
            return str(self.model["type"])
        return "BPE" if "merges" in self.model else "Unigram" if "unk_id" in self.model else "WordPiece"

    @cached_property
    def byte_level(self) -> bool:
        return any(one["type"] == "ByteLevel" for one in [*self.normalizers, *self.pre_tokenizers, *self.decoders])

    @cached_property
    def byte_fallback(self) -> bool:
        return bool(self.model.get("byte_fallback"))

    @cached_property
    def marked(self) -> bool:
        """Whether a blank is written as U+2581, as SentencePiece does."""
        parts = [*self.normalizers, *self.pre_tokenizers]
        return any(one["type"] == "Metaspace" or MARKER in (one.get("content"), one.get("prepend")) for one in parts)

    @cached_property
    def unknown(self) -> int | None:
        """The id of the token that stands for what the vocabulary does not hold."""
        if "unk_id" in self.model:
            return self.model["unk_id"]  # type: ignore[no-any-return]
        return self.vocabulary.get(self.model.get("unk_token") or "")

    @cached_property
    def exact(self) -> bool:
        """Whether decode(encode(text)) is promised to be the text itself.

        So it is for byte-level tokenizers and for SentencePiece with byte fallback, unless they normalise the text
        or put a blank in front of it that their decoder cannot tell from one that was there.
        """
        lossless = [{"type": "Prepend", "prepend": MARKER}, {"type": "Replace", "content": MARKER}]
        kept = all(any(part.items() <= one.items() for part in lossless) for one in self.normalizers)
        prefixed = any(one.get("add_prefix_space") or one.get("prepend_scheme", "never") != "never"
                       for one in self.pre_tokenizers)  # fmt: skip
        return kept and not prefixed and (self.byte_level or (self.marked and self.byte_fallback))

    @property
    def normalizers(self) -> list[dict[str, Any]]:
        return _flat(self.definition["normalizer"], "normalizers")

    @property
    def pre_tokenizers(self) -> list[dict[str, Any]]:
        return _flat(self.definition["pre_tokenizer"], "pretokenizers")

    @property
    def decoders(self) -> list[dict[str, Any]]:
        return _flat(self.definition["decoder"], "decoders")

    def bytes_of(self, token: int) -> bytes:
        """The UTF-8 bytes that the token stands for in the middle of a text; a piece's mark for a blank is one.

        Of a WordPiece `##ing` this is `ing`. Raises KeyError for an id that the vocabulary does not hold.
        """
        piece = self.names[token]
        if token in self.added:
            return piece.encode()
        if self.byte_level:
            alphabet = _ALPHABET
            if all(letter in alphabet for letter in piece):
                return bytes(alphabet[letter] for letter in piece)
            return piece.encode()
        if self.byte_fallback and (found := BYTE.fullmatch(piece)):
            return bytes([int(found[1], 16)])
        if self.marked:
            return piece.replace(MARKER, " ").encode()
        prefix, suffix = self.model.get("continuing_subword_prefix"), self.model.get("end_of_word_suffix")
        return piece.removeprefix(prefix or "").removesuffix(suffix or "").encode()

    def text_of(self, token: int) -> str | None:
        """The text that the token stands for; None when its bytes are no whole characters."""
        try:
            return self.bytes_of(token).decode()
        except UnicodeDecodeError:
            return None


_ALPHABET = byte_alphabet()


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    """Reads the definition; a tenth of a second for 50,000 pieces, so once a tokenizer."""
    return Pieces(json.loads(tokenizer.to_str()))


def unbounded(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, or a copy of it that neither truncates nor pads."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    from tokenizers import Tokenizer as Kind

    copy = Kind.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def lines_of(dataset: Dataset[Text]) -> Iterator[str]:
    """The lines of all records that are more than blanks."""
    return (line for record in dataset for line in record["text"].split("\n") if line.strip())


def batches(lines: Iterable[str], most: int = BATCH) -> Iterator[list[str]]:
    """Lines in order, at most `most` characters at once where no line alone is longer."""
    batch: list[str] = []
    size = 0
    for line in lines:
        if batch and (size + len(line) > most or len(batch) >= most >> 4):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def encoded(tokenizer: Tokenizer, lines: list[str]) -> list[list[int]]:
    """The ids of each line, without the tokens that a template puts around it. `tokenizer` is `unbounded`."""
    return [one.ids for one in tokenizer.encode_batch_fast(lines, add_special_tokens=False)]


def _flat(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """The parts of a `Sequence`, in order, or the part alone, or none."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [leaf for one in part[inner] for leaf in _flat(one, inner)]
