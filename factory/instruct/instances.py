"""Self-instruct in three requests: instructions, whether each classifies, and its instances (Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from factory import Answer, Budget, CausalLM, Context, Drop, Request

from .admission import Admission, read_tasks
from .parsing import Block
from .pool import CLASSIFICATION, fields_of, is_classification, lowest
from .readings import Task
from .readings import self_instruct as wang


def with_instances(
    run: Admission, ctx: Context, model: CausalLM, requests: Iterator[Request], lookahead: int, budget: Budget | None
) -> Iterator[tuple[Answer, dict[str, Any], list[tuple[Any, Drop | None]]]]:
    """(answer, what it is about, instances as candidates) for every instruction that is new and sound.

    An instruction is known, and may be shown, as soon as it is admitted, whatever becomes of its instances.
    """
    examples = Examples(run.pool.seeds, [ctx.seed, ctx.step])
    asked = _admitted(run, ctx.ask(model, requests, lookahead, budget), examples)
    sorted_ = _sorted(run, ctx.ask(model, asked, lookahead, budget), examples)
    for answer in ctx.ask(model, sorted_, lookahead, budget):
        assert answer.request is not None
        about = answer.request.about
        labels = about["type"] == CLASSIFICATION
        found: list[tuple[Any, Drop | None]] = []
        if answer.ok:
            read = wang.read_instances(answer.text, answer.finish == "length", about["instruction"], labels)
            found = [(run.made(block, about, [about["place"], at]), fault) for at, (block, fault) in enumerate(read)]
        if not found:
            why = Drop("no instance found") if answer.ok else Drop("request failed", error=answer.error)
            block = Block(about["instruction"], "", answer.text)
            found = [(run.made(block, about, [about["place"], 0]), why)]
        yield answer, about, found


class Examples:
    """The seed tasks that the second and the third request show: the same in all of them."""

    def __init__(self, seeds: list[Any], key: list[Any]) -> None:
        tasks: dict[str, list[Task]] = {}
        classify: dict[str, bool] = {}
        for seed in seeds:
            task = fields_of(seed)
            tasks.setdefault(task[0], []).append(task)
            classify[task[0]] = is_classification(seed)
        first = {fields_of(seed)[0]: seed for seed in reversed(seeds)}
        some = lowest([seed for name, seed in first.items() if classify[name]], wang.CLASSES_SHOWN, key)
        others = lowest([seed for name, seed in first.items() if not classify[name]], wang.OTHERS_SHOWN, key)
        names = [fields_of(seed)[0] for seed in [*some, *others]]
        mixed = [fields_of(seed)[0] for seed in lowest([*some, *others], len(names), [*key, "mixed"])]
        self.whether = [(name, classify[name]) for name in mixed]
        self.labelled = [tasks[name] for name in names[: len(some)]][: wang.SHOWN]
        self.others = [tasks[name] for name in names[len(some) :]][: wang.SHOWN]


def _admitted(run: Admission, answers: Iterator[Answer], examples: Examples) -> Iterator[Request]:
    """The question whether it classifies, for each instruction that is new; the others are dropped here."""
    for answer in answers:
        assert answer.request is not None
        about = answer.request.about
        if not run.takes(answer):
            return
        for place, (block, fault) in enumerate(read_tasks(answer, wang.read)):
            candidate = run.made(block, about, place)
            fault = fault or run.pool.too_near(block.instruction)
            if fault is not None:
                run.reject(candidate, fault)
                continue
            origins = list(dict.fromkeys(name for shown in about["shown"] for name in origins_of(shown)))
            run.pool.accept({**candidate, "parents": origins}, about["draw"])
            told = {**about, "place": place, "instruction": block.instruction}
            told["shown"] = [{"id": name} for name in origins]
            yield Request(wang.whether(block.instruction, examples.whether), about=told, **wang.WHETHER)


def _sorted(run: Admission, answers: Iterator[Answer], examples: Examples) -> Iterator[Request]:
    """The request for instances, label first where the task classifies."""
    for answer in answers:
        assert answer.request is not None
        about = answer.request.about
        if not run.takes(answer):
            return
        labels = answer.ok and wang.says_yes(answer.text)
        messages = wang.instances(about["instruction"], labels, examples.labelled if labels else examples.others)
        limit = wang.LABEL_TOKENS if labels else wang.INSTANCE_TOKENS
        told = {**about, "type": CLASSIFICATION if labels else ""}
        yield Request(messages, max_tokens=limit, about=told, **wang.INSTANCES)


def origins_of(shown: Any) -> list[str]:
    """The seeds a shown task comes from: itself, or those its maker was shown."""
    return list(shown["parents"]) if "draw" in shown["meta"] else [shown["id"]]
