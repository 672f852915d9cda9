"""`sft` against TRL's SFTTrainer: tokens a second and peak memory, same model, records and settings.

    python benchmarks/train.py [--model bundled|tiny|150k|1b|7b] [--records fixed|mixed] [--steps 12] [--rounds 3]
                               [--batch 4] [--length 256] [--method lora|full|qlora] [--recompute]
                               [--subjects ours,trl,transformers]

Each measurement is a process of its own; the order of the subjects changes from round to round. Time is from the second
step's end to the last step's end. Tokens are those of the records, padding not counted, and the learned ones, which
all must agree on. Memory is the peak of the process above what it holds with everything imported and nothing loaded, on
a GPU the peak of what is allocated there. `transformers` is its plain Trainer on our batches, with the loss that the
model itself makes. The share of the matrix peak counts 6 operations a weight and token, or 4 where few weights are
trained, against those of one large matrix product on this machine.

    bundled, tiny, 150k, 1b, 7b  see models.py; from 1b on for a GPU, as in --model 7b --method qlora --recompute
    fixed    every record has --length tokens; mixed: 40 to --length, most of them short, in the order drawn
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from models import MODELS, held, load_base, make_model, matrix_peak, peak

SUBJECTS = ("ours", "trl", "transformers")
PATIENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that spin starve each other, as in the engine
RATE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", choices=MODELS)
    parser.add_argument("--records", default="fixed", choices=["fixed", "mixed"])
    parser.add_argument("--method", default="lora", choices=["lora", "full", "qlora"])
    parser.add_argument("--recompute", action="store_true", help="activations in the backward pass")
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    for name, default in (("steps", 12), ("rounds", 3), ("batch", 4), ("length", 256), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        prepare(options)
        compare(options)


def compare(options: argparse.Namespace) -> None:
    subjects = options.subjects.split(",")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for turn in range(options.rounds):
        for name in subjects[turn % len(subjects) :] + subjects[: turn % len(subjects)]:
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", name, "--folder", str(options.folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=PATIENT)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    assert len({(one["tokens"], one["learned"]) for runs in found.values() for one in runs}) == 1, found
    print(f"{options.model}, {options.method}, {options.records} records, batch {options.batch}, {options.steps} steps")
    for name in subjects:
        speeds = [one["tokens"] / one["seconds"] for one in found[name]]
        ratios = [ours["seconds"] / one["seconds"] for ours, one in zip(found[subjects[0]], found[name], strict=True)]
        memory = statistics.median(one["megabytes"] for one in found[name])
        print(
            f"{name:12} {statistics.median(speeds):8.0f} tokens/s, {statistics.median(ratios):.2f} times ours "
            f"({min(ratios):.2f} to {max(ratios):.2f}), peak {memory:,.0f} MB, "
            f"last loss {found[name][-1]['loss']:.4f}, "
            f"{statistics.median(one['share'] for one in found[name]):.0%} of the matrix peak"
        )


def prepare(options: argparse.Namespace) -> None:
    """The model's folder and the records, which every subject reads."""
    from transformers import AutoTokenizer

    make_model(options.model, options.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(options.folder / "model")
    draw = random.Random(1)
    words = "list tuple set dict string number value key order item file line text".split()  # noqa: SIM905
    rows = []
    for _ in range(options.steps * options.batch):
        size = options.length if options.records == "fixed" else int(40 + (options.length - 40) * draw.random() ** 3)
        ids = tokenizer(" ".join(draw.choice(words) for _ in range(2 * size)))["input_ids"]
        answer = tokenizer.decode(ids[: size - 30])
        rows.append({"prompt": "Say something about Python.", "completion": answer})
    (options.folder / "records.json").write_text(json.dumps(rows))


def measured(options: argparse.Namespace) -> dict[str, float]:
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch
    import trl  # noqa: F401
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.folder / "model")
    with torch.device("meta"):
        shape = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(options.folder / "model"))
    # a tied embedding is one weight, and it is multiplied in the head
    weights = sum(weight.numel() for weight in shape.parameters())
    before = held()
    rows = json.loads((options.folder / "records.json").read_text())
    records = [
        {"prompt": [{"role": "user", "content": row["prompt"]}],
         "completion": [{"role": "assistant", "content": row["completion"]}]} for row in rows
    ]  # fmt: skip
    run = {"ours": ours, "trl": theirs, "transformers": plain}[options.measure]
    tokens, learned, clock, loss = run(options, tokenizer, records)
    seconds = clock[-1] - clock[1]
    share = (len(clock) - 2) / len(clock)
    reached = (6 if options.method == "full" else 4) * weights * tokens * share / seconds
    return {
        "tokens": tokens * share, "learned": learned, "seconds": seconds, "megabytes": peak() - before, "loss": loss,
        "share": reached / matrix_peak(),
    }  # fmt: skip


