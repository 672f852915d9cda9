"""What must hold of a tokenizer that was changed: no token is dead, no text is lost, protected lines stay as they were.

Plain functions over `tokenizers.Tokenizer`; a template's tokens, truncation and padding are left out everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .pieces import MARKER, Pieces, batches, encoded, pieces_of, unbounded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# What may stand in front of a piece from the middle of a word. One of each kind is enough for BPE, where it must not
# merge with the piece; WordPiece and Unigram may know a longer piece that begins with one, and hardly with all.
INSIDE = ("\n", "x", "q", "e", "1", "7", "(", "·", "я", "中", "あ", "ע", "ก", "한", "zx", "qj", "ßþ", "龘")


def unreachable(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """The ids that no text can produce, in the order given; pieces of partial UTF-8 (`intermediates`) are not counted.

    A token is reachable when encoding its own text gives exactly that one token where it is meant to stand: at the
    begin of a text, after a blank (a piece with `▁`, with and without the blank that the tokenizer adds itself), or
    inside a word (for `##ing` and other pieces without a mark) behind one of the characters of INSIDE, which stand for
    all. A BPE piece that arises anywhere arises alone, too, for the merges within it are the same. A token without
    text is counted as unreachable. An id that the vocabulary does not hold raises KeyError.
    """
    tokenizer, pieces = unbounded(tokenizer), pieces_of(tokenizer)
    texts = {token: pieces.text_of(token) for token in ids}
    waiting = [token for token, text in texts.items() if text]
    for context in ("", None, *INSIDE):
        asked = [(token, text) for token in waiting if (text := _in_context(pieces, token, context)) is not None]
        cut = (ids for batch in batches(text for _, text in asked) for ids in encoded(tokenizer, batch))
        pairs = zip(asked, cut, strict=True)
        found = {token for (token, _), got in pairs if got[-1:] == [token] and (context or len(got) == 1)}
        waiting = [token for token in waiting if token not in found]
        if not waiting:
            break
    dead = {*waiting, *(token for token, text in texts.items() if text == "")}
    return [token for token in texts if token in dead]


def intermediates(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """The ids whose pieces are no whole characters: bytes of UTF-8 that others are made of. In the order given."""
    pieces = pieces_of(tokenizer)
    return [token for token in dict.fromkeys(ids) if pieces.text_of(token) is None]


def broken_round_trips(tokenizer: Tokenizer, lines: Iterable[str]) -> list[str]:
    """The lines that do not come back from encoding and decoding.

    Where the tokenizer promises it (`Pieces.exact`: byte-level, and SentencePiece with byte fallback, without a
    normaliser that changes text), decode(encode(line)) must be the line itself; SentencePiece writes U+2581 as a
    blank. Else, for WordPiece, Unigram and all that normalise, both must be equal to the tokenizer: its normaliser and
    its pre-tokenizer make the same pieces of them (Metaspace may take one blank at the begin). Lines with a special
    token are not judged, nor, where nothing is promised, those with an unknown token: coverage counts what is lost.
    """
    tokenizer, pieces = unbounded(tokenizer), pieces_of(tokenizer)
    broken = []
    for batch in batches(lines):
        broken += [batch[at] for at in not_restored(tokenizer, pieces, batch, encoded(tokenizer, batch))]
    return broken


def not_restored(tokenizer: Tokenizer, pieces: Pieces, lines: list[str], ids: list[list[int]]) -> list[int]:
    """Places of the `broken_round_trips` among lines that are encoded already."""
    unjudged = pieces.special if pieces.exact or pieces.unknown is None else pieces.special | {pieces.unknown}
    broken = []
    decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
    for at, (line, cut, back) in enumerate(zip(lines, ids, decoded, strict=True)):
        wanted = line.replace(MARKER, " ") if pieces.marked else line
        if back == wanted or not unjudged.isdisjoint(cut):
            continue
        seen = as_seen(tokenizer, line)
        if pieces.exact or seen not in (found := as_seen(tokenizer, back), MARKER + found):
            broken.append(at)
    return broken


def drifted(before: Tokenizer, after: Tokenizer, lines: Iterable[str]) -> list[int]:
    """Places of the lines that the two cut into different ids."""
    before, after = unbounded(before), unbounded(after)
    changed, seen = [], 0
    for batch in batches(lines):
        old, new = encoded(before, batch), encoded(after, batch)
        changed += [seen + at for at, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
        seen += len(batch)
    return changed


def as_seen(tokenizer: Tokenizer, text: str) -> str:
    """What the model of a tokenizer sees of a text: normalised, its pre-tokens with a NUL between them.

    Pieces that begin with SentencePiece's mark need none: their parting is no more than the mark says.
    """
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return text
    parts = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    return "".join(part if part.startswith(MARKER) else f"\0{part}" for part in parts)


def _in_context(pieces: Pieces, token: int, context: str | None) -> str | None:
    """The token's text where it may stand; None where this context is not one of its own.

    context  "" the text alone, None the text without the blank that a tokenizer puts in front, else what is before it
    """
    text = pieces.text_of(token)
    assert text is not None
    if context is None:
        return text[1:] if pieces.marked and text.startswith(" ") and len(text) > 1 else None
    continuing = pieces.model.get("continuing_subword_prefix")
    inner = bool(continuing) and token not in pieces.added and pieces.names[token].startswith(continuing or "")
    if not context:
        return None if inner else text
    if continuing and not inner:
        return None  # it begins a word, and words are cut before the model sees them
    return context + text
