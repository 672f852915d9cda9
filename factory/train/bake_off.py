"""Several methods on the same data with the same budget, in one table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from factory import CausalLM, Context, Dataset, Flat, InputError, Metric, PromptCompletion, StepError, derive, step
from factory.models.loading import load_tokenizer

from .batches import Example, encode_examples, split_validation
from .methods import Method, Tuning, prepare, room_of
from .options import Count, Share, Training, require_material
from .sft import fine_tune

MEASURES = ("eval_loss", "trained_parameters", "megabytes")


@dataclass(frozen=True)
class Result:
    """What a method gave: losses in nats per token before and after, what is trained, what is saved, how long."""

    before: float
    eval_loss: float
    trained_parameters: int
    megabytes: float
    seconds: float


@step
def bake_off(
    dataset: Dataset[PromptCompletion],
    ctx: Context,
    base: CausalLM,
    tuning: Flat[Tuning],
    training: Flat[Training],
    methods: Annotated[list[Method], Field(min_length=2)] = ["lora", "ia3", "adapter", "bitfit"],
    learning_rates: dict[Method, float] = {},
    max_length: Count = 1024,
    validation: Share = 0.2,
) -> Iterator[Metric]:
    """Fine-tune a base by several methods on equal data for equally many steps; nothing of them is kept.

    base             the model that each method starts from
    methods          which are compared; `method` of sft says what there is
    learning_rates   method: its rate, where its default is not wanted
    {tuning}
    {training}
    max_length       tokens of prompt and completion; longer records are dropped (`too long`), never cut
    validation       share held out, by the hash of the prompt; its loss is what methods are compared by

    For each method the metrics eval_loss (nats per learned token, held out), trained_parameters and megabytes (of what
    would be saved); the report has the seconds, too, of the last run alone where one was killed. Parents of a metric
    are all records. A killed run goes on with the method it was at. Raises InputError for a rate of a method that is
    not compared.
    """
    if odd := learning_rates.keys() - set(methods):
        raise InputError(
            f"bake_off: learning_rates names {min(odd)}, which is not among methods ({', '.join(methods)})"
        )
    if tuning.method != Tuning.model_fields["method"].default:
        raise InputError(f"bake_off: put {tuning.method} among methods; method is not read")
    if validation == 0:
        raise InputError("bake_off: methods are compared on held-out records; give validation a share above 0")
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    records = list(dataset)
    examples = encode_examples(records, tokenizer, room_of(base, max_length, tuning), ctx)
    learned, held = split_validation(examples, validation)
    require_material("bake_off", len(records), len(learned), len(held), None)
    if not held:
        raise StepError("bake_off: methods are compared on held-out records, but the records have only one prompt")
    told = {example.id for example in examples}
    measured = [record for record in records if record["id"] in told]
    results = {}
    for method in dict.fromkeys(methods):
        rate = learning_rates.get(method, training.learning_rate)
        own = tuning.of(method), training.model_copy(update={"learning_rate": rate})
        results[method] = _result(base, *own, learned, held, tokenizer, _aside(ctx, method))
    ctx.report("Methods", _table(results, len(learned), len(held)))
    for method, result in results.items():
        for measure in MEASURES:
            yield derive(*measured, name=measure, value=float(getattr(result, measure)), of=method)


def _result(
    base: CausalLM, tuning: Tuning, training: Training, learned: list[Example], held: list[Example], tokenizer: Any,
    ctx: Context,
) -> Result:  # fmt: skip
    """Train and measure one method, or read what an earlier run of this stage measured."""
    done = ctx.workdir / "result.json"
    if done.is_file():
        return Result(**json.loads(done.read_text(encoding="utf-8")))
    ctx.workdir.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    tuned = prepare(base, tuning, ctx.rng("adapters").randrange(2**31 - 1), training)
    _, run = fine_tune(tuned, learned, held, tokenizer, training, ctx)
    seconds = time.perf_counter() - begun
    trained = sum(weight.numel() for weight in tuned.model.parameters() if weight.requires_grad)
    tuned.save(tokenizer, ctx.output)
    size = sum(path.stat().st_size for path in ctx.output.glob("*.safetensors")) / 1e6
    result = Result(*run.ends["eval_loss"], trained, size, seconds)
    part = done.with_suffix(".part")
    part.write_text(json.dumps(asdict(result)), encoding="utf-8")
    part.replace(done)
    return result


def _aside(ctx: Context, method: str) -> Context:
    """The context of one method: a folder of its own, and its name behind that of each metric."""
    folder = ctx.workdir / method
    named: Any = _Named(ctx.runtime, method)
    return replace(ctx, workdir=folder, output=folder / "model", runtime=named)


class _Named:
    """What a context tells, with a method's name behind that of each metric."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method = inner, method

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self._inner.log(step, {f"{name}/{self._method}": value for name, value in metrics.items()})

    def tell(self, done: int, total: int, note: str) -> None:
        self._inner.tell(done, total, f"{self._method}: {note}")


def _table(results: dict[Method, Result], learned: int, held: int) -> str:
    lines = ["| method | held-out loss | trained parameters | megabytes | seconds |", "|---|---|---|---|---|"]
    for method, one in sorted(results.items(), key=lambda pair: pair[1].eval_loss):
        loss = f"{one.before:.4f} → {one.eval_loss:.4f}"
        lines.append(f"| {method} | {loss} | {one.trained_parameters:,} | {one.megabytes:.2f} | {one.seconds:.1f} |")
    said = f"Best first; {learned:,} records learned, {held:,} held out; nats per learned token, first → last."
    return "\n".join([*lines, "", said])
