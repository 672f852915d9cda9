"""Two steps of training on this machine, in a process of its own: the memory and time they take, beside the plan's."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..engine.model import Model
from ..engine.recipe import Call
from ..engine.stage import Plan, Stage
from ..errors import FactoryError, StepError, said
from ..plugins import get_step
from ..train.fitting import Setting
from .training_stages import Fitted, base_of, there

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_ of malloc.h
STEPS = 2  # the first makes the optimizer's state, the second has all there is
OFF: dict[str, Any] = {
    "validation": 0,
    "early_stopping": None,
    "held_out": {},
    "evaluation": [],
    "checkpoint_every": 1_000,
}
CHECK = {"length": {"length": [1, 1000]}}  # of ppo's answers, where its reward model is not built yet


@dataclass(frozen=True)
class Trial:
    """What the process is told: a call with the setting to try, the models it names, and how long records are.

    base     the model whose tokenizer makes the records
    objects  name or URI of each model that the call refers to -> the model
    """

    call: Call
    base: Model
    objects: dict[str, Model]
    length: int
    records: int
    threads: int
    project: Path
    plugins: Path


@dataclass
class Measured:
    """What the two steps took: bytes at the peak above what the process had before, and seconds of the second one."""

    gpu: bool
    peak: float
    seconds: float


@dataclass(frozen=True)
class Tried:
    """What was planned for two steps here and what they took: bytes, seconds of a step, operations a second."""

    gpu: bool
    planned: float
    measured: float
    seconds: float
    rate: float


def tried(plan: Plan, one: Fitted) -> Tried:
    """Train two steps of a stage with the setting that fits. A base that is not built yet is what is below it."""
    setting = one.setting or one.task.setting
    found = two_steps(trial_of(plan, one, setting))
    task = replace(one.task, gpu=found.gpu)
    return Tried(
        found.gpu, task.need(setting).peak, found.peak, found.seconds, task.flops(setting) / max(found.seconds, 1e-9)
    )


def trial_of(plan: Plan, one: Fitted, setting: Setting) -> Trial:
    known = get_step(one.call.step).options.model_fields
    changed: dict[str, Any] = {name: value for name, value in OFF.items() if name in known}
    changed |= {"max_steps": STEPS, "batch_size": setting.batch_size, "gradient_checkpointing": setting.recompute}
    records = STEPS * setting.batch_size * setting.accumulation
    if one.call.step == "ppo":
        reward = one.stage.references.get(str(one.call.options["reward"]))
        if isinstance(reward, Stage) and reward.manifest is None:
            changed |= {"reward": None, "rewards": CHECK}
        records = STEPS * int(one.call.options["prompts_per_step"])
    else:
        changed |= {"accumulation": setting.accumulation}
    options = {**one.call.options, **changed}
    objects = {name: there(value) for name, value in one.stage.references.items() if is_model(value)}
    length = one.task.length - one.task.answer
    base = there(base_of(one.stage, one.call))
    threads, project = plan.recipe.threads, plan.project
    return Trial(Call(one.call.step, options), base, objects, length, records, threads, project, project / "plugins")


def is_model(value: Stage | Model) -> bool:
    return isinstance(value, Model) or value.is_model


def two_steps(trial: Trial) -> Measured:
    """Run a trial. Raises StepError when the process dies, as when the machine's memory is too small for it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_train, trial).result()
        except BrokenProcessPool:
            raise StepError(
                f"{trial.call.step}: the process of the two steps died; most likely this machine's memory is too small"
            ) from None


