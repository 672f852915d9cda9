"""Several answers to each prompt, of one model or of several: what judges, reward models and people then compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, tee
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import (
    Answer,
    Budget,
    Candidates,
    CausalLM,
    Context,
    Prompt,
    Request,
    StepError,
    assistant,
    derive,
    digest,
    text_of,
)

from .standing import PER_ANSWER

MOST = 1000  # answers to a prompt
STRIDE = 10 * MOST  # between the sample numbers of equal prompts: `n` may grow, and the draws there were stay
TOGETHER = 64  # prompts that one model may be ahead of another while they share a budget


def most_requests(records: int, n: int = 4, **_: Any) -> int:
    """How many requests the step makes."""
    return n * records


@factory.step(requests=most_requests)
def sample(
    records: Iterator[Prompt],
    ctx: Context,
    model: CausalLM | list[CausalLM],
    n: Annotated[int, Field(ge=1, le=MOST)] = 4,
    temperatures: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=1)] = [0.7, 1.0],
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0,
    max_tokens: Annotated[int, Field(ge=1)] = 512,
    least: Annotated[int, Field(ge=1, le=MOST)] = 2,
    keep_cut: bool = False,
    budget: Budget | None = None,
) -> Iterator[Candidates]:
    """Have one model, or several, answer each prompt `n` times; the answers that differ are its candidates.

    Raising `n` asks only for the answers that are new. Of answers that are equal but for spacing the first is kept,
    and meta.draws says how often each came. meta.models and meta.temperatures say where each is from; a completion
    that came with the prompt is in meta.reference, and no candidate.

    model         one, or a list of several, which give the answers to each prompt in turn
    n             answers to a prompt, those of all models together
    temperatures  each model's answers to a prompt take them in turn; at 0 all answers are one
    max_tokens    of an answer
    least         different answers that a prompt must have, or it is dropped
    keep_cut      whether an answer that max_tokens cut is a candidate
    budget        what may be spent, by all models together
    """
    models = model if isinstance(model, list) else [model]
    if not 0 < len(models) <= n:
        raise StepError(f"sample: n: {n} gives no answer to some of {len(models)} models; there must be one for each")
    if least > n:
        raise StepError(f"sample: no prompt can have {least} different answers (least) of {n} (n)")
    draws = Draws(models, n, temperatures, {"top_p": top_p, "max_tokens": max_tokens})
    mine, *theirs = tee(numbered(records, ctx), len(models) + 1)
    lines = []
    for place, (one, prompts) in enumerate(zip(models, theirs, strict=True)):
        share = draws.share(place)
        # Each model draws as far ahead as it likes, except where the first to draw would use up the budget alone.
        ahead = TOGETHER * share if budget is not None and len(models) > 1 else None
        lines.append(grouped(ctx.ask(one, draws.requests(prompts, place), ahead=ahead, budget=budget), share))
    tally = Tally(keep_cut)
    for (record, _), *answers in zip(mine, *lines, strict=True):
        drawn = sorted(
            ((answer, one.uri) for one, some in zip(models, answers, strict=True) for answer in some),
            key=lambda draw: draw[0].request.index if draw[0].request is not None else 0,
        )
        if (made := tally.candidates(record, drawn, least, ctx)) is not None:
            yield made
    ctx.report("Sampled answers", tally.table())


def numbered(records: Iterator[Any], ctx: Context) -> Iterator[tuple[Any, int]]:
    """Prompts that ask something, each with how often the same one came before: that draws other answers."""
    seen: Counter[str] = Counter()
    for record in records:
        if not text_of(record["prompt"]).strip():
            ctx.drop(record, "empty prompt")
            continue
        key = digest(record["prompt"])
        yield record, seen[key]
        seen[key] += 1


def grouped(answers: Iterator[Answer], size: int) -> Iterator[list[Answer]]:
    """Answers in lists of `size`."""
    while group := list(islice(answers, size)):
        yield group


@dataclass(frozen=True)
class Draws:
    """Which model gives which of a prompt's answers: sample k comes from model k mod the number of models."""

    models: list[CausalLM]
    n: int
    temperatures: list[float]
    sampling: dict[str, Any]

    def share(self, place: int) -> int:
        """How many of a prompt's answers a model gives."""
        return len(range(place, self.n, len(self.models)))

    def requests(self, prompts: Iterable[tuple[Any, int]], place: int) -> Iterator[Request]:
        """What one model is asked; the index is the sample's number, so that equal requests are new draws."""
        for record, times in prompts:
            for turn, k in enumerate(range(place, self.n, len(self.models))):
                temperature = self.temperatures[turn % len(self.temperatures)]
                index = times * STRIDE + k
                about = {"id": record["id"]}
                yield Request(record["prompt"], index=index, temperature=temperature, about=about, **self.sampling)


