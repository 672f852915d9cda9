"""The step measure_vocabulary: what a changed vocabulary gains, what it costs, and whether it broke anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from factory import CausalLM, Context, Dataset, Metric, Model, ModelError, StepError, Text, derive, step
from factory.models.loading import load_causal_lm, load_tokenizer

from .comparing import Comparison, compare
from .findings import Found, figures, size_of
from .gates import drifted, intermediates, unreachable
from .page import histogram, markdown, said_drift
from .pieces import batches, encoded, lines_of, pieces_of, unbounded
from .using import uses_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Share = Annotated[float, Field(ge=0, le=1)]
SAMPLE = 256  # lines on which the leak of probability is measured,
SAMPLE_TOKENS = 4096  # at most so many tokens of them: 40 seconds for 135M parameters on two cores


@step
def measure_vocabulary(
    dataset: Dataset[Text],
    ctx: Context,
    before: Model,
    after: Model,
    protect: Dataset[Text] | None = None,
    max_drift: Share = 0.0,
    max_broken: Share = 0.0,
    max_unreachable: Share = 0.0,
) -> Iterator[Metric]:
    """Measure the tokenizer of `after` against that of `before` on the lines of texts; fail when it broke something.

    before, after    models or tokenizers; the probability that leaks to new tokens is measured where `after` is a model
    protect          texts whose tokens must not change: of the languages that the model knows already
    max_drift        share of the lines of `protect` that may have other tokens
    max_broken       share of the lines that may not come back from encoding and decoding, of those that did before
    max_unreachable  share of the new tokens that may be dead: no text can produce them

    Each gate fails the step with examples; 1 opens it. By script (digits, punctuation and blanks count to the letters
    before them): tokens per character, per UTF-8 byte, and per word between blanks. coverage is the share of characters
    not under an unknown token, byte_fallback the share of tokens that are bytes of a character, round_trip the share of
    lines that come back: exactly where the tokenizer promises it (byte-level, SentencePiece with byte fallback), else
    up to its own normaliser and pre-tokenizer. A new token is reachable when its own text, where it is meant to stand,
    is cut into just this token; pieces of a character's bytes are intermediates and counted apart. leak is the mean
    probability of all new tokens together in lines that hold none of them. `of` is before or after; a metric of one
    script has its name behind its own. Parents of a metric are all the records.
    """
    records: list[dict[str, Any]] = []
    old, new = tokenizer_of(before), tokenizer_of(after)
    sample = Sample(ctx)
    lines = _lines(dataset, ctx, records)
    found = compare(old, new, sample.of(lines) if protect is None else lines)
    if not found.lines:
        ctx.report("Vocabulary", "No record could be measured.")
        return
    measured = _measured(found, old, new, before, after)
    if protect is not None:
        _measure_drift(measured, old, new, sample.of(lines_of(protect)))
    if isinstance(after, CausalLM) and measured.new:
        measured.leak = _leak(after, new, sample.kept, measured.new, ctx)
    ctx.report("Vocabulary", markdown(measured))
    if measured.uses:
        ctx.report("Uses of new tokens", histogram(measured.uses))
    _check(measured, max_drift, max_broken, max_unreachable)
    for name, of, value in figures(measured):
        yield derive(*records, name=name, value=value, of=of)


class Sample:
    """A drawn sample of the lines that pass through, the same for the same lines and seed."""

    def __init__(self, ctx: Context) -> None:
        self.rng = ctx.rng("lines")
        self.kept: list[str] = []

    def of(self, lines: Iterable[str]) -> Iterator[str]:
        for seen, line in enumerate(lines):
            if seen < SAMPLE:
                self.kept.append(line)
            elif (place := self.rng.randrange(seen + 1)) < SAMPLE:
                self.kept[place] = line
            yield line


def tokenizer_of(model: Model) -> Tokenizer:
    """The model's tokenizer as the tokenizers library has it. Raises ModelError where it is none of that library."""
    wrapped = load_tokenizer(model)
    if getattr(wrapped, "backend_tokenizer", None) is None:
        raise ModelError(f"{model.uri}: its tokenizer is none of the tokenizers library, so it cannot be measured")
    return unbounded(wrapped.backend_tokenizer)


def _lines(dataset: Dataset[Text], ctx: Context, records: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the records, whose ids are noted; records without text are dropped."""
    for record in dataset:
        if not record["text"].strip():
            ctx.drop(record, "no text")
            continue
        records.append({"id": record["id"]})
        yield from record["text"].split("\n")


def _measured(found: Comparison, old: Tokenizer, new: Tokenizer, before: Model, after: Model) -> Found:
    known, pieces = pieces_of(old).vocabulary, pieces_of(new)
    added = sorted(token for token, piece in pieces.names.items() if piece not in known)
    return Found(
        comparison=found,
        vocabulary=(len(known), len(pieces.vocabulary)),
        new=added,
        halves=intermediates(new, added),
        dead=[pieces.names[token] for token in unreachable(new, added)],
        uses=uses_of(old, pieces, added, found.after.uses),
        sizes=(size_of(before), size_of(after)),
    )


def _measure_drift(measured: Found, old: Tokenizer, new: Tokenizer, lines: Iterable[str]) -> None:
    measured.protected = 0
    for batch in batches(lines):
        places = drifted(old, new, batch)
        room = 5 - len(measured.changes)
        measured.changes += tuple(said_drift(old, new, batch[at]) for at in places[:room])
        measured.changed += len(places)
        measured.protected += len(batch)


def _leak(model: Model, tokenizer: Tokenizer, lines: list[str], new: list[int], ctx: Context) -> float | None:
    """The leak on lines of the sample without a new token, as many as SAMPLE_TOKENS hold."""
    import torch

    from .leaking import LONGEST, leak

    added, chosen, tokens = set(new), [], 0
    for ids in encoded(tokenizer, lines):
        if added.isdisjoint(ids) and len(ids) > 1 and tokens < SAMPLE_TOKENS:
            chosen.append(ids)
            tokens += min(len(ids), LONGEST)
    if not chosen:
        return None
    torch.set_num_threads(ctx.threads)
    return leak(load_causal_lm(model), chosen, new, tokenizer.encode("").ids[:1])


def _check(found: Found, max_drift: float, max_broken: float, max_unreachable: float) -> None:
    """Raise StepError with a sentence for every gate that is closed."""
    broken = found.comparison.lost
    says = []
    if found.changed > max_drift * (found.protected or 0):
        examples = "\n".join(f"  {one}" for one in found.changes)
        said = f"{found.changed:,} of {found.protected:,} protected lines"
        says.append(f"{said} have other tokens than before, as\n{examples}")
    if found.comparison.newly_broken > max_broken * found.comparison.lines:
        examples = ", ".join(repr(line[:60]) for line in broken)
        says.append(
            f"{found.comparison.newly_broken:,} of {found.comparison.lines:,} lines no longer come back, as {examples}"
        )
    if len(found.dead) > max_unreachable * len(found.new):
        examples = ", ".join(map(repr, found.dead[:5]))
        says.append(f"{len(found.dead):,} of {len(found.new):,} new tokens are dead: no text produces {examples}")
    if says:
        raise StepError("measure_vocabulary: " + "; ".join(says))
