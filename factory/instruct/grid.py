"""Tasks for every combination of attributes, or for each of many personas: a grid, and how much of it is covered."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import (
    Budget,
    CausalLM,
    Context,
    Dataset,
    Drop,
    InputError,
    PromptCompletion,
    Request,
    StepError,
    assistant,
    digest,
    place_of,
    user,
)
from factory.models.framing import defused, framed

from .faults import first_of
from .generation import Generation, Novelty
from .pool import fields_of
from .tally import cell as in_cell
from .writing import Bounds, Draw, most_draws, written

Cell = dict[str, str]
PERSONA = "persona"  # the attribute that a file of personas gives
ASK = (
    "Write one task for an assistant that answers in writing. All of this must hold for the task:\n{cell}\n\n{shown}"
    "Say nothing of these points in the task itself, only follow them. The task must say all that is needed to do it. "
    "Write the task and nothing else."
)
SHOWN = "So that you see the form, here is what tasks look like, about other things:\n\n{shown}\n\n"
WHO = "the person who asks is this: "
OURS = ("write one task", "say nothing of these", "these points", "an assistant that answers")


def most_requests(
    records: int,
    attributes: dict[str, list[str]] = {},
    count: int | None = None,
    max_draws: int | None = None,
    **_: Any,
) -> int:
    """How many requests the step may make: a task and its answer each draw. Personas are not counted before it runs."""
    cells = math.prod(len(values) for values in attributes.values())
    return 2 * (most_draws(count, max_draws) if count is not None else max_draws or cells)


@factory.step(requests=most_requests)
def grid(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    model: CausalLM,
    attributes: dict[str, Annotated[list[str], Field(min_length=1)]] = {},
    personas: Path | None = None,
    count: Annotated[int, Field(ge=1)] | None = None,
    shots: Annotated[int, Field(ge=1)] = 1,
    novelty: Annotated[float, Field(ge=0, le=1)] = 0.7,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    lookahead: Annotated[int, Field(ge=1)] = 32,
    max_draws: Annotated[int, Field(ge=1)] | None = None,
    min_yield: Annotated[float, Field(ge=0, lt=1)] = 0.04,
    temperature: Annotated[float, Field(ge=0)] = 0.8,
    answer_temperature: Annotated[float, Field(ge=0)] = 0.7,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95,
    instruction_tokens: Annotated[int, Field(ge=1)] = 128,
    answer_tokens: Annotated[int, Field(ge=1)] = 512,
    min_words: Annotated[int, Field(ge=1)] = 3,
    max_words: Annotated[int, Field(ge=1)] = 200,
) -> Iterator[PromptCompletion]:
    """Ask a model for a task with each combination of attributes, and for its answer; seed tasks show the form.

    attributes    name -> values, such as `topic: [rivers, trains]`, `level: [easy, hard]`
    personas      a JSONL file, each line a text or an object with `persona`; one more attribute of the grid
    count         tasks to accept: combinations are drawn so that each value comes equally often, and again when all
                  were drawn; without it every combination is asked for once
    shots         seed tasks shown in a request, which are the parents
    novelty       ROUGE-L F above which a task is too like a seed or one that was drawn before it
    evaluation    datasets whose items must not be among the tasks
    budget        bounds on requests, tokens and cost; the step ends with what there is
    lookahead     draws are asked for this far ahead of the answers
    max_draws     tasks drawn at most; 8 for every one to accept by default
    min_yield     the share of candidates that must get through; when fewer do, the run ends with a diagnosis
    temperature   of tasks, which should differ; answer_temperature: of their answers
    instruction_tokens, answer_tokens  at most; what is cut off there is never kept
    min_words, max_words               of a task

    Raises InputError for a line that is no persona, StepError when there is no seed task, nothing to combine, or next
    to nothing is accepted. Personas: Ge et al. 2024 (Persona Hub), section 2.
    """
    values = {**attributes, **({PERSONA: read_personas(personas)} if personas is not None else {})}
    if not values:
        raise StepError("grid: there is nothing to combine; give it attributes, or a file of personas")
    seeds = list(dataset)
    if not seeds:
        raise StepError("grid: there are no seed tasks to show the form")
    cells = math.prod(len(several) for several in values.values())
    most = most_draws(count, max_draws) if count is not None else min(cells, max_draws or cells)
    gen = Generation(ctx, model, budget, evaluation, count or cells)
    known = Novelty(novelty)
    for seed in seeds:
        known.add(seed["id"], fields_of(seed)[0])
    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": instruction_tokens}
    answering = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens}
    bounds = Bounds(count, most, lookahead, min_yield, min_words, max_words, answering)
    covered = Coverage(values)
    drawn = draws(ctx, seeds, values, shots, most, sampling)
    yield from written(gen, "grid", drawn, known, bounds, covered.count, fault_of=not_ours)
    gen.report("Grid", "A task and its answer are two requests.", covered.table())


def read_personas(path: Path) -> list[str]:
    """The personas of a JSONL file. Raises InputError with the line that holds none."""
    found: dict[str, None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place_of(path)}:{number}: this is not JSON: {error}") from None
        said = row.get(PERSONA, row.get("text")) if isinstance(row, dict) else row
        if not isinstance(said, str) or not said.strip():
            raise InputError(
                f"{place_of(path)}:{number}: expected a text, or an object with '{PERSONA}', not {line[:80]}"
            )
        found.setdefault(" ".join(said.split()))
    if not found:
        raise InputError(f"{place_of(path)}: there is no persona in it")
    return list(found)


def combinations(values: dict[str, list[str]], ctx: Context) -> Iterator[Cell]:
    """Every combination once, in an order in which each value of each attribute comes equally often.

    Each attribute goes through its own shuffled values, over and over; combinations that this leaves out come after.
    Lazy: a grid may have more cells than fit in memory.
    """
    names = list(values)
    seen: set[tuple[str, ...]] = set()
    for turn in range(math.prod(len(several) for several in values.values())):
        cell = tuple(_in_turn(values[name], turn, ctx, name) for name in names)
        if cell not in seen:
            seen.add(cell)
            yield dict(zip(names, cell, strict=True))
    for cell in itertools.product(*values.values()):
        if cell not in seen:
            yield dict(zip(names, cell, strict=True))


def _in_turn(values: list[str], turn: int, ctx: Context, name: str) -> str:
    """The value that has its turn: each once in as many turns as there are, in an order drawn for each such round."""
    order = sorted(values, key=lambda value: digest([ctx.seed, ctx.step, name, turn // len(values), value]))
    return order[turn % len(values)]


def draws(
    ctx: Context, seeds: list[Any], values: dict[str, list[str]], shots: int, most: int, sampling: dict[str, Any]
) -> Iterator[Draw]:
    """A task for each cell, and another one for each when all were drawn."""
    number = 0
    for index in itertools.count():
        for cell in combinations(values, ctx):
            if number == most:
                return
            key = [ctx.seed, ctx.step, cell, index]
            shown = sorted(seeds, key=lambda seed: digest([key, fields_of(seed)]))[:shots]
            about = {"id": shown[0]["id"]}
            request = Request(prompt_of(cell, shown), index=index, about=about, **sampling)
            yield Draw(number, shown, request, {"cell": cell}, [])
            number += 1


def prompt_of(cell: Cell, shown: list[Any]) -> list[factory.Message]:
    """What is asked for a cell."""
    lines = [
        f"- {WHO}{defused(value)}" if name == PERSONA else f"- {defused(name)}: {defused(value)}"
        for name, value in cell.items()
    ]
    forms = "\n".join(framed("\n\n".join(filter(None, fields_of(seed)[:2])), "task") for seed in shown)
    ask = ASK.format(cell="\n".join(lines), shown=SHOWN.format(shown=forms))
    return user(ask) + assistant("Task:")


def not_ours(draw: Draw) -> Drop | None:
    phrase = first_of(OURS, draw.instruction)
    return Drop("words of the prompt", phrase=phrase) if phrase else None


class Coverage:
    """How many tasks each value of each attribute has given."""

    LONGEST = 40  # rows of the table for one attribute

    def __init__(self, values: dict[str, list[str]]) -> None:
        self.values = values
        self.counts: Counter[tuple[str, str, bool]] = Counter()
        self.cells: set[str] = set()

    def count(self, draw: Draw, accepted: bool) -> None:
        for name, value in draw.meta["cell"].items():
            self.counts[name, value, accepted] += 1
        if accepted:
            self.cells.add(digest(draw.meta["cell"]))

    def table(self) -> str:
        """Accepted and rejected tasks by value, in Markdown; of many values those that gave least."""
        cells = math.prod(len(several) for several in self.values.values())
        lines = [f"{len(self.cells)} of {cells} combinations have a task.", ""]
        lines += ["| attribute | value | accepted | rejected |", "|---|---|---|---|"]
        for name, several in self.values.items():
            ordered = sorted(several, key=lambda value: self.counts[name, value, True])
            order = several if len(several) <= self.LONGEST else ordered[: self.LONGEST]
            for value in order:
                kept, lost = self.counts[name, value, True], self.counts[name, value, False]
                lines.append(f"| {in_cell(name)} | {in_cell(value)} | {kept} | {lost} |")
            if len(several) > self.LONGEST:
                without = sum(not self.counts[name, value, True] for value in several)
                lines.append(f"| {in_cell(name)} | {len(several) - self.LONGEST} more; {without} without a task | | |")
        return "\n".join(lines)