@dataclass
class Tally:
    """Answers by model, temperature and what became of them."""

    keep_cut: bool
    asked: Counter[tuple[str, float]] = field(default_factory=Counter)
    fates: Counter[tuple[str, float, str]] = field(default_factory=Counter)
    characters: Counter[tuple[str, float]] = field(default_factory=Counter)

    def candidates(self, record: Any, drawn: list[tuple[Answer, str]], least: int, ctx: Context) -> Any:
        """The prompt with its different answers, or None when there are too few; the others are dropped."""
        kept: dict[str, dict[str, Any]] = {}  # an answer without its spacing -> what is known of it
        faults: Counter[str] = Counter()
        for answer, model in drawn:
            assert answer.request is not None
            source = model, answer.request.temperature
            said = answer.text.strip()
            key = " ".join(said.split())
            fault = self.fault(answer, said) or ("same answer" if key in kept else "")
            self.count(source, fault or "kept", len(said))
            if not fault:
                kept[key] = {"text": said, "model": model, "temperature": source[1], "draws": 1}
                continue
            faults[fault] += 1
            if fault == "same answer":
                kept[key]["draws"] += 1
            if not answer.over_budget:
                given = {"completion": assistant(said)} if answer.ok else {}
                gone = derive(record, prompt=record["prompt"], **given, meta={"model": model, "temperature": source[1]})
                ctx.drop(gone, fault, **({"error": answer.error} if answer.error else {}))
        if len(kept) < least:
            ctx.drop(record, why_too_few(faults, len(kept)), different=len(kept), answers=dict(faults))
            return None
        return made(record, list(kept.values()))

    def fault(self, answer: Answer, said: str) -> str:
        """Why an answer is no candidate, or ""."""
        if not answer.ok:
            return answer.error if answer.over_budget else "request failed"
        if answer.finish == "length" and not self.keep_cut:
            return "cut off"
        return "" if said else "empty answer"

    def count(self, source: tuple[str, float], fate: str, size: int) -> None:
        self.asked[source] += 1
        self.fates[*source, fate] += 1
        self.characters[source] += size if fate == "kept" else 0

    def table(self) -> str:
        """What each model gave at each temperature, in Markdown."""
        kept = sum(count for (*_, fate), count in self.fates.items() if fate == "kept")
        names = sorted({fate for *_, fate in self.fates} - {"kept"})
        lines = [
            f"{kept:,} candidates of {self.asked.total():,} answers.",
            "",
            f"| {' | '.join(['model', 'temperature', 'answers', 'candidates', 'characters each', *names])} |",
            f"|{'---|' * (5 + len(names))}",
        ]
        for source, asked in sorted(self.asked.items()):
            some = self.fates[*source, "kept"]
            each = f"{self.characters[source] / some:,.0f}" if some else "–"
            cells = [f"`{source[0]}`", f"{source[1]:g}", f"{asked:,}", f"{some:,}", each]
            cells += [f"{self.fates[*source, name]:,}" for name in names]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


def why_too_few(faults: Counter[str], different: int) -> str:
    """The reason for which a prompt is dropped; a cause that lies outside the answers is named first."""
    if faults["budget used up"]:
        return "budget used up"
    return "request failed" if not different and set(faults) == {"request failed"} else "too few different answers"


def made(record: Any, kept: list[dict[str, Any]]) -> Any:
    """The prompt and its different answers, not scored yet."""
    meta = {name: value for name, value in record.get("meta", {}).items() if name not in PER_ANSWER}
    if record.get("completion"):
        meta["reference"] = text_of(record["completion"])
    meta |= {f"{name}s": [one[name] for one in kept] for name in ("model", "temperature")}
    meta["draws"] = [one["draws"] for one in kept]
    completions = [assistant(one["text"]) for one in kept]
    return derive(record, prompt=record["prompt"], completions=completions, scores=[], meta=meta)
