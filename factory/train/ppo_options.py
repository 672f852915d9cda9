"""What a recipe can say of reinforcement learning: how answers are drawn, how the policy moves, how far it may go."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory import InputError

from .options import Count, Positive, Share

Algorithm = Literal["gae", "grpo", "rloo"]
SAMPLES = {"gae": 1, "grpo": 4, "rloo": 4}
EVALUATED = 64  # held-out prompts that are answered at an evaluation


class Server(BaseModel):
    """A server that draws the policy's answers: vLLM with the policy's base, which loads LoRA adapters as it runs.

    url          where its OpenAI API begins: http://localhost:8000/v1
    key_env      the environment variable that holds its key, where it wants one
    concurrency  requests in flight
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://[^@/]+")]
    key_env: str = ""
    concurrency: Count = 64


class Practice(BaseModel):
    """How a policy draws answers and learns from them.

    epochs, max_steps  passes over the prompts; max_steps, where given, decides. A step draws answers, scores them and
                     learns from them
    prompts_per_step, samples  prompts of a step, and answers to each: by default 1 for gae, 4 for grpo and rloo
    max_new_tokens, temperature  of an answer; it is drawn from the whole distribution
    ppo_epochs, minibatches  passes over a step's answers, and updates of the weights in a pass
    batch_size       answers in one forward pass: of memory, not of what is learned
    learning_rate, value_learning_rate  of the policy, and of the value model; AdamW, constant
    clip, value_clip how far the probability ratio and the value may move in a step before the gradient stops
    gamma, lam       discount, and the λ of gae
    kl               coefficient of the divergence from the reference: in the reward of each token (gae, rloo), or in
                     the loss (grpo)
    kl_target        nats an answer to which the coefficient is steered (Ziegler et al. 2019, section 2.2). None: fixed
    kl_stop          nats a token from the policy that drew the answers, at which a step's passes end. None: never
    missing_eos_penalty  taken off the score of an answer that did not end within max_new_tokens
    normalize        scores in deviations from the mean of all scores so far
    max_grad_norm    gradients of an update are scaled down to this norm
    validation       share of the prompts held out, by their hash, whose likeliest answers are shown and scored
    evaluations      how often, besides before the first step
    checkpoint_every steps between checkpoints; a killed run resumes at the last, and on CPU ends with equal weights
    gradient_checkpointing  recompute activations to save memory; by default on a GPU
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Positive = 1
    max_steps: Count | None = None
    prompts_per_step: Count = 32
    samples: Count | None = None
    max_new_tokens: Count = 128
    temperature: Positive = 1.0
    ppo_epochs: Count = 2
    minibatches: Count = 2
    batch_size: Count = 8
    learning_rate: Positive = 5e-5
    value_learning_rate: Positive = 1e-4
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    value_clip: Positive = 0.2
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    kl: Annotated[float, Field(ge=0)] = 0.05
    kl_target: Positive | None = None
    kl_stop: Positive | None = None
    missing_eos_penalty: Annotated[float, Field(ge=0)] = 1.0
    normalize: bool = True
    max_grad_norm: Positive = 1.0
    validation: Share = 0.1
    evaluations: Count = 4
    checkpoint_every: Count = 10
    gradient_checkpointing: bool | None = None

    def group(self, algorithm: Algorithm) -> int:
        """Answers to each prompt. Raises InputError for an algorithm that compares answers and has but one."""
        samples = self.samples or SAMPLES[algorithm]
        if algorithm != "gae" and samples < 2:
            raise InputError(
                f"ppo: {algorithm} compares answers to one prompt; samples is {samples}, expected 2 or more"
            )
        answers = self.prompts_per_step * samples
        if answers < self.minibatches:
            raise InputError(f"ppo: a step has {answers} answers, too few for {self.minibatches} minibatches")
        return samples

    def steps(self, prompts: int) -> int:
        return self.max_steps or math.ceil(self.epochs * prompts / self.prompts_per_step)

    def every(self, total: int) -> int:
        """Steps from one evaluation to the next; the last step has one besides."""
        return max(1, round(total / self.evaluations))


def most_grades(records: int, judge: str | None = None, algorithm: Algorithm = "gae", **options: Any) -> int:
    """How many answers a judge grades at most: those of all steps, and those to prompts that are held out."""
    if judge is None:
        return 0
    practice = Practice(**{name: value for name, value in options.items() if name in Practice.model_fields})
    total = practice.steps(records)
    evaluations = 1 + math.ceil(total / practice.every(total)) if practice.validation else 0
    return total * practice.prompts_per_step * practice.group(algorithm) + evaluations * min(EVALUATED, records)
