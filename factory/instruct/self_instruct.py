"""New tasks from seed tasks: a model is shown a few and continues the list (self-instruct, the Alpaca way)."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any

import factory
from factory import (
    Answer,
    CausalLM,
    Context,
    Dataset,
    Drop,
    PromptCompletion,
    Request,
    StepError,
    assistant,
    derive,
    digest,
    text_of,
    user,
)
from factory.text.overlap import RougeIndex
from factory.text.words import words

from .faults import BEYOND_TEXT, fault_in_instruction, fault_in_output
from .parsing import Block, parse_tasks, task_text
from .tally import Tally

TRIAL = 40  # requests after which a hopeless run is stopped
PER_ACCEPTED = 8  # requests a task may cost on average, unless max_requests says otherwise

ASK = (
    "Below is a numbered list of varied tasks{subject}. Each has an instruction, an input (or none, where the "
    "instruction says it all) and the correct output. Continue the list with {new}: unlike those above in topic, verb "
    "and form, short, and solvable with text alone.\n\n{shown}"
)


def most_requests(
    records: int, count: int = 100, per_request: int = 1, max_requests: int | None = None, **_: Any
) -> int:
    """How many requests the step may make."""
    return max_requests or max(TRIAL, -(-PER_ACCEPTED * count // per_request))


@factory.step(requests=most_requests)
def self_instruct(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    model: CausalLM,
    count: int = 100,
    shots: int = 3,
    machine_shots: int = 0,
    per_request: int = 1,
    subject: str = "",
    novelty: float = 0.7,
    lookahead: int = 32,
    max_requests: int | None = None,
    min_yield: float = 0.02,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 200,
    min_words: int = 3,
    max_words: int = 150,
    blacklist: list[str] = list(BEYOND_TEXT),
) -> Iterator[PromptCompletion]:
    """Show seed tasks to a model, have it continue the list, and keep what is sound and new.

    count          tasks to accept; raising it asks the model only for more
    shots          seed tasks shown in a request; machine_shots: accepted ones shown besides (self-instruct: 6 and 2)
    per_request    tasks asked for in one request; small models do best with one
    subject        what the tasks are about, such as "Python programming"; the seeds alone decide when empty
    blacklist      words that a task must not have: what a model that only writes text cannot do
    novelty        ROUGE-L F of instructions above which a task is too like a seed or an accepted one
    lookahead      draw k is built from the tasks accepted up to draw k - lookahead, however fast answers come
    max_requests   requests at most; 8 for every task to accept by default
    min_yield      after 40 requests, the share of candidates below which the run is stopped with a diagnosis
    max_tokens     of an answer, for each task asked for

    Raises StepError when there are no seeds, or when next to nothing is accepted.
    Wang et al. 2023 (Self-Instruct, section 2) and Taori et al. 2023 (Alpaca); unlike theirs,
    tasks are read field by field, an answer cut by its length never gives its last task, and words are cut per script.
    """
    pool = Pool(list(dataset), novelty)
    if not pool.seeds:
        raise StepError("self_instruct: there are no seed tasks to start from")
    if min(shots, per_request, lookahead) < 1:
        raise StepError("self_instruct: shots, per_request and lookahead must each be at least 1")
    most = most_requests(0, count, per_request, max_requests)
    tally = Tally()
    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens * per_request}
    drawn = draws(
        pool, ctx, min(shots, len(pool.seeds)), machine_shots, per_request, subject, lookahead, most, sampling
    )
    for answer in ctx.ask(model, drawn, ahead=lookahead):
        assert answer.request is not None
        about = answer.request.about
        tally.requests += 1
        for candidate, fault in candidates(answer, model, blacklist, min_words, max_words):
            fault = fault or pool.too_near(candidate)
            if fault is None and len(pool.accepted) >= count:
                fault = Drop("more than asked for")
            if fault is not None:
                tally.reject(fault, candidate)
                ctx.drop(candidate, fault.reason, **fault.details)
                continue
            pool.accept(candidate, about["draw"])
            tally.accepted += 1
            yield candidate
        ctx.progress(len(pool.accepted), count, f"{tally.requests} requests")
        if len(pool.accepted) >= count:
            break
        if tally.requests >= TRIAL and tally.accepted < min_yield * tally.candidates:
            raise StepError(tally.diagnosis("self_instruct", min_yield))
    short = f"It ended short of {count}: max_requests = {most} was reached." if tally.accepted < count else ""
    ctx.report("Self-instruct", tally.summary(short))


class Pool:
    """The tasks that are known: seeds, and what was accepted, with the draw it came from."""

    def __init__(self, seeds: list[Any], novelty: float) -> None:
        self.seeds = seeds
        self.novelty = novelty
        self.accepted: list[Any] = []
        self.draws: list[int] = []
        self.index = RougeIndex()
        for seed in seeds:
            self.index.add(seed["id"], words(fields_of(seed)[0]))

    def too_near(self, candidate: Any) -> Drop | None:
        near = self.index.nearest(words(candidate["meta"]["instruction"]), self.novelty)
        return Drop("not novel", of=near[0], rouge_l=round(near[1], 4)) if near else None

    def accept(self, candidate: Any, draw: int) -> None:
        self.index.add(candidate["id"], words(candidate["meta"]["instruction"]))
        self.accepted.append(candidate)
        self.draws.append(draw)

    def until(self, draw: int) -> list[Any]:
        """What was accepted in draws up to this one."""
        return self.accepted[: bisect_right(self.draws, draw)]


def draws(
    pool: Pool,
    ctx: Context,
    shots: int,
    machine_shots: int,
    per_request: int,
    subject: str,
    lookahead: int,
    most: int,
    sampling: dict[str, Any],
) -> Iterator[Request]:
    """Request k for k = 0, 1, …, each fixed by k, the seeds, and what was accepted up to draw k - lookahead."""
    asked: Counter[str] = Counter()
    for draw in range(most):
        key = [ctx.seed, ctx.step, draw]
        shown = lowest(pool.seeds, shots, key) + lowest(pool.until(draw - lookahead), machine_shots, key)
        shown.sort(key=lambda record: digest([key, "order", fields_of(record)]))
        messages = prompt_of(shown, per_request, subject)
        said = digest(messages)
        stop = (f"\n{len(shown) + per_request + 1}. Instruction",)  # not the bare number: it may stand in any text
        about = {"id": shown[0]["id"], "draw": draw, "shown": shown}
        yield Request(messages, index=asked[said], stop=stop, about=about, **sampling)
        asked[said] += 1


def lowest(records: list[Any], size: int, key: list[Any]) -> list[Any]:
    """A sample by rendezvous hashing (Thaler and Ravishankar 1998): each record draws a number, the lowest are taken.

    One record more changes only the samples it gets into: `size` in n + 1 of them. The number depends on the record's
    content, not its id: a line put in at the head of a file gives all others new ids.
    """
    return sorted(records, key=lambda record: digest([key, fields_of(record)]))[:size] if size else []


def prompt_of(shown: list[Any], per_request: int, subject: str) -> list[factory.Message]:
    """The list so far, and the beginning of its next task."""
    tasks = "\n\n".join(task_text(at, *fields_of(record)) for at, record in enumerate(shown, 1))
    new = "one new task" if per_request == 1 else f"{per_request} new tasks"
    about = f" about {subject}" if subject else ""
    ask = ASK.format(subject=about, new=new, shown=tasks)
    return user(ask) + assistant(f"{len(shown) + 1}. Instruction:")


def fields_of(record: Any) -> tuple[str, str, str]:
    """(instruction, input, output) of a record, as its source told them apart, else by the first blank line."""
    prompt, output = text_of(record["prompt"]).strip(), text_of(record["completion"]).strip()
    instruction, given = record["meta"].get("instruction"), record["meta"].get("input")
    if not isinstance(instruction, str) or not prompt.startswith(instruction.strip()):
        instruction, _, given = prompt.partition("\n\n")
    return instruction.strip(), (given if isinstance(given, str) else "").strip(), output


def candidates(
    answer: Answer, model: CausalLM, blacklist: list[str], least: int, most: int
) -> Iterator[tuple[Any, Drop | None]]:
    """Each task an answer holds as a record, and why it is not sound, if so."""
    assert answer.request is not None
    shown = answer.request.about["shown"]
    outputs = [fields_of(record)[2] for record in shown]
    blocks = parse_tasks(answer.text, answer.finish == "length") if answer.ok else []
    for place, block in enumerate(blocks or [Block("", "", answer.text)]):
        candidate = made_from(block, answer, model, place)
        if not answer.ok:
            fault: Drop | None = Drop("request failed", error=answer.error)
        elif not blocks:
            fault = Drop("no task found")
        elif block.fault:
            fault = Drop(block.fault)
        else:
            fault = fault_in_instruction(block.instruction, block.input, least, most, blacklist)
            fault = fault or fault_in_output(block.output, block.instruction, block.input, outputs)
        yield candidate, fault


def made_from(block: Block, answer: Answer, model: CausalLM, place: int) -> Any:
    """A block as a record whose parents are the tasks that were shown. Its id holds the draw, so equal ones differ."""
    assert answer.request is not None
    draw = answer.request.about["draw"]
    prompt = "\n\n".join(part for part in (block.instruction, block.input) if part)
    meta = {
        "instruction": block.instruction,
        "input": block.input,
        "output_words": len(words(block.output)),
        "draw": draw,
        "model": model.uri,
    }
    shown = answer.request.about["shown"]
    record = derive(*shown, prompt=user(prompt), completion=assistant(block.output), meta=meta)
    return {**record, "id": digest([record["id"], draw, place])}
