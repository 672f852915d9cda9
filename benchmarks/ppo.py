"""`ppo` against `sft`: memory at the same batch, length and recomputation; what a step's time goes to.

    python benchmarks/ppo.py [--model bundled|tiny|150k|1b|7b] [--quantize none|nf4] [--batch 8] [--prompts 16]
                             [--prompt 32] [--answer 96] [--steps 3] [--rounds 3] [--recompute]

Policy, reference, reward and value model are adapters on one base (gae). Answers go on to --answer tokens, for no token
ends them; rows of `sft` have as many tokens as prompt and answer. Each measurement is a process of its own. Memory is
the peak above what the process holds with everything imported and nothing loaded, on a GPU of what is allocated there.
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
from pathlib import Path
from typing import Any

from models import MODELS, held, make_model, peak

PARTS = ("drawing", "scoring", "learning")
PATIENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that spin starve each other, as in the engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled", choices=MODELS)
    parser.add_argument("--quantize", default="none", choices=["none", "nf4"])
    parser.add_argument("--recompute", action="store_true", help="activations in the backward pass")
    numbers = {"batch": 8, "prompts": 16, "prompt": 32, "answer": 96, "steps": 3, "rounds": 3, "threads": 2}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", choices=["sft", "ppo", "reward"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps({"sft": sft, "ppo": ppo, "reward": reward}[options.measure](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        make_model(options.model, options.folder / "model")
        compare(options)


def compare(options: argparse.Namespace) -> None:
    def run(subject: str) -> dict[str, float]:
        command = [sys.executable, __file__, *sys.argv[1:], "--measure", subject, "--folder", str(options.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=PATIENT)
        if done.returncode:
            sys.exit(f"{subject} failed:\n{done.stderr[-3000:]}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    run("reward")
    found: dict[str, list[dict[str, float]]] = {"sft": [], "ppo": []}
    for turn in range(options.rounds):
        for subject in sorted(found, reverse=turn % 2 == 0):
            found[subject].append(run(subject))
    ratios = [a["megabytes"] / b["megabytes"] for a, b in zip(found["ppo"], found["sft"], strict=True)]
    memory = {subject: statistics.median(one["megabytes"] for one in runs) for subject, runs in found.items()}
    print(f"{options.model}, {options.quantize}, batch {options.batch}, {options.prompt} + {options.answer} tokens")
    print(
        f"peak MB: sft {memory['sft']:,.0f}, ppo {memory['ppo']:,.0f}, {statistics.median(ratios):.2f} times "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )
    parts = {part: statistics.median(one[part] for one in found["ppo"]) for part in PARTS}
    whole = sum(parts.values())
    shares = ", ".join(f"{part} {seconds:.2f} s ({seconds / whole:.0%})" for part, seconds in parts.items())
    print(f"a step of {options.prompts} answers: {whole:.2f} s; {shares}")


class Runtime:
    """The engine's side of a context, for a run that nobody watches."""

    def log(self, *_: Any) -> None: ...
    def tell(self, *_: Any) -> None: ...
    def drop(self, *_: Any) -> None: ...
    def report(self, *_: Any) -> None: ...
    def alarm(self, *_: Any) -> None: ...


def context(options: argparse.Namespace) -> Any:
    import torch

    from factory import Context

    torch.set_num_threads(options.threads)
    runtime: Any = Runtime()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    return Context("run", 1, options.threads, folder, folder / "out", runtime)


def base(options: argparse.Namespace) -> Any:
    from factory import CausalLM

    return CausalLM(uri="model", path=options.folder / "model")


def imported() -> float:
    """Megabytes held with everything imported."""
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import transformers  # noqa: F401

    import factory.train.loop
    import factory.train.ppo_loop  # noqa: F401

    return held()


def reward(options: argparse.Namespace) -> dict[str, float]:
    """A reward model on the base, as it begins."""
    from factory.models.loading import load_tokenizer
    from factory.train.adapters import LoraOptions
    from factory.train.methods import Tuning
    from factory.train.reward_model import load

    tuned = load(base(options), Tuning(method="lora", lora=LoraOptions(dropout=0.0)), 1)
    tuned.save(load_tokenizer(base(options)), options.folder / "reward")
    return {}


def sft(options: argparse.Namespace) -> dict[str, float]:
    from array import array

    from factory.models.loading import load_tokenizer
    from factory.train.adapters import LoraOptions
    from factory.train.batches import Example
    from factory.train.methods import Tuning, prepare
    from factory.train.options import Training
    from factory.train.sft import fine_tune

    before, ctx = imported(), context(options)
    tokenizer, draw = load_tokenizer(base(options)), random.Random(1)
    learned = bytes(options.prompt) + b"\x01" * options.answer
    rows = [
        Example(array("i", [draw.randrange(1000, 2000) for _ in learned]), learned, str(at))
        for at in range(options.batch * options.steps)
    ]
    method = "lora" if options.quantize == "none" else "qlora"
    tuned = prepare(base(options), Tuning(lora=LoraOptions(dropout=0.0)).of(method), 1)
    training = Training(batch_size=options.batch, gradient_checkpointing=options.recompute, checkpoint_every=10**6)
    fine_tune(tuned, rows, [], tokenizer, training, ctx)
    return {"megabytes": peak() - before}


def ppo(options: argparse.Namespace) -> dict[str, float]:
    from factory import RewardModel
    from factory.models.loading import load_tokenizer
    from factory.train import ppo_loop
    from factory.train.adapters import LoraOptions
    from factory.train.loading import add_value, load_one_base
    from factory.train.ppo_options import Practice
    from factory.train.ppo_run import Asked, Run
    from factory.train.rewards import Rewarding
    from factory.train.scoring import load_scoring

    before, ctx = imported(), context(options)
    tokenizer, draw, lora = load_tokenizer(base(options)), random.Random(1), LoraOptions()
    practice = Practice(
        max_steps=options.steps, prompts_per_step=options.prompts, max_new_tokens=options.answer, validation=0.0,
        batch_size=options.batch, gradient_checkpointing=options.recompute, checkpoint_every=10**6,
    )  # fmt: skip
    asked = [
        Asked(
            {"id": str(at), "prompt": [{"role": "user", "content": "Say something."}]},
            [draw.randrange(1000, 2000) for _ in range(options.prompt)],
        )
        for at in range(options.prompts)
    ]
    one = load_one_base(base(options), None if options.quantize == "none" else options.quantize, lora, 1)
    model = RewardModel(uri="reward", path=options.folder / "reward")
    scoring = load_scoring(one, tokenizer, Rewarding(model, 1.0, None, 0.0, None, {}, None), {}, ctx)
    assert scoring.apart is None, "the reward model does not stand on the policy's base"
    add_value(one, lora)
    run = Run(ctx, one, tokenizer, scoring, practice, "gae", 1, asked, [], frozenset())
    ppo_loop.train(run)
    return {"megabytes": peak() - before, **{part: run.seconds[part] / options.steps for part in PARTS}}


if __name__ == "__main__":
    main()
