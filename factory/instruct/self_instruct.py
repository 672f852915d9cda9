"""New tasks from seed tasks: a model is shown a few and continues the list, and what it writes joins the pool."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

import factory
from factory import Answer, Budget, CausalLM, Context, Dataset, Drop, PromptCompletion, Request, StepError, digest
from factory.errors import did_you_mean
from factory.text.words import is_unspaced, words

from .admission import Admission, read_tasks
from .faults import BEYOND_TEXT
from .instances import with_instances
from .pool import (
    CLASSIFICATION,
    ByBm25,
    ByRouge,
    Novelty,
    Pool,
    fields_of,
    is_classification,
    latin_words,
    type_of,
)
from .quotas import Quotas, apportioned
from .readings import Ask, Reading, reading_of

TRIAL = 40  # requests that a run may always make
PER_ACCEPTED = 8  # requests a task may cost on average, unless max_requests says otherwise
BM25_NOVELTY = 18.0
COUNT = 100

Share = Annotated[float, Field(gt=0)]


def most_requests(
    records: int,
    count: int | None = None,
    reading: str = "default",
    types: Mapping[str, float] | None = None,
    per_request: int | None = None,
    max_requests: int | None = None,
    **_: Any,
) -> int:
    """How many requests the step may make."""
    if max_requests:
        return max_requests
    each = {"alpaca": 20, "belle": 10}.get(reading, 1) if per_request is None else per_request
    each = 1 if reading == "self_instruct" else each  # two more requests for every instruction
    return max(TRIAL, -(-PER_ACCEPTED * wanted(count, types) // each))


def wanted(count: int | None, types: Mapping[str, float] | None) -> int:
    """How many tasks are to be accepted: `count`, else what whole numbers of types sum to."""
    total = sum(types.values()) if types else 0
    return count or (int(total) if total > 1 and float(total).is_integer() else COUNT)


@factory.step(requests=most_requests)
def self_instruct(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    model: CausalLM,
    count: Annotated[int, Field(ge=1)] | None = None,
    reading: Literal["default", "alpaca", "belle", "self_instruct"] = "default",
    types: dict[str, Share] | None = None,
    shots: Annotated[int, Field(ge=1)] | None = None,
    machine_shots: Annotated[float, Field(ge=0)] | None = None,
    per_request: Annotated[int, Field(ge=1)] | None = None,
    subject: str = "",
    likeness: Literal["rouge_l", "bm25"] | None = None,
    novelty: Annotated[float, Field(ge=0)] | None = None,
    evaluation: list[Dataset[Any]] = [],
    lookahead: Annotated[int, Field(ge=1)] = 32,
    max_requests: Annotated[int, Field(ge=1)] | None = None,
    budget: Budget | None = None,
    min_yield: Annotated[float, Field(ge=0, lt=1)] = 0.04,
    collapse: Annotated[float, Field(ge=0, le=1)] = 0.5,
    temperature: Annotated[float, Field(ge=0)] | None = None,
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None,
    max_tokens: Annotated[int, Field(ge=1)] | None = None,
    min_words: Annotated[int, Field(ge=1)] = 3,
    max_words: Annotated[int, Field(ge=1)] = 150,
    blacklist: list[str] = list(BEYOND_TEXT),
) -> Iterator[PromptCompletion]:
    """Show tasks to a model, have it continue the list, and keep what is sound and new; that may be shown in turn.

    count          tasks to accept, 100 unless types or this say otherwise; raising it asks the model only for more
    reading        default, or what was published: alpaca, belle (Chinese) or self_instruct, which asks for
                   instructions first and for their inputs and outputs in further requests
    types          tasks wanted of each type the seeds have, or shares of count; each request then asks for the type
                   that is least filled, and shows tasks of it. For the default reading
    shots          seed tasks shown in a request; machine_shots: accepted ones shown besides, 0.5 being one in every
                   other request. 3 and 0 by default, self_instruct 6 and 2. With 0 a seed more asks anew only where
                   it is shown; what is fed back makes more variety and, from a weak model, more nonsense
    per_request    tasks asked for in one request: 1 by default, with which small models do best; alpaca 20, belle 10
    subject        what the tasks are about, such as "Python programming"; the seeds alone decide when empty
    likeness       rouge_l or bm25: how like a seed or an accepted task another one is. novelty: the value above
                   which it is too like, 0.7 or 18 by default
    evaluation     datasets that no task may share a passage with
    lookahead      draw k is built from the tasks accepted up to draw k - lookahead, however fast answers come
    max_requests   requests at most; 8 for every task to accept by default. budget: requests, tokens or cost at most
    min_yield      the share of candidates that must get through. When fewer do, from the beginning, it is an error
                   with a diagnosis; when it dries up later, what there is is kept, and the report says why
    collapse       share of the latest 50 tasks that may begin with one word (half of it: with three words, or that
                   are near one another) before an alarm is raised; 0 for none
    temperature    0.7, and top_p 0.9, by default; the published readings have their own
    max_tokens     of an answer, for each task asked for: 200 by default
    min_words, max_words, blacklist  of instructions, in the default reading

    The prompt is Chinese where the seeds are. Seeds whose outputs are labels (`is_classification`, or the type
    classification) are shown label first, apart from the others.
    Raises StepError when there are no seeds, when a type is none of theirs, or when next to nothing is accepted.
    Wang et al. 2023 (Self-Instruct, section 2), Taori et al. 2023 (Alpaca), Ji et al. 2023 (BELLE); unlike theirs,
    tasks are read field by field, an answer cut by its length never gives its last task, and words are cut per script.
    """
    seeds = list(dataset)
    chosen = _settled(
        reading_of(reading, least=min_words, most=max_words, blacklist=blacklist),
        shots=shots, machine_shots=machine_shots, per_request=per_request, likeness=likeness, novelty=novelty,
        temperature=temperature, top_p=top_p, max_tokens=max_tokens,
    )  # fmt: skip
    _check(seeds, reading, types, subject)
    count = wanted(count, types)
    quotas = Quotas(apportioned(types, count), lookahead, min_yield) if types else None
    pool = Pool(seeds, _novelty(chosen), _kinds(chosen, quotas))
    run = Admission(ctx, model, pool, quotas, count, min_yield, collapse, _known(evaluation))
    most = most_requests(0, count, reading, types, chosen.per_request, max_requests)
    drawn = draws(pool, quotas, ctx, chosen, subject, lookahead, most)
    if chosen.instances:
        yield from _by_instances(run, with_instances(run, ctx, model, drawn, lookahead, budget), most)
    else:
        yield from _at_once(run, chosen, ctx.ask(model, drawn, lookahead, budget), most)
    run.close()


def _at_once(run: Admission, reading: Reading, answers: Iterator[Answer], most: int) -> Iterator[Any]:
    """The accepted ones of tasks that come whole."""
    for answer in answers:
        assert answer.request is not None
        if not run.takes(answer):
            break
        yield from run.judged(candidates(answer, reading, run), answer.request.about["draw"])
        run.weigh(most)
        if run.over:
            break


def _by_instances(run: Admission, answers: Iterator[Any], most: int) -> Iterator[Any]:
    """The accepted ones of instances of tasks that are in the pool already."""
    for answer, _, found in answers:
        if not run.takes(answer):
            break
        known = False
        for candidate, fault in found:
            fault = fault or (Drop("more than asked for") if run.full else run.contaminated(candidate))
            if fault is not None:
                run.reject(candidate, fault)
                continue
            run.count_in(candidate, again=known)
            known = True
            yield candidate
        run.weigh(most)
        if run.over:
            break


def draws(
    pool: Pool, quotas: Quotas | None, ctx: Context, reading: Reading, subject: str, lookahead: int, most: int
) -> Iterator[Request]:
    """Request k for k = 0, 1, …, each fixed by k, the seeds, and what was accepted up to draw k - lookahead."""
    asked: Counter[str] = Counter()
    chinese = _mostly_chinese(pool.seeds)
    limit = reading.max_tokens * (reading.per_request if reading.tokens_for_each else 1)
    apart = reading.name == "default"
    for draw in range(most):
        key = [ctx.seed, ctx.step, draw]
        kind = quotas.next() if quotas else ""
        if kind is None:
            return
        if not quotas and apart:  # classification is asked for in the share it has among the seeds
            kind = pool.kind_of(pool.sample(1, key)[0])
        rng = ctx.rng("machine", draw)
        machine = pool.made(_whole(reading.machine_shots, rng), draw - lookahead, rng, kind)
        # As published, seeds stand in for machine-made tasks while there are too few of these.
        missing = int(reading.machine_shots) - len(machine) if reading.instances else 0
        shown = pool.sample(reading.shots + missing, key, kind) + machine
        shown.sort(key=lambda record: digest([key, "order", fields_of(record)]))
        labels = apart and all(map(is_classification, shown))
        ask = Ask(tuple(map(fields_of, shown)), reading.per_request, subject, kind, labels, chinese)
        messages = reading.prompt(ask)
        said = digest(messages)
        about = {"id": shown[0]["id"], "draw": draw, "shown": shown, "ask": ask, "type": kind}
        yield Request(
            messages, index=asked[said], stop=reading.stop(ask), temperature=reading.temperature, top_p=reading.top_p,
            presence_penalty=reading.presence_penalty, max_tokens=limit, about=about,
        )  # fmt: skip
        asked[said] += 1


def candidates(answer: Answer, reading: Reading, run: Admission) -> Iterator[tuple[Any, Drop | None]]:
    """Each task an answer holds as a record, and why it is not sound, if so."""
    assert answer.request is not None
    about = answer.request.about
    for place, (block, fault) in enumerate(read_tasks(answer, reading.read)):
        yield run.made(block, about, place), fault


def _settled(reading: Reading, **options: Any) -> Reading:
    """A reading with the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("likeness", reading.likeness) != reading.likeness:
        given.setdefault("novelty", BM25_NOVELTY if given["likeness"] == "bm25" else 0.7)
    if "max_tokens" in given:
        given["tokens_for_each"] = True
    reading = replace(reading, **given)
    if reading.likeness == "rouge_l" and reading.novelty > 1:
        raise StepError(f"self_instruct: novelty is {reading.novelty:g}; a ROUGE-L F lies between 0 and 1")
    return reading


