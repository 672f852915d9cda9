"""New pieces for Unigram tokenizers: trained alone, then given log-probabilities that stand to the base's as its own.

Kudo 2018 (arXiv:1804.10959, section 3.2): pieces with probabilities, of which a text's likeliest cut is taken. A new
piece's log-probability is moved by the median difference of those that both vocabularies have; where they share none,
it stays, for both are logarithms of shares of their own corpus. The base's are left as they are.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factory import StepError

from .alphabets import blanks, character_class
from .bpe import covering
from .candidates import Candidate
from .pieces import MARKER, Pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

THREADS = 16  # sums are made thread by thread: another number would give other scores
FEW = 10  # pieces in both vocabularies, under which their difference says nothing
RESERVED = "▅"  # SentencePiece's own sign for what is unknown: it learns nothing from a word with it
LOWEST = -100.0  # of what is unknown where uses are counted


def propose(
    tokenizer: Tokenizer, pieces: Pieces, counts: Counter[str], count: int, asked: int, min_frequency: int,
    max_chars: int, coverage: float,
) -> list[Candidate]:  # fmt: skip
    """At most `count` pieces that the vocabulary has not, learned from segments: characters, then the likeliest.

    asked  how many will be taken of them: characters are at most three quarters of these, if there are other pieces
    """
    characters: Counter[str] = Counter()
    for segment, n in counts.items():
        for character in segment.removeprefix(MARKER):
            characters[character] += n
    known = {piece for piece, _ in pieces.model["vocab"]}
    new = {character: n for character, n in characters.items() if character not in known}
    covered = [character for character, _ in covering(new, coverage)]
    found: list[Candidate] = []
    for room in (max(1, asked * 3 // 4), asked):
        kept = {MARKER, *(characters.keys() & known), *covered[:room]}
        fit = _within(counts, kept)
        found = _likeliest(tokenizer, pieces, fit, characters, count, min_frequency, max_chars)
        if len(found) == count or room >= len(covered):
            break
    return found


def _within(counts: Mapping[str, int], kept: Collection[str]) -> Counter[str]:
    """The segments, parted at characters that get no piece."""
    found: Counter[str] = Counter()
    for segment, n in counts.items():
        for part in "".join(one if one in kept else "\0" for one in segment).split("\0"):
            if part and part != MARKER:
                found[part] += n
    return found


def _likeliest(
    tokenizer: Tokenizer, pieces: Pieces, fit: Counter[str], characters: Counter[str], count: int, min_frequency: int,
    max_chars: int,
) -> list[Candidate]:  # fmt: skip
    known = dict(pieces.model["vocab"])
    scores, uses = _learned(fit, known, count, min_frequency, max_chars)
    placed = aligned(scores, known)
    found: list[Candidate] = []
    # a character is needed where none of the longer pieces fits
    for piece in sorted(scores, key=lambda piece: (len(piece) > 1, -scores[piece], piece)):
        often = characters[piece] if len(piece) == 1 else uses[piece]
        if piece not in known and often >= min_frequency and len(found) < count:
            parts = tuple(token.id for token in tokenizer.model.tokenize(piece))
            found.append(Candidate(piece, parts, uses[piece] * (len(parts) - 1), often, placed[piece]))
    return found


def aligned(scores: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """Log-probabilities moved to where the base has its own; none below these.

    What is unknown costs more than the least of all, and has to go on costing the same.
    """
    shared = [known[piece] - score for piece, score in scores.items() if piece in known]
    shift = median(shared) if len(shared) >= FEW else 0.0
    least = min(known.values(), default=0.0)
    return {piece: max(score + shift, least) if score > -math.inf else least for piece, score in scores.items()}


def _learned(
    counts: Counter[str], known: Mapping[str, float], count: int, min_frequency: int, max_chars: int
) -> tuple[dict[str, float], Counter[str]]:
    """Log-probabilities and uses of so many pieces that at least `count` new ones are used, where there are as many."""
    scores: dict[str, float] = {}
    uses: Counter[str] = Counter()
    characters = {MARKER}.union(*counts)  # each has to have room
    asked = max(count + len(characters & known.keys()), len(characters))
    while counts and len(scores) < asked:
        more = trained(counts, asked, max_chars)
        if len(more) <= len(scores):
            break
        scores, uses = more, _uses(more, counts)
        if sum(uses[piece] >= min_frequency and piece not in known for piece in scores) >= count:
            break
        asked += asked // 2
    return scores, uses


def write(spec: dict[str, Any], candidates: Sequence[Candidate], first: int) -> None:
    """Add the candidates to tokenizer.json's `spec`, with the ids from `first` on.

    An id is the place in a list here, so added tokens above the vocabulary get their place in it.
    """
    vocab = spec["model"]["vocab"]
    least = min((score for _, score in vocab), default=0.0)  # a lower one would make what is unknown cost more
    added = {token["id"]: token["content"] for token in spec["added_tokens"]}
    vocab += [[added[at], least] for at in range(len(vocab), first)]
    vocab += [[one.piece, one.score] for one in candidates]


def segments(tokenizer: Tokenizer, texts: Iterable[str], allowed: NDArray[np.bool_]) -> Counter[str]:
    """How often each run of allowed characters stands in a word; the first of a word keeps its mark of a blank."""
    written = allowed & ~blanks()
    written[ord(MARKER)] = False
    inside = re.compile(f"{MARKER}?{character_class(written)}+")
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


def trained(counts: Mapping[str, int], pieces: int, max_chars: int, digits: bool = False) -> dict[str, float]:
    """Piece -> log-probability, of `pieces` pieces learned from words of which each stands so often.

    By SentencePiece's own trainer: that of the tokenizers library sums in another order each time, and equal input
    has to give equal bytes. A tenth of SentencePiece's seed pieces gives as few tokens in half the time.

    digits  each is a piece of its own
    """
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    counts = {word: times for word, times in counts.items() if RESERVED not in word}
    if not counts:
        return {}
    made = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{times}" for word, times in _listed(counts)),
            input_format="tsv",
            model_writer=made,
            model_type="unigram",
            vocab_size=pieces + 1,
            hard_vocab_limit=False,
            character_coverage=1.0,
            seed_sentencepiece_size=max(100_000, 10 * pieces),
            max_sentencepiece_length=max_chars,
            max_sentence_length=1 << 20,
            num_threads=THREADS,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            split_by_whitespace=False,  # it is done
            split_by_unicode_script=False,
            split_by_number=False,
            split_digits=digits,
            shuffle_input_sentence=False,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise StepError(f"Unigram pieces cannot be learned from this corpus: {str(error).strip()}") from error
    model = SentencePieceProcessor(model_proto=made.getvalue())
    found = {model.id_to_piece(at): float(model.get_score(at)) for at in range(model.get_piece_size())}
    return {piece: score for piece, score in found.items() if piece != "<unk>" and MARKER not in piece[1:]}


def _listed(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The words with how often each stands, in rows that let whole words become pieces.

    SentencePiece begins with the strings that stand twice in its list and go on in two ways. A word of which no other
    begins so, however common, would be none of these; so a few times, more of commoner words, a mark is put behind it.
    """
    for word, times in sorted(counts.items()):
        marked = times.bit_length() - 1
        yield word, times - marked
        for _ in range(marked):
            yield word + MARKER, 1


def _uses(scores: Mapping[str, float], counts: Mapping[str, int]) -> Counter[str]:
    """How often the words have each piece, cut by these pieces alone."""
    from tokenizers import Tokenizer, models

    cutter = Tokenizer(models.Unigram([("<unk>", LOWEST), *scores.items()], unk_id=0))
    uses: Counter[str] = Counter()
    ordered = sorted(counts)
    for segment, cut in zip(ordered, cutter.encode_batch(ordered), strict=True):
        for piece in cut.tokens:
            uses[piece] += counts[segment]
    return uses