def ours(options: argparse.Namespace, tokenizer: Any, records: list[Any]) -> tuple[int, int, list[float], float]:
    import torch

    from factory import Context
    from factory.train.options import Training
    from factory.train.sft import fine_tune

    clock: list[float] = []
    losses: list[float] = []

    class Runtime:
        def log(self, step: int, metrics: dict[str, float]) -> None:
            clock.append(time.perf_counter())
            losses.append(metrics["train_loss"])

        def tell(self, *_: Any) -> None: ...
        def drop(self, *_: Any) -> None: ...

    runtime: Any = Runtime()
    ctx = Context("sft", 1, options.threads, options.folder / f"work{time.time_ns()}", options.folder / "out", runtime)
    examples, tuned = _material(options, tokenizer, records)
    training = Training(batch_size=options.batch, learning_rate=RATE, warmup=0.0, checkpoint_every=10**6,
                        gradient_checkpointing=options.recompute)  # fmt: skip
    torch.set_num_threads(options.threads)
    fine_tune(tuned, examples, [], tokenizer, training, ctx)
    return sum(map(len, examples)), sum(sum(one.learned) for one in examples), clock, losses[-1]


def _material(options: argparse.Namespace, tokenizer: Any, records: list[Any]) -> tuple[list[Any], Any]:
    """The records in tokens, and the model with what is trained of it."""
    from factory import CausalLM
    from factory.train.adapters import LoraOptions
    from factory.train.batches import encode_examples
    from factory.train.methods import Tuning, prepare

    nobody: Any = None
    rows: Any = [{"id": str(at), **record} for at, record in enumerate(records)]
    examples = encode_examples(rows, tokenizer, 2 * options.length, nobody)
    base = CausalLM(uri="model", path=options.folder / "model")
    return examples, prepare(base, Tuning(lora=LoraOptions(dropout=0.0)).of(options.method), 1)


def plain(options: argparse.Namespace, tokenizer: Any, records: list[Any]) -> tuple[int, int, list[float], float]:
    from functools import partial

    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from factory.train.batches import collate

    clock: list[float] = []
    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                clock.append(time.perf_counter())
                losses.append(logs["loss"])

    examples, tuned = _material(options, tokenizer, records)
    trainer = Trainer(
        tuned.model,
        TrainingArguments(
            output_dir=str(options.folder / "plain"), per_device_train_batch_size=options.batch, num_train_epochs=1,
            learning_rate=RATE, lr_scheduler_type="cosine", logging_steps=1, save_strategy="no", report_to="none",
            disable_tqdm=True, seed=1, remove_unused_columns=False, bf16=torch.cuda.is_available(),
            gradient_checkpointing=options.recompute, gradient_checkpointing_kwargs={"use_reentrant": False},
        ),
        data_collator=partial(collate, pad_id=tokenizer.pad_token_id), train_dataset=examples, callbacks=[Watch()],
    )  # fmt: skip
    trainer.train()
    return sum(map(len, examples)), sum(sum(one.learned) for one in examples), clock, losses[-1]


def theirs(options: argparse.Namespace, tokenizer: Any, records: list[Any]) -> tuple[int, int, list[float], float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    clock: list[float] = []
    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                clock.append(time.perf_counter())
                losses.append(logs["loss"])

    config = SFTConfig(
        output_dir=str(options.folder / "trl"), per_device_train_batch_size=options.batch, num_train_epochs=1,
        learning_rate=RATE, lr_scheduler_type="cosine", max_length=2 * options.length, seed=1, max_grad_norm=1.0,
        gradient_checkpointing=options.recompute, bf16=torch.cuda.is_available(), logging_steps=1, save_strategy="no",
        report_to="none", disable_tqdm=True, completion_only_loss=True,
    )  # fmt: skip
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    trainer = SFTTrainer(
        load_base(options.folder / "model", "nf4" if options.method == "qlora" else None), args=config,
        train_dataset=Dataset.from_list(records), processing_class=tokenizer, callbacks=[Watch()],
        peft_config=None if options.method == "full" else lora,
    )  # fmt: skip
    rows = list(trainer.train_dataset)
    newline = tokenizer("\n")["input_ids"]  # theirs ends with what the template writes behind an answer; ours does not
    tail = sum(list(row["input_ids"][-1:]) == newline for row in rows)
    tokens = sum(len(row["input_ids"]) for row in rows)
    learned = sum(sum(row[name]) for row in rows for name in ("completion_mask",) if name in row)
    if not learned:
        learned = sum(label >= 0 for row in rows for label in row["labels"])
    trainer.train()
    return tokens - tail, learned - tail, clock, losses[-1]


if __name__ == "__main__":
    main()
