"""A reward model from pairs of answers: one number for a prompt with its answer, the higher for the better one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from factory import CausalLM, Context, Dataset, Flat, InputError, ModelError, Preference, RewardModel, step
from factory.models.loading import load_causal_lm, load_tokenizer
from factory.models.rewards import is_reward_model, rewards

from . import ranks
from .adapters import LoraOptions, add_lora, all_trained, require_weights, root_of
from .batches import split_validation
from .comparisons import Comparison, Pair, collate_comparisons, encode_pairs, prompts_of, together
from .methods import Tuned, Tuning, room_of
from .options import Count, Share, Training, require_material
from .results import first_to_last, table, training_rows
from .reward_quality import Quality, quality, quality_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .loop import Plan, Run

# Of the rate of supervised fine-tuning: 1e-5 for all weights is that of Ouyang et al. 2022, appendix C.2 (9e-6 for 6B).
SLOWER = 1 / 2
TOLD = {
    "training loss": "loss",
    "training accuracy": "accuracy",
    "held-out loss": "eval_loss",
    "held-out accuracy": "eval_accuracy",
}


@step(ranks=True)
def reward_model(
    dataset: Dataset[Preference],
    ctx: Context,
    base: CausalLM,
    training: Flat[Training],
    method: Literal["lora", "qlora", "full"] = "lora",
    lora: LoraOptions = LoraOptions(),  # noqa: B008  (never changed)
    margin: bool = False,
    centring: Annotated[float, Field(ge=0)] = 0.0,
    max_length: Count = 1024,
    validation: Share = 0.1,
) -> RewardModel:
    """Teach a model to give the chosen answer of a pair a higher reward than the rejected one, by −log σ of the gap.

    base             the language model to start from; its head is replaced by one that gives one number. A LoRA built
                     earlier is merged into its base, and what is saved is the sum of both on the same base
    method           lora: adapters; qlora: adapters on a base in 4 bits (nf4, double quantization); full: all weights
    lora             r, alpha, dropout, target_modules (`all-linear` or names), layers (only the last so many)
    {training}
    margin           the gap must be meta.margin, a number, for the same loss (Touvron et al. 2023, section 3.2.2)
    centring         weight of the squared sum of a pair's rewards, which keeps them about zero; 0.01 is usual
    max_length       tokens of prompt and answer; longer records are dropped (`too long`), never cut
    validation       share held out, by the hash of the prompt: equal prompts stay together, none ever moves

    A record of batch_size is here a prompt with its pairs, at most 64: each answer is read once, and each prompt weighs
    the same, however many pairs it has (Ouyang et al. 2022, section 3.5). learning_rate is by default 1e-4 for lora and
    qlora, 1e-5 for full. The reward is read at the answer's last token, found by the mask.

    Saves a folder that `reward_score` and `ppo` take, and transformers (full) or peft (lora, qlora) loads as a sequence
    classifier with one label. The page says of the held-out pairs how often the model is right, whether it is as often
    right as it is confident, and whether it goes by length. Raises InputError for options that do not go together,
    ModelError for a base that is a reward model, StepError when no pair can be learned or the loss is not finite.
    """
    _check(base, training, validation)
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    pairs = encode_pairs(dataset, tokenizer, room_of(base, max_length, Tuning()), ctx, margin)
    learned, held = split_validation(pairs, validation)
    require_material("reward_model", len(dataset), len(learned), len(held), training.early_stopping)
    _pad_apart(tokenizer, learned)
    tuned = load(base, Tuning(method=method, lora=lora), ctx.rng("adapters").randrange(2**31 - 1))
    tuned.model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    learning, measuring, pad_id = together(learned), together(held), tokenizer.pad_token_id or 0
    plan = training.plan(len(learning), SLOWER * tuned.tuning.learning_rate, tuned.tuning.quantized)
    run = _train(tuned.model, learning, measuring, pad_id, centring, plan, ctx)
    counts = {"pairs learned": len(learned), "prompts learned": prompts_of(learned), "pairs held out": len(held)}
    counts |= {"dropped": len(dataset) - len(pairs)}
    rows = training_rows(base, method, tuned.model, plan, run, counts)
    for name, metric in TOLD.items():
        rows |= first_to_last(name, run, metric)
    ctx.report("Training", table(rows, "Losses are nats per prompt, first → last; ln 2 = 0.6931 is a coin's."))
    if held:
        ctx.report("Reward model on held-out pairs", quality_table(measured(tuned.model, measuring, pad_id)))
    tuned.save(tokenizer, ctx.output)
    return RewardModel(uri=str(ctx.output), path=ctx.output)


def _check(base: CausalLM, training: Training, validation: float) -> None:
    if training.early_stopping is not None and validation == 0:
        raise InputError("reward_model: early_stopping needs held-out records; give validation a share above 0")
    if ranks.sharded():
        raise ModelError("reward_model cannot be trained with --sharded; build it without, what is stored stays")
    if is_reward_model(base):
        raise ModelError(f"reward_model: {base.uri} is a reward model already; give base a language model")


def load(base: CausalLM, tuning: Tuning, seed: int) -> Tuned:
    """The base under a new head, with what the method trains ready for updates, in float32; the head always is."""
    from factory.models.reward_head import NAME, add_head

    if tuning.method == "full":
        require_weights(base)
    root, earlier = root_of(base) if tuning.method != "full" else ("", None)
    lm: Any = load_causal_lm(base, "nf4" if tuning.quantized else None)
    stored_as = lm.dtype
    model = add_head(lm, seed)
    if tuning.method == "full":
        return Tuned(all_trained(model), tuning, base, root, earlier, stored_as)
    model = add_lora(model, tuning.lora, seed, task="SEQ_CLS", whole=[NAME])
    model.peft_config["default"].modules_to_save = [NAME]  # peft adds its own guesses of what the head is called
    return Tuned(model, tuning, base, root, earlier, stored_as)


def _train(
    model: Any,
    learned: Sequence[Comparison],
    held: Sequence[Comparison],
    pad_id: int,
    centring: float,
    plan: Plan,
    ctx: Context,
) -> Run:
    from .loop import Held, Material, train
    from .preference_objectives import comparison_objective

    material = Material(
        examples=learned,
        lengths=[len(one) for one in learned],
        collate=partial(collate_comparisons, pad_id=pad_id),
        held=[Held("eval_loss", sorted(held, key=len), prompts_of(held))] if held else [],
        objective=comparison_objective(centring),
    )
    return train(model, material, plan, ctx)


def _pad_apart(tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Pair]) -> None:
    """Pad by a special token that ends no answer, if there is one.

    We find the last token by the mask. transformers finds it as the last that does not pad, which would be one too
    early where the token that ends a turn pads as well; so others can use the folder, too.
    """
    ends = {answer.ids[-1] for pair in pairs for answer in pair.answers}
    if tokenizer.pad_token_id not in ends:
        return
    special = {at: token.content for at, token in tokenizer.added_tokens_decoder.items() if token.special}
    others = sorted(special.keys() - ends, key=lambda at: ("pad" not in special[at], at))
    if others:
        tokenizer.pad_token = special[others[0]]


def measured(model: Any, held: Sequence[Comparison], pad_id: int) -> Quality:
    """How good the model is on comparisons; it is left in evaluation mode."""
    import numpy as np

    model.eval()
    answers = [answer for one in held for answer in one.answers]
    pairs, first = list[tuple[int, int]](), 0
    for one in held:
        pairs += [(first + chosen, first + rejected) for chosen, rejected, _ in one.pairs]
        first += len(one.answers)
    found = np.asarray(rewards(model, [answer.ids for answer in answers], pad_id), np.float64)
    lengths = np.asarray([sum(answer.learned) for answer in answers], np.float64)
    return quality(found, lengths, np.asarray(pairs))
