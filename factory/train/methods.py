"""Which weights of a model are trained: one switch for whole weights and for every light method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from factory import InputError, Model, ModelError
from factory.models.loading import load_causal_lm, load_config

from . import ranks
from .adapters import LoraOptions, adapted, add_lora, all_trained, require_weights, root_of
from .results import save_model

if TYPE_CHECKING:
    from .options import Training

Method = Literal[
    "lora", "qlora", "dora", "full", "freeze", "prefix", "prompt", "ptuning", "ia3", "adapter", "bitfit", "layernorm"
]
# An adapter takes about ten times the rate of full fine-tuning; 2e-4 is that of QLoRA up to 13B (Dettmers et al. 2023,
# table 9), 2e-5 that of Alpaca's full fine-tuning, 3e-3 that of IA3 (Liu et al. 2022, section 3.3) and 1e-3 the middle
# of what Ben Zaken et al. 2022 and Houlsby et al. 2019 tried. Virtual tokens start from vocabulary rows or noise.
LEARNING_RATES: dict[str, float] = {
    "lora": 2e-4, "qlora": 2e-4, "dora": 2e-4, "full": 2e-5, "freeze": 2e-5, "prefix": 1e-2, "prompt": 1e-2,
    "ptuning": 1e-3, "ia3": 3e-3, "adapter": 1e-3, "bitfit": 1e-3, "layernorm": 1e-3,
}  # fmt: skip
WHOLE = ("full", "freeze")  # methods that save all weights
SHARDED = ("full", "lora")  # methods that train on a base whose weights are split over processes
ADDED = ("lora", "qlora")  # methods whose result is added to an earlier adapter's
VIRTUAL = ("prefix", "prompt", "ptuning")  # methods that learn tokens before the text
OF_METHODS = {  # option -> the methods that read it
    "lora": ("lora", "qlora", "dora"),
    "virtual_tokens": VIRTUAL,
    "bottleneck": ("adapter",),
    "placement": ("adapter",),
    "layers": ("freeze",),
}
Size = Annotated[int, Field(ge=1)]


class Tuning(BaseModel):
    """Which weights are trained.

    method           full: all; freeze: the last `layers` layers, as they are; lora: low-rank adapters; qlora: these on
                     a base in 4 bits (nf4, double quantization); dora: direction and magnitude apart (Liu et al. 2024);
                     prefix: keys and values before every layer (Li and Liang 2021); prompt: embeddings before the text
                     (Lester et al. 2021); ptuning: these from a small network (Liu et al. 2021); ia3: scales of keys,
                     values and feed-forwards (Liu et al. 2022); adapter: bottlenecks behind each feed-forward block
                     (Pfeiffer et al. 2021) or behind each attention, too (Houlsby et al. 2019); bitfit: biases
                     (Ben Zaken et al. 2022); layernorm: norms (Zhao et al. 2023)
    lora             of lora, qlora, dora: r, alpha, dropout, target_modules (`all-linear` or names), layers (the last)
    virtual_tokens   of prefix, prompt, ptuning: how many
    bottleneck, placement  of adapter: its width, and where it stands
    layers           of freeze: how many, counted from the last
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = "lora"
    lora: LoraOptions = LoraOptions()
    virtual_tokens: Size = 16
    bottleneck: Size = 64
    placement: Literal["pfeiffer", "houlsby"] = "pfeiffer"
    layers: Size = 2

    def of(self, method: Method) -> Tuning:
        """These options for another method, as far as it reads them."""
        own = {option: getattr(self, option) for option, methods in OF_METHODS.items() if method in methods}
        return Tuning(method=method, **own)

    @property
    def learning_rate(self) -> float:
        """Where the recipe gives none."""
        return LEARNING_RATES[self.method]

    @property
    def quantized(self) -> bool:
        return self.method == "qlora"


@dataclass(frozen=True)
class Tuned:
    """A model, some of whose weights are trained; what is saved stands on `root`, with `earlier` in it.

    stored_as  the torch dtype of all weights, where they are saved whole
    """

    model: Any
    tuning: Tuning
    base: Model
    root: Path | str
    earlier: Path | None
    stored_as: Any

    def save(self, tokenizer: Any, output: Path) -> None:
        """Write the folder that transformers, peft or `load_causal_lm` loads, with tokenizer and chat template."""
        whole = self.stored_as if self.tuning.method in WHOLE else None
        save_model(self.model, tokenizer, self.base, output, self.root, self.earlier, whole)


