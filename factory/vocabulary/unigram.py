"""New pieces for Unigram tokenizers: trained alone, then given log-probabilities that stand to the base's as its own.

Kudo 2018 (arXiv:1804.10959, section 3.2): pieces with probabilities, of which a text's likeliest cut is taken. A new
piece's log-probability is moved by the median difference of those that both vocabularies have; where they share none,
it stays, for both are logarithms of shares of their own corpus. The base's are left as they are.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bpe import covering
from .candidates import Candidate
from .pieces import MARKER, Pieces
from .runs import Runs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FEW = 10  # pieces in both vocabularies, under which their difference says nothing
LOWEST = -100.0  # of a place in the list that is an added token's: no text is cut into it


def propose(
    tokenizer: Tokenizer, pieces: Pieces, texts: Iterable[str], allowed: NDArray[np.bool_], count: int,
    min_frequency: int, max_chars: int, coverage: float,
) -> tuple[list[Candidate], Runs]:  # fmt: skip
    """At most `count` pieces that the vocabulary has not, the likeliest first."""
    counts = segments(tokenizer, texts, allowed)
    characters: Counter[str] = Counter()
    for segment, n in counts.items():
        for character in segment.removeprefix(MARKER):
            characters[character] += n
    kept = {MARKER, *dict(covering(characters, coverage))}
    fit = Counter({segment: n for segment, n in counts.items() if kept.issuperset(segment)})
    known = dict(pieces.model["vocab"])
    scores, uses = _trained(fit, count + sum(one in known for one in kept), max_chars)
    shared = [known[piece] - score for piece, score in scores.items() if piece in known]
    shift = median(shared) if len(shared) >= FEW else 0.0
    found: list[Candidate] = []
    for piece, score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if piece not in known and uses[piece] >= min_frequency and len(found) < count:
            parts = tuple(token.id for token in tokenizer.model.tokenize(piece))
            found.append(Candidate(piece, parts, uses[piece] * (len(parts) - 1), uses[piece], score + shift))
    return found, _measured(tokenizer, counts)


def write(spec: dict[str, Any], candidates: Sequence[Candidate], first: int) -> None:
    """Add the candidates to tokenizer.json's `spec`, with the ids from `first` on.

    An id is the place in a list here, so ids of added tokens above the vocabulary get a place that no text is cut into.
    """
    vocab = spec["model"]["vocab"]
    added = {token["id"]: token["content"] for token in spec["added_tokens"]}
    vocab += [[added.get(at, f"<unused{at}>"), LOWEST] for at in range(len(vocab), first)]
    vocab += [[one.piece, one.score] for one in candidates]


def segments(tokenizer: Tokenizer, texts: Iterable[str], allowed: NDArray[np.bool_]) -> Counter[str]:
    """How often each run of allowed characters stands in a word; the first of a word keeps its mark of a blank."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], allowed, [False]]).astype(np.int8)))
    ranges = "".join(f"{re.escape(chr(a))}-{re.escape(chr(b - 1))}" for a, b in edges.reshape(-1, 2).tolist())
    inside = re.compile(f"{MARKER}?[{ranges}]+")
    words: Counter[str] = Counter()
    for text in texts:
        if tokenizer.normalizer is not None:
            text = tokenizer.normalizer.normalize_str(text)
        parts = tokenizer.pre_tokenizer.pre_tokenize_str(text) if tokenizer.pre_tokenizer is not None else [(text, 0)]
        words.update(word for word, _ in parts)
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for segment in inside.findall(word):
            counts[segment] += n
    return counts


def _trained(counts: Mapping[str, int], pieces: int, max_chars: int) -> tuple[dict[str, float], Counter[str]]:
    """(piece -> log-probability, piece -> how often the segments have it), of a vocabulary of about `pieces`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # sums in another order would be other numbers
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces + 1, special_tokens=["<unk>"], unk_token="<unk>", max_piece_length=max_chars,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(("\n".join([one] * n) for one, n in sorted(counts.items())), trainer)
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    scores.pop("<unk>", None)
    uses: Counter[str] = Counter()
    ordered = sorted(counts)
    for segment, cut in zip(ordered, tokenizer.encode_batch(ordered), strict=True):
        for piece in cut.tokens:
            uses[piece] += counts[segment]
    return scores, uses


def _measured(tokenizer: Tokenizer, counts: Mapping[str, int]) -> Runs:
    """What the base makes of the segments."""
    runs = Runs(0)
    for segment, n in counts.items():
        runs.characters += n * len(segment.removeprefix(MARKER))
        runs.tokens += n * len(tokenizer.model.tokenize(segment))
    return runs
