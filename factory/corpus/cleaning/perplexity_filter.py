"""How a small language model takes each document: noted, cut off at a bound, or parted into head, middle and tail."""

from __future__ import annotations

import json
import math
import pickle
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

import factory
from factory import CausalLM, Context, InputError, Record
from factory.models.likelihood import Encoded, losses
from factory.models.loading import load_causal_lm, load_tokenizer

from ..reshape import full_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WINDOW = 256  # records that are sorted by length and batched together; their places in the stage's input fix them
CHARACTERS = 64  # of a text to tokenise for each token wanted: documents may be megabytes long
DOCUMENT_END = "<|endoftext|>"
PARTS = ("head", "middle", "tail")
SMOLLM2: Any = "bundled:smollm2"

Measure = Literal["bits_per_character", "perplexity"]
Part = Literal["head", "middle", "tail"]
Percent = Annotated[float, Field(ge=0, le=100)]


class Score(NamedTuple):
    """What was measured of a text: nats over so many tokens, which are so many characters."""

    nats: float
    tokens: int
    characters: int

    @property
    def bits_per_character(self) -> float:
        return round(self.nats / math.log(2) / max(1, self.characters), 4)

    @property
    def perplexity(self) -> float:
        return round(math.exp(min(700.0, self.nats / self.tokens)), 4)  # exp(710) is no float


@factory.step
def filter_perplexity(
    records: Iterator[Record],
    ctx: Context,
    model: CausalLM = SMOLLM2,
    measure: Measure = "bits_per_character",
    min_value: Annotated[float, Field(ge=0)] | None = None,
    max_value: Annotated[float, Field(ge=0)] | None = None,
    keep: list[Part] | None = None,
    percentiles: tuple[Percent, Percent] = (100 / 3, 200 / 3),
    max_tokens: Annotated[int, Field(ge=1)] = 512,
) -> Iterator[Record]:
    """Note how well a small model foresees each text, and drop what is too surprising, too plain, or of other parts.

    After CCNet (Wenzek et al. 2020, arXiv:1911.00359, section 3.4), with a transformer where it has a 5-gram model.
    Every text begins a document: it is measured after the model's end-of-text token, else its bos token, and from its
    first token on. Noted are meta.perplexity (exp of the mean nats a token) and meta.bits_per_character.

    model       whose likelihoods; `bundled:smollm2` knows English best
    measure     what the bounds and the parts go by. Perplexity is per token, so text that the tokenizer
                cuts into many small ones looks likelier than it is; bits per character do not hang on the cut
    min_value   less is dropped (`perplexity too low`): boilerplate and repetition
    max_value   more is dropped (`perplexity too high`): lists of keywords, garbled text
    keep        head (the lowest), middle or tail, noted in meta.perplexity_part; the others are dropped
                (`other part`). All three are kept with [head, middle, tail]. Parts are of the whole target, so one
                target for each language makes them CCNet's
    percentiles where head ends and where tail begins, among the records within the bounds; thirds, as in the paper
    max_tokens  only a text's first so many tokens are measured, or what the model's context holds

    Texts without a token are dropped (`no text`). Killed, it resumes with the scores it has.
    """
    if min_value is not None and max_value is not None and min_value > max_value:
        raise InputError(f"filter_perplexity: min_value {min_value:g} is above max_value {max_value:g}")
    if percentiles[0] > percentiles[1]:
        raise InputError(f"filter_perplexity: percentiles {list(percentiles)} must rise")
    values = array("d")
    within = _within(_scored(records, model, max_tokens, ctx), measure, min_value, max_value, values, ctx)
    yield from within if keep is None else _parted(within, measure, keep, percentiles, values, ctx)
    if values:
        ctx.report("Perplexity", _markdown(measure, sorted(values), keep is not None, percentiles))


def _within(
    scored: Iterator[tuple[Record, Score]],
    measure: Measure,
    least: float | None,
    most: float | None,
    values: array[float],
    ctx: Context,
) -> Iterator[Record]:
    """The records within the bounds, their scores in meta and, in turn, in `values`."""
    for record, score in scored:
        noted = {"perplexity": score.perplexity, "bits_per_character": score.bits_per_character}
        value = noted[measure]
        if not math.isfinite(score.nats):
            ctx.drop(record, "perplexity not finite")
        elif least is not None and value < least:
            ctx.drop(record, "perplexity too low", found=value, least=least, measure=measure)
        elif most is not None and value > most:
            ctx.drop(record, "perplexity too high", found=value, most=most, measure=measure)
        else:
            values.append(value)
            yield _noted(record, **noted)