def _novelty(reading: Reading) -> Novelty:
    if reading.likeness == "bm25":
        return ByBm25(reading.novelty, reading.grows)
    return ByRouge(reading.novelty, latin_words if reading.latin else words)


def _known(evaluation: list[Any]) -> Any:
    if not evaluation:
        return None
    from .contamination import Evaluation

    return Evaluation(evaluation)


def _check(seeds: list[Any], reading: str, types: Mapping[str, float] | None, subject: str) -> None:
    if not seeds:
        raise StepError("self_instruct: there are no seed tasks to start from")
    if reading != "default" and (types or subject):
        option = "types" if types else "subject"
        raise StepError(f"self_instruct: {option} belongs to the default reading; {reading} is as it was published")
    known = sorted({type_of(seed) for seed in seeds} - {""})
    for name in types or ():
        if name not in known:
            raise StepError(f"self_instruct: no seed task has the type '{name}'; {did_you_mean(name, known)}")


def _mostly_chinese(seeds: list[Any]) -> bool:
    """Whether most of the instructions are written without spaces."""
    return sum(is_unspaced(fields_of(seed)[0]) for seed in seeds) > len(seeds) / 2


def _whole(number: float, rng: random.Random) -> int:
    """`number` on average."""
    return int(number) + (rng.random() < number % 1)


def _kinds(reading: Reading, quotas: Quotas | None) -> Callable[[Any], str]:
    """What tasks are shown together: those of a type, of classification and not, or any."""
    if quotas is not None:
        return type_of
    if reading.name == "default":
        return lambda task: CLASSIFICATION if is_classification(task) else ""
    return lambda task: ""