def room_of(base: Model, max_length: int, tuning: Tuning) -> int:
    """The tokens that a record may have: no more than the base reads, virtual tokens before them included."""
    context = getattr(load_config(base).get_text_config(), "max_position_embeddings", None)
    before = tuning.virtual_tokens if tuning.method in VIRTUAL else 0
    return min(max_length, context - before if context else max_length)


def prepare(base: Model, tuning: Tuning, seed: int, training: Training | None = None) -> Tuned:
    """The base loaded once, with what the method trains ready for updates, in float32; the rest is frozen.

    Raises ModelError where the method cannot train this base, with the nearest thing that can be done; InputError for
    an option that the method does not read.
    """
    method = tuning.method
    for option, methods in OF_METHODS.items():
        if method not in methods and getattr(tuning, option) != Tuning.model_fields[option].default:
            raise InputError(f"{option} is read by {', '.join(methods)}, but method is {method}")
    if method in VIRTUAL and training is not None and training.gradient_checkpointing:
        raise ModelError(f"{method} cannot recompute activations; leave gradient_checkpointing out, or take lora")
    if method in WHOLE:
        require_weights(base)
    root, earlier = root_of(base) if method not in WHOLE else ("", None)
    if earlier is not None and method not in ADDED:
        raise ModelError(
            f"{base.uri} is an adapter, and what {method} learns cannot be added to one; "
            "put the step merge before this one, or take method: lora"
        )
    model: Any = load_causal_lm(base, "nf4" if tuning.quantized else None, sharded=sharded(method, training))
    stored_as = model.dtype
    if method in WHOLE:
        model = all_trained(model)
        if method == "freeze":
            _freeze(model, tuning.layers)
    elif method in ("lora", "qlora", "dora"):
        model = add_lora(model, tuning.lora, seed, dora=method == "dora")
    elif method in ("adapter", "bitfit"):
        _attach(model, tuning, seed, root)
    else:
        model = _with_peft(model, tuning, seed, base)
    return Tuned(model, tuning, base, root, earlier, stored_as)


def sharded(method: str, training: Training | None) -> bool:
    """Whether the base's weights are split over processes. Raises ModelError for what cannot be trained so."""
    if not ranks.sharded():
        return False
    if method not in SHARDED:
        raise ModelError(f"{method} cannot be trained with --sharded; expected one of {', '.join(SHARDED)}")
    if method in WHOLE and training is not None and training.optimizer != "adamw":
        raise ModelError(f"optimizer {training.optimizer} cannot be split over processes; with --sharded take adamw")
    ranks.join()
    return True


def _freeze(model: Any, layers: int) -> None:
    """All but the last layers stay as they are; embeddings, head and last norm, too."""
    from factory.models.light import layers_of

    model.requires_grad_(False)
    for _, layer in layers_of(model)[-layers:]:
        layer.requires_grad_(True)


def _attach(model: Any, tuning: Tuning, seed: int, root: Path | str) -> None:
    import torch

    from factory.models.light import attach

    torch.manual_seed(seed)
    kinds = {"adapter": {"peft_type": "BOTTLENECK", "size": tuning.bottleneck, "placement": tuning.placement}}
    config = {**kinds.get(tuning.method, {"peft_type": "BITFIT"}), "base_model_name_or_path": str(root)}
    attach(model, config)
    model.light_config = config


def _with_peft(model: Any, tuning: Tuning, seed: int, base: Model) -> Any:
    import torch
    from peft import IA3Config, LNTuningConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    tokens, task = tuning.virtual_tokens, "CAUSAL_LM"
    norms = [path for path, module in model.named_modules() if "Norm" in type(module).__name__]
    make: dict[str, Any] = {
        "prefix": lambda: PrefixTuningConfig(task_type=task, num_virtual_tokens=tokens),
        "prompt": lambda: PromptTuningConfig(
            task_type=task, num_virtual_tokens=tokens, prompt_tuning_init="SAMPLE_VOCAB"
        ),
        "ptuning": lambda: PromptEncoderConfig(
            task_type=task, num_virtual_tokens=tokens, encoder_hidden_size=model.config.get_text_config().hidden_size
        ),
        "ia3": lambda: IA3Config(task_type=task),
        "layernorm": lambda: LNTuningConfig(task_type=task, target_modules=norms),
    }
    torch.manual_seed(seed)
    try:
        return adapted(model, make[tuning.method]())
    except ValueError as error:
        kind = model.config.model_type
        raise ModelError(
            f"{tuning.method} does not know where to train {base.uri}, a {kind}: {str(error).splitlines()[0]}; "
            "take method: lora"
        ) from error