def _noted(record: Record, **noted: Any) -> Record:
    changed: Any = {**record, "meta": {**record.get("meta", {}), **noted}}
    return changed  # type: ignore[no-any-return]


def _parted(
    records: Iterator[Record],
    measure: Measure,
    keep: Sequence[Part],
    percentiles: tuple[float, float],
    values: array[float],
    ctx: Context,
) -> Iterator[Record]:
    """The records of some parts. All must be measured before the first is known, so they wait on the disk."""
    waiting = ctx.workdir / "measured.pickle"
    with waiting.open("wb") as file:
        for record in records:
            pickle.dump(record, file)
    if not values:
        return
    head, tail = (percentile(sorted(values), percent) for percent in percentiles)
    with waiting.open("rb") as file:
        for value in values:
            record = pickle.load(file)
            part = PARTS[(value > head) + (value > tail)]
            if part in keep:
                yield _noted(record, perplexity_part=part)
            else:
                ctx.drop(record, "other part", part=part, found=value, measure=measure)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least of the values that `percent` of all do not exceed (nearest rank); below all of them for 0."""
    rank = math.ceil(round(percent * len(ordered) / 100, 9))  # 100/3 percent of 6 are 2, whatever floats say
    return ordered[rank - 1] if rank else -math.inf


def _scored(
    records: Iterator[Record], model: CausalLM, max_tokens: int, ctx: Context
) -> Iterator[tuple[Record, Score]]:
    """Every record that has tokens with its score, in order; scores of an earlier, killed run are taken over."""
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer, path = load_tokenizer(model), ctx.workdir / "scores.jsonl"
    before = iter(_kept(path))
    lm: PreTrainedModel | None = None
    while window := list(islice(records, WINDOW)):
        rows = next(before, None)
        if rows is None:
            lm = load_causal_lm(model) if lm is None else lm
            rows = _measured(lm, tokenizer, [full_text(record) for record in window], max_tokens)
            with path.open("a") as file:
                file.write(json.dumps(rows) + "\n")  # a broken model's NaN comes back as one
        for record, score in zip(window, rows, strict=True):
            if score is None:
                ctx.drop(record, "no text")
            else:
                yield record, Score(*score)


def _kept(path: Path) -> list[Any]:
    """The windows that were measured before a kill; a line that was cut is cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    if len(whole) < len(lines):
        with path.open("r+b") as file:
            file.truncate(sum(map(len, whole)))
    return [json.loads(line) for line in whole]


def _measured(
    lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> list[Score | None]:
    """A score for each text, None where there is no token; (nats, tokens, characters)."""
    most = min(max_tokens, getattr(lm.config, "max_position_embeddings", max_tokens + 1) - 1)
    begin = _document_start(tokenizer)
    places, encoded, characters = [], [], []
    for place, text in enumerate(texts):
        cut = text[: CHARACTERS * most]
        ids = tokenizer(cut, add_special_tokens=False)["input_ids"] if cut.strip() else []
        if ids:
            places.append(place)
            encoded.append(Encoded([begin, *ids[:most]], [0] + [1] * len(ids[:most])))
            characters.append(len(cut if len(ids) <= most else tokenizer.decode(ids[:most])))
    found: list[Score | None] = [None] * len(texts)
    for at, nats in losses(lm, encoded):
        found[places[at]] = Score(nats, len(encoded[at].ids) - 1, characters[at])
    return found


def _document_start(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that documents begin after. A chat model's bos token may begin a turn instead.

    On prose that raises the whole loss: SmolLM2's `<|im_start|>` from 71 to 86 nats for a sentence of 14 words.
    """
    vocabulary = tokenizer.get_vocab()
    named = (vocabulary.get(DOCUMENT_END), tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(token) for token in named if token is not None), 0)


def _markdown(measure: Measure, ordered: Sequence[float], parted: bool, percentiles: tuple[float, float]) -> str:
    shown = sorted({1, 5, 25, 50, 75, 95, 99} | (set(percentiles) if parted else set()))
    lines = ["| percentile | " + measure.replace("_", " ") + " |", "|---|---|"]
    lines += [f"| {percent:.4g} | {percentile(ordered, percent):.4g} |" for percent in shown if percent]
    if parted:
        lines += ["", f"Head ends at {percentiles[0]:.4g} %, tail begins above {percentiles[1]:.4g} %."]
    return "\n".join([*lines, "", f"Of {len(ordered):,} records within the bounds."])
