"""Reinforcement learning of a policy from its own answers: PPO, GRPO or RLOO on one shared base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory import Budget, CausalLM, Context, Dataset, Flat, ModelError, Prompt, RewardModel, step
from factory.models.loading import load_tokenizer
from factory.models.rewards import is_reward_model

from . import ranks
from .adapters import LoraOptions
from .ppo_options import Algorithm, Practice, Server, most_grades
from .rewards import Rewarding, Term

if TYPE_CHECKING:
    from .ppo_run import Run


@step(requests=most_grades, ranks=True)
def ppo(
    dataset: Dataset[Prompt],
    ctx: Context,
    policy: CausalLM,
    practice: Flat[Practice],
    reward: RewardModel | None = None,
    reward_weight: float = 1.0,
    judge: CausalLM | None = None,
    judge_weight: float = 1.0,
    budget: Budget | None = None,
    rewards: dict[str, Term] = {},
    code: Path | None = None,
    algorithm: Algorithm = "gae",
    quantize: Literal["none", "nf4", "int8"] = "none",
    lora: LoraOptions = LoraOptions(),  # noqa: B008  (never changed)
    server: Server | None = None,
) -> CausalLM:
    """Teach a model by rewarding its own answers (PPO, GRPO or RLOO), without drifting far from what it was.

    policy           the model to start from; a LoRA that it has stays as it is and is the reference. A new one is
                     trained on top, and what is saved is the sum of both, so the result stands on the same base
    reward           a reward model. One that is a LoRA on the policy's base takes no memory of its own
    reward_weight    its factor in the sum of rewards
    judge            a language model that grades each answer from 1 to 10, which is a reward from 0 to 1. Where its
                     grade cannot be read, the answer gets the mean of the step's others
    judge_weight     its factor in the sum of rewards
    budget           what the judge may spend until the run ends or is stopped; one that needs more fails
    rewards          name: a check, one of {regex: …}, {length: [least, most]}, {format: json} or python, {unit_test: a
                     field of meta}, {function: a name in `code`, or module:name}, each with its weight, 1 by default.
                     With weight 0 it is only measured
    code             a Python file with functions (answer, record) -> number
    algorithm        gae: a value model says what was to be expected (Schulman et al. 2016); grpo: the group's mean and
                     deviation do (Shao et al. 2024); rloo: the mean of the other answers (Ahmadian et al. 2024)
    quantize         the base in 4 bits (nf4, double quantization) or 8 bits; adapters and heads are float32
    lora             r, alpha, target_modules, layers of the new adapter. It has no dropout: that would make the policy
                     another one than it is
    server           url, key_env, concurrency of a vLLM (0.10.2 or later) that holds the policy's base and draws its
                     answers in place of this process. It is started with --enable-lora, a --max-lora-rank and
                     VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and must see this project's files: before each step it
                     loads the adapter as it is then. What it draws is not the same to the bit in a resumed run
    {practice}

    Prompts that leave no room for an answer are dropped (`too long`). Saves a folder that peft loads, with
    tokenizer and chat template. Raises InputError for options that do not go together, ModelError for models that do
    not, StepError when no prompt is left, a reward fails, no grade can be read or the loss is not finite.
    """
    from .loading import save_policy
    from .ppo_loop import train
    from .ppo_prompts import report

    rewarding = Rewarding(reward, reward_weight, judge, judge_weight, budget, rewards, code)
    run = prepare(dataset, ctx, policy, practice, rewarding, algorithm, quantize, lora, server)
    try:
        train(run)
    finally:
        if run.served is not None:
            run.served.close()
    if ranks.first():
        save_policy(run.one, policy, run.tokenizer, ctx.output)
        report(run, policy, reward)
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def prepare(
    dataset: Dataset[Prompt],
    ctx: Context,
    policy: CausalLM,
    practice: Practice,
    rewarding: Rewarding,
    algorithm: Algorithm,
    quantize: str,
    lora: LoraOptions,
    server: Server | None = None,
) -> Run:
    """Everything checked, encoded and loaded: a run before its first step. The options are those of the step."""
    if ranks.sharded():
        raise ModelError("ppo cannot be trained with --sharded; build it without, what is stored stays")
    checks = rewarding.scorers()
    if is_reward_model(policy):
        raise ModelError(f"ppo: {policy.uri} is a reward model; give it as `reward`, and as policy a language model")
    group = practice.group(algorithm)
    import torch

    from .loading import add_value, load_one_base
    from .lora_server import LoraServer
    from .ppo_prompts import ask_for
    from .ppo_run import Run
    from .rollouts import stop_ids
    from .scoring import load_scoring
    from .served import Served

    reached = None if server is None else LoraServer(server)
    torch.set_num_threads(ctx.threads)
    ranks.join()
    tokenizer = load_tokenizer(policy)
    asked, held = ask_for(dataset, policy, tokenizer, practice.max_new_tokens, practice.validation, ctx)
    seed = ctx.rng("adapters").randrange(2**31 - 1)
    one = load_one_base(policy, None if quantize == "none" else quantize, lora, seed)
    scoring = load_scoring(one, tokenizer, rewarding, checks, ctx)
    if algorithm == "gae":
        add_value(one, lora)
    ends = stop_ids(one.lm, tokenizer)
    served = None if reached is None else Served(reached, one, tokenizer, ctx.workdir.resolve() / "served")
    return Run(ctx, one, tokenizer, scoring, practice, algorithm, group, asked, held, ends, served)
