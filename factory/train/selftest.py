"""The correctness of training on this machine, checked with a tiny random model: `factory doctor` runs it.

Each check goes through the very functions that the steps train with, and measures what a fault would change. It loads
torch only when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import CausalLM, Context, PromptCompletion, assistant, user

from .batches import IGNORED, collate, encode_examples
from .packing import packed_rows

if TYPE_CHECKING:
    import torch

    from .batches import Example
    from .loop import Plan

TOLERANCE = 1e-5  # of the largest value; float32 sums in another order differ by about 1e-7
STEPS, KILLED_AT = 6, 5  # of the run that is resumed; checkpoints lie at 2 and 4
QUESTIONS = ("a list", "a set, which holds each item once", "a dict", "a tuple", "a string of text", "a loop")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Check:
    """What was found; `passed` is None where this machine lacks what the check needs."""

    name: str
    passed: bool | None
    measured: str


class Killed(BaseException):
    """Ends a run in its middle, as a kill would."""


@dataclass
class Listening:
    """The engine's side of a context, for steps that only log."""

    logged: dict[int, dict[str, float]] = field(default_factory=dict)
    killed_at: int | None = None

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.logged.setdefault(step, {}).update(metrics)
        if step == self.killed_at:
            raise Killed

    def _nothing(self, *_: Any, **__: Any) -> Any:
        return None

    drop = report = alarm = tell = memos = ask = _nothing


def self_test(folder: Path) -> Iterator[Check]:
    """Every check in turn, in a folder that may be written to; a check that breaks off has failed."""
    import torch

    torch.set_num_threads(2)
    base = tiny_model(folder / "tiny")
    for name, check in CHECKS.items():
        try:
            passed, measured = check(base, folder / check.__name__)
        except ImportError as error:
            passed, measured = None, f"not checked: {error}"
        except Exception as error:
            passed, measured = False, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        yield Check(name, passed, measured)


