"""New pieces for WordPiece: characters, then merges of them; the longest piece that fits is taken, so order is nothing.

Schuster and Nakajima 2012 choose pairs by the gain in likelihood; here, as in the tokenizers library's trainer, the
commonest is taken. Only words wholly of allowed characters teach, so no other word is cut differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bpe import covering
from .candidates import Candidate
from .merging import OTHER, WHOLE, Sequences, Symbols, learn
from .pieces import Pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CODES = 0x110000  # a symbol is a code point, plus this inside of a word


def propose(
    tokenizer: Tokenizer, pieces: Pieces, counts: Counter[str], count: int, min_frequency: int, max_chars: int,
    coverage: float,
) -> list[Candidate]:  # fmt: skip
    """At most `count` pieces that the vocabulary has not, the most useful first, learned from words."""
    prefix = str(pieces.model.get("continuing_subword_prefix") or "##")
    known = tokenizer.get_vocab(with_added_tokens=False)
    characters = _characters(counts)
    own = {one for one in characters if one in known and prefix + one in known}
    kept = own | dict(covering({one: n for one, n in characters.items() if one not in own}, coverage)).keys()
    taught = Counter({word: n for word, n in counts.items() if all(character in kept for character in word)})
    kind = np.full(2 * CODES, OTHER, np.int8)
    codes = [ord(character) for character in kept]
    kind[codes] = kind[[code + CODES for code in codes]] = WHOLE
    symbols = Symbols(kind, np.zeros(2 * CODES, np.int8), (kind == WHOLE).astype(np.int16))
    merges = learn(_sequences(taught), symbols, count + len(known), min_frequency, max_chars)
    used: Counter[int] = Counter()
    for word, n in taught.items():
        used.update({ord(character) + CODES * (at > 0): n for at, character in enumerate(word)})
    names = {symbol: (prefix if symbol >= CODES else "") + chr(symbol % CODES) for symbol in sorted(used)}
    ordered = sorted(names, key=lambda symbol: (-used[symbol], symbol))
    found = [(names[symbol], used[symbol], used[symbol]) for symbol in ordered]
    for at, (left, right, saved, uses) in enumerate(zip(*(one.tolist() for one in merges), strict=True)):
        names[2 * CODES + at] = names[left] + names[right].removeprefix(prefix)
        found.append((names[2 * CODES + at], saved, uses))
    new = [(piece, saved, uses) for piece, saved, uses in found if piece not in known][:count]
    parts = _spelled(tokenizer, prefix, [piece for piece, _, _ in new])
    pairs = zip(new, parts, strict=True)
    return [Candidate(piece, part, saved, uses) for (piece, saved, uses), part in pairs]


def write(spec: dict[str, Any], candidates: Sequence[Candidate], first: int) -> None:
    """Add the candidates to tokenizer.json's `spec`, with the ids from `first` on."""
    spec["model"]["vocab"].update({one.piece: at for at, one in enumerate(candidates, first)})


def words(tokenizer: Tokenizer, texts: Iterable[str], allowed: NDArray[np.bool_]) -> Counter[str]:
    """How often each word stands that is wholly of allowed characters, as the tokenizer normalises and parts text."""
    counts: Counter[str] = Counter()
    for text in texts:
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        if tokenizer.pre_tokenizer is None:
            counts[text] += 1
        else:
            counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return Counter({word: n for word, n in counts.items() if word and all(allowed[ord(one)] for one in word)})


def _characters(counts: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for word, n in counts.items():
        for character in word:
            found[character] += n
    return found


def _sequences(counts: Mapping[str, int]) -> Sequences:
    chosen = sorted(word for word in counts if len(word) > 1)
    codes = [np.frombuffer(word.encode("utf-32-le"), np.uint32).astype(np.int32) for word in chosen]
    for one in codes:
        one[1:] += CODES
    return Sequences(
        np.concatenate([np.zeros(0, np.int32), *codes]),
        np.concatenate([[0], np.cumsum([len(one) for one in codes])]).astype(np.int64),
        np.array([counts[word] for word in chosen], np.int64),
    )


def _spelled(tokenizer: Tokenizer, prefix: str, pieces: Sequence[str]) -> list[tuple[int, ...]]:
    """The base's tokens for each piece; where it has none, its unknown token."""
    found = []
    for piece in pieces:
        cut = tokenizer.model.tokenize(piece.removeprefix(prefix))
        found.append(tuple(token.id for token in cut))
    return found
