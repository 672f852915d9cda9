"""Adapters, LoRA and rows of embeddings: put on a model, saved so that peft and transformers load them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from factory import Model, ModelError
from factory.models.loading import BESIDE, adapter_base, adapter_config, resolve_folder

from .sums import read_adapter, sum_of, write_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

KINDS = ("LORA", "TRAINABLE_TOKENS")  # of adapters that another can be added to
# What makes an adapter more than products B·A and rows of embeddings; then no other can be added to it.
NOT_PLAIN = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias")


class LoraOptions(BaseModel):
    """Low-rank adapters (Hu et al. 2021, section 4.1): W + alpha/r · B·A, with B zero at the start.

    target_modules  `all-linear` (every linear layer but the head; Dettmers et al. 2023, section 4) or names
    layers          only the last so many layers; the backward pass stops below them. None: all
    """

    model_config = ConfigDict(extra="forbid")

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    layers: int | None = Field(default=None, ge=1)


def add_lora(
    model: PreTrainedModel,
    lora: LoraOptions,
    seed: int,
    rows: Sequence[int] = (),
    dora: bool = False,
    task: str = "CAUSAL_LM",
    whole: Sequence[str] = (),
) -> PeftModel:
    """The model frozen, with adapters to train, and these rows of its embeddings.

    dora   magnitude and direction apart (Liu et al. 2024, arXiv:2402.09353, section 4)
    task   peft's word for what the model is: CAUSAL_LM, SEQ_CLS
    whole  names of modules that are trained and saved whole, as a new head

    Raises ModelError for target_modules that the model does not have, and for rows beyond its vocabulary.
    """
    import torch
    from peft import LoraConfig

    total = int(model.config.get_text_config().num_hidden_layers)
    last = list(range(max(0, total - lora.layers), total)) if lora.layers else None
    config = LoraConfig(
        task_type=task,
        use_dora=dora,
        modules_to_save=list(whole) or None,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_linear_layers(model) if last and lora.target_modules == "all-linear" else lora.target_modules,
        layers_to_transform=last,
        bias="none",
        trainable_token_indices={name: list(rows) for name in _with_rows(model, rows)} if rows else None,
    )
    torch.manual_seed(seed)
    try:
        return adapted(model, config)
    except ValueError as error:
        raise ModelError(f"lora.target_modules {lora.target_modules}: {str(error).splitlines()[0]}") from error


def add_rows(model: PreTrainedModel, rows: Sequence[int]) -> PeftModel:
    """The model frozen, with these rows of its embeddings to train: those of the input, and of the head if it has its
    own. Raises ModelError for rows beyond the vocabulary.
    """
    from peft import TrainableTokensConfig

    names = _with_rows(model, rows)
    return adapted(model, TrainableTokensConfig("CAUSAL_LM", token_indices=list(rows), target_modules=names))


def adapted(model: PreTrainedModel, config: Any) -> PeftModel:
    """What is trained is float32 whatever the base is: an update of a bfloat16 weight is lost where it is below 1/256
    of it.
    """
    import warnings

    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has renamed
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # rows of a tied head are tied
        adapted = get_peft_model(model, config, autocast_adapter_dtype=True)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in adapted.modules():
        # bitsandbytes repacks 4-bit weights for the CPU when they are first measured; no gradient comes through these
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return adapted


def embedding_names(model: PreTrainedModel) -> list[str]:
    """Paths of the modules with a row for each token: the input embedding, and the head if it has its own weight."""
    wanted, head = [model.get_input_embeddings()], model.get_output_embeddings()
    if head is not None and not model.config.get_text_config().tie_word_embeddings:  # a reward model has none
        wanted.append(head)
    # a head may be the embedding's own module, which is named once
    return [next(name for name, module in model.named_modules() if module is one) for one in wanted]


def _with_rows(model: PreTrainedModel, rows: Sequence[int]) -> list[str]:
    size = int(model.get_input_embeddings().weight.shape[0])
    if max(rows) >= size:
        raise ModelError(f"the row {max(rows)} is to be trained, but the model's embeddings end at row {size - 1}")
    return embedding_names(model)


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers but the head: peft takes its word `all-linear` only for all blocks."""
    import torch

    head = model.get_output_embeddings() or getattr(model, "score", None)
    found = [
        name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return sorted({name.rpartition(".")[2] for name in found})


def root_of(base: Model) -> tuple[Path | str, Path | None]:
    """(folder or hub id of the weights below, folder of the adapter on them or None).

    Raises ModelError when the adapter is more than LoRA and rows of embeddings, or lies itself on an adapter.
    """
    source = resolve_folder(base)
    config = adapter_config(source)
    if config is None:
        return source, None
    folder = Path(source)
    odd = [name for name in NOT_PLAIN if config.get(name)]
    _require_mergeable(base, config)
    if config.get("peft_type") not in KINDS or odd or config.get("bias", "none") != "none":
        kind = ", ".join(odd) or f"{config.get('peft_type')}, bias {config.get('bias')}"
        raise ModelError(
            f"{base.uri} is an adapter that no other can be added to ({kind}); merge it into its base first"
        )
    below = resolve_folder(adapter_base(folder, config))
    if adapter_config(below) is not None:
        raise ModelError(f"{base.uri} is an adapter on the adapter {below}; merge it into its base first")
    return below, folder


def without_dropout(model: Any) -> Any:
    """The model, never dropping anything out: what is held against a reference that drops nothing out is no noise.

    Models may drop in two ways: by modules, and by a rate that their attention reads.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for rate in ("attention_dropout", "dropout", "activation_dropout"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    return model


def all_trained(model: Any) -> Any:
    """All weights to train, in float32 even where a GPU computes in bfloat16 (by autocast). What an adapter was merged
    into comes frozen.
    """
    return model.float().requires_grad_(True)


def require_weights(base: Model) -> None:
    """Raise ModelError for a base whose learning stands beside its weights: of these alone it would be lost."""
    if config := adapter_config(resolve_folder(base)):
        _require_mergeable(base, config)


def _require_mergeable(base: Model, config: dict[str, Any]) -> None:
    if (kind := config.get("peft_type")) in BESIDE:
        raise ModelError(
            f"{base.uri} is an adapter of the kind {kind}, which no weights can hold: nothing is trained on top; "
            f"train on {config['base_model_name_or_path']}, which it stands on"
        )


def save_adapter(
    model: PeftModel, output: Path, root: Path | str, earlier: Path | None, weights: dict[str, Any] | None = None
) -> None:
    """Write adapter_config.json and adapter_model.safetensors, nothing else. `weights` are the model's own if None.

    With an `earlier` adapter, which the model below was merged with, what is saved is the sum of both as one adapter
    on `root`, so it needs no other artifact of ours.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = str(root)
    if hasattr(config, "target_modules"):  # peft keeps the names in sets, whose order changes with the hash seed
        config.target_modules = sorted(config.target_modules)
    if getattr(config, "feedforward_modules", None):
        config.feedforward_modules = sorted(config.feedforward_modules)
    model.save_pretrained(str(output), save_embedding_layers=False, state_dict=weights)
    (output / "README.md").unlink(missing_ok=True)  # a model card full of blanks
    if earlier is not None:
        embeddings = embedding_names(model.get_base_model())
        before, made = read_adapter(earlier, embeddings), read_adapter(output, embeddings)
        if not made.covers(before):
            write_adapter(sum_of(before, made), output)