def packing(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """Logits of examples that lie in one row, against those of each alone."""
    import torch

    lm, tokenizer = _loaded(base)
    examples = _examples(tokenizer, folder)
    rows = packed_rows(examples, 256)
    batch = collate(rows, tokenizer.pad_token_id)
    worst = most = 0.0
    with torch.no_grad():
        packed = lm(**_inputs(batch), use_cache=False).logits
        for number, row in enumerate(rows):
            begin = 0
            for example in row:
                alone = lm(**_inputs(collate([example], tokenizer.pad_token_id)), use_cache=False).logits[0]
                worst = max(worst, float((packed[number, begin : begin + len(example)] - alone).abs().max()))
                most, begin = max(most, float(alone.abs().max())), begin + len(example)
    share = worst / most
    return share <= TOLERANCE and len(rows) < len(examples), (
        f"{len(examples)} examples in {len(rows)} rows; logits differ by {share:.1e} of the largest"
    )


def accumulation(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """Gradients of one batch of four examples, against those of four batches of one."""
    once, split = (_gradients(base, folder / str(size), size, 4 // size) for size in (4, 1))
    most = max(float(gradient.abs().max()) for gradient in once.values())
    worst = max(float((once[name] - split[name]).abs().max()) for name in once)
    return worst <= TOLERANCE * most, f"1 × 4 and 4 × 1: gradients differ by {worst / most:.1e} of the largest"


def masks(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """The text of the tokens with a label, against the completions."""
    _, tokenizer = _loaded(base)
    records = _records()
    labels = collate(_examples(tokenizer, folder), tokenizer.pad_token_id)["labels"]
    learned = [tokenizer.decode(row[row != IGNORED]) for row in labels]
    wanted = [record["completion"][0]["content"] + "<|im_end|>" for record in records]
    equal = sum(one == other for one, other in zip(learned, wanted, strict=True))
    return equal == len(wanted), f"{equal} of {len(wanted)} examples: what is learned is the completion, to the token"


def end_of_turn(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """With one token for padding and for the end of a turn: the end is learned, the padding is not."""
    _, tokenizer = _loaded(base)
    batch = collate(_examples(tokenizer, folder), tokenizer.pad_token_id)
    ends = int(((batch["labels"] == tokenizer.eos_token_id) & (batch["attention_mask"] == 1)).sum())
    padded = int(((batch["labels"] != IGNORED) & (batch["attention_mask"] == 0)).sum())
    count = len(batch["labels"])
    same = tokenizer.pad_token_id == tokenizer.eos_token_id
    return same and ends == count and not padded, f"pad = eos; {ends} of {count} ends and {padded} pads are learned"


def adapter_type(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """What a LoRA on a base in 4 bits is stored and updated in."""
    import bitsandbytes
    import torch

    from .methods import Tuning, prepare

    model = prepare(base, Tuning(method="qlora"), 0).model
    trained = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    four_bits = sum(isinstance(weight, bitsandbytes.nn.Params4bit) for weight in model.parameters())
    named = ", ".join(sorted(str(one).removeprefix("torch.") for one in trained))
    return trained == {torch.float32} and four_bits > 0, f"{four_bits} weights in nf4; the adapter is {named}"


def resume(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """The weights of a run that was killed and resumed, against those of one that was not; with dropout."""
    import torch

    whole, cut = folder / "whole", folder / "cut"
    straight = _trained(base, whole, None)
    try:
        _trained(base, cut, KILLED_AT)
    except Killed:
        resumed = _trained(base, cut, None)
    else:
        return False, "the run could not be killed"
    equal = sum(torch.equal(straight[name], resumed[name]) for name in straight)
    worst = max(float((straight[name] - resumed[name]).abs().max()) for name in straight)
    told = f"killed at step {KILLED_AT} of {STEPS}; {equal} of {len(straight)} weights equal to the bit"
    return equal == len(straight), told if not worst else f"{told}, the others off by up to {worst:.1e}"


def first_ratio(base: CausalLM, folder: Path) -> tuple[bool, str]:
    """PPO's first minibatch: the policy is the one that drew the answers, and the reference."""
    from .adapters import LoraOptions
    from .ppo import ppo
    from .rewards import Term

    ctx, listening = _context(folder)
    prompts = [{"id": record["id"], "prompt": record["prompt"]} for record in _records()]
    ppo.function(
        prompts, ctx, base, rewards={"length": Term(length=(1, 9))}, lora=LoraOptions(r=4), max_steps=1,
        prompts_per_step=4, max_new_tokens=8, validation=0.0, learning_rate=1e-3,
    )  # fmt: skip
    first = listening.logged[1]
    off, kl = first["first_ratio_off"], first["kl"]
    return off == 0.0 and kl == 0.0, f"at the start |ratio - 1| is {off:g}, KL from the reference {kl:g} nats"


CHECKS: dict[str, Callable[[CausalLM, Path], tuple[bool, str]]] = {
    "packing": packing,
    "accumulation": accumulation,
    "masks": masks,
    "pad and eos": end_of_turn,
    "adapter type": adapter_type,
    "resume": resume,
    "ppo's start": first_ratio,
}


def tiny_model(folder: Path) -> CausalLM:
    """A random Llama of two layers with a tokenizer trained on the questions; its pad token is its eos token."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from factory.models.quiet import quiet

    quiet()
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_start|>", "<|im_end|>"]
    words.train_from_iterator(QUESTIONS, trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    ))  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=special[1], pad_token=special[1])
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return CausalLM(uri="a tiny random model", path=folder)


def _loaded(base: CausalLM) -> tuple[Any, Any]:
    from factory.models.loading import load_causal_lm, load_tokenizer

    return load_causal_lm(base), load_tokenizer(base)


def _records() -> list[PromptCompletion]:
    made = []
    for number, name in enumerate(QUESTIONS):
        answer = assistant(f"{name.capitalize()} is a thing of Python." + " It is used often." * (number % 3))
        made.append({"id": f"{number:04x}", "parents": [], "meta": {}, "prompt": user(f"What is {name}?"),
                     "completion": answer})  # fmt: skip
    return made  # type: ignore[return-value]


def _context(folder: Path, killed_at: int | None = None) -> tuple[Context, Listening]:
    listening = Listening(killed_at=killed_at)
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return Context("doctor", 7, 2, folder / "work", folder / "model", listening), listening


def _examples(tokenizer: Any, folder: Path) -> list[Example]:
    return encode_examples(_records(), tokenizer, 256, _context(folder)[0])


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


def _plan(steps: int, batch_size: int, accumulation: int) -> Plan:
    from .loop import Plan

    return Plan(
        total=steps, learning_rate=1e-2, schedule="cosine", warmup=0.0, weight_decay=0.0, max_grad_norm=1e9,
        batch_size=batch_size, accumulation=accumulation, evaluate_every=steps, checkpoint_every=2, patience=None,
        gradient_checkpointing=False,
    )  # fmt: skip


def _train(model: Any, tokenizer: Any, examples: list[Example], plan: Plan, ctx: Context) -> None:
    from functools import partial

    from .loop import Material, train

    train(model, Material(examples, [*map(len, examples)], partial(collate, pad_id=tokenizer.pad_token_id)), plan, ctx)


def _gradients(base: CausalLM, folder: Path, batch_size: int, accumulation: int) -> dict[str, torch.Tensor]:
    """Gradients of the first update of all weights, as the optimizer gets them."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from .methods import Tuning, prepare

    _, tokenizer = _loaded(base)
    model = prepare(base, Tuning(method="full"), 0).model
    found: dict[str, torch.Tensor] = {}

    def note(*_: Any) -> None:
        found.update({name: w.grad.detach().clone() for name, w in model.named_parameters() if w.grad is not None})

    hook = register_optimizer_step_pre_hook(note)
    try:
        plan = _plan(1, batch_size, accumulation)
        _train(model, tokenizer, _examples(tokenizer, folder)[:4], plan, _context(folder)[0])
    finally:
        hook.remove()
    return found


def _trained(base: CausalLM, folder: Path, killed_at: int | None) -> dict[str, torch.Tensor]:
    """The trained weights of a run of a few steps, from its last checkpoint if it has one."""
    from .adapters import LoraOptions
    from .methods import Tuning, prepare

    _, tokenizer = _loaded(base)
    tuned = prepare(base, Tuning(method="lora", lora=LoraOptions(r=4, dropout=0.2)), 1)
    _train(tuned.model, tokenizer, _examples(tokenizer, folder), _plan(STEPS, 2, 1), _context(folder, killed_at)[0])
    return {name: weight.detach().clone() for name, weight in tuned.model.named_parameters() if weight.requires_grad}