def _train(trial: Trial) -> Measured:
    """In the process: everything is imported first, then the step runs as a build would run it."""
    from ..engine.context import Context
    from ..engine.options import options_of
    from ..engine.project import enter_project
    from ..models.quiet import quiet
    from ..plugins import load_plugins

    # as the engine's own training processes have it: threads that spin starve each other on a busy machine
    os.environ.update(OMP_NUM_THREADS=str(trial.threads), MKL_NUM_THREADS=str(trial.threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _return_freed()
    enter_project(trial.project)
    load_plugins(trial.plugins)
    step = get_step(trial.call.step)
    quiet()
    import peft  # noqa: F401
    import torch

    from ..train import loop  # noqa: F401

    gpu = torch.cuda.is_available()
    with TemporaryDirectory() as name:
        home = Path(name)
        (home / "work").mkdir()
        options = options_of(step, trial.call, trial.objects)
        dataset = _dataset(step.takes, trial, home / "records.parquet")
        _warm_up(trial.threads)
        watch = Watch()
        context = Context(step.name, 0, trial.threads, home / "work", home / "model", watch)
        before = _resident()
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        try:
            step.function(dataset, **options, **{step.context: context} if step.context else {})
        except FactoryError:
            raise
        except Exception as error:
            raise StepError(f"{step.name}: {said(error)}") from error
        peak = float(torch.cuda.max_memory_allocated()) if gpu else watch.most - before
        return Measured(gpu, peak, watch.seconds)


@dataclass
class Watch:
    """The engine's side of the context: it notes when steps end and how much memory the process has had by then.

    What saving the model takes comes after the last step and is no part of it.
    """

    ends: dict[int, float] = field(default_factory=dict)
    most: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ends.get(STEPS, math.nan) - self.ends.get(STEPS - 1, math.nan)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.ends[step] = time.monotonic()
        self.most = _resident("VmHWM")

    def memos(self, function: Any, items: Any, *args: Any) -> list[Any]:
        raise StepError("two steps of training cannot map")

    def ask(self, model: Any, requests: Any, ahead: int | None, budget: Any) -> Iterator[Any]:
        raise StepError("two steps of training ask no model")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        raise StepError(f"a made-up record of the dry run was dropped: {reason} {details}")

    def report(self, title: str, body: str) -> None: ...
    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None: ...
    def tell(self, done: int, total: int, note: str) -> None: ...


def _warm_up(threads: int) -> None:
    """A step of a model of no size: what libraries bring into memory at their first use is none of the model's."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=16, **sizes))
    ids = torch.zeros(2, 64, dtype=torch.long)
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    torch.optim.AdamW(model.parameters(), fused=True).step()


def _return_freed() -> None:
    """Have glibc give every larger block back when it is freed, so that what is counted is what tensors take.

    It would keep some for later, and so much the more the busier the heap is; a step takes up to half as long again.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            libc.mallopt(parameter, 1 << 16)


def _resident(what: str = "VmRSS") -> float:
    """Bytes of this process's memory, as Linux counts it: now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def _dataset(kind: Any, trial: Trial, path: Path) -> Any:
    """Made-up records of the kind, each as long as the plan says, in one shard."""
    import pyarrow.parquet as pq

    from ..engine.dataset import Dataset, Shard
    from ..engine.schema import encode, schema_of, shape_record

    schema = schema_of(kind)
    names = [name for name in schema.names if name not in ("id", "parents", "meta")]
    rows = [shape_record(record, names) for record in _records(kind.__name__, trial)]
    pq.write_table(encode(rows, schema), path)
    return Dataset([Shard(str(path), path.stem)], kind)


def _records(kind: str, trial: Trial) -> Iterator[dict[str, Any]]:
    from ..engine.records import assistant, user
    from ..models.chat import encode_turns
    from ..models.loading import load_tokenizer

    tokenizer = load_tokenizer(trial.base)

    def tokens(words: str) -> int:
        if kind == "Text":
            return len(tokenizer(words)["input_ids"]) + 1  # the eos token
        if kind == "Prompt":
            return len(encode_turns(tokenizer, user(words), assistant(""))[0])
        return len(encode_turns(tokenizer, user("0"), assistant(words))[0])

    words = _words(trial.length, tokens)
    for number in range(trial.records):
        record: dict[str, Any] = {"id": f"{number:08x}", "parents": [], "meta": {}}
        if kind == "Text":
            record |= {"text": words}
        elif kind == "Prompt":
            record |= {"prompt": user(words)}
        else:
            said, other = assistant(words), assistant("b" + words[1:])  # equal answers are no pair
            record |= {"prompt": user(str(number % 10)), "completion": said, "chosen": said, "rejected": other}
            record |= {"label": number % 2 == 0}
        yield record


def _words(length: int, tokens: Any) -> str:
    """As many words as make a record of at most `length` tokens."""
    low, high = 1, 2 * length
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens(_letters(middle)) <= length else (low, middle - 1)
    return _letters(low)


def _letters(count: int) -> str:
    return " ".join(chr(97 + 7 * at % 26) for at in range(count))
