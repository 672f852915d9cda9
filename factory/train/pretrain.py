"""Continued pretraining on plain text: full, LoRA or QLoRA, or only the rows that a vocabulary was extended by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from factory import CausalLM, Context, Dataset, Flat, InputError, Model, ModelError, StepError, Text, step
from factory.models.extension import extension_of
from factory.models.loading import load_causal_lm, load_config, load_tokenizer

from . import ranks
from .adapters import LoraOptions, add_lora, add_rows, all_trained, require_weights, root_of
from .isolation import require_isolation
from .methods import sharded
from .options import Training
from .packing import Blocks, collate_blocks
from .results import first_to_last, save_model, table, training_rows
from .tokens import Tokens, opening, tokens_of

if TYPE_CHECKING:
    import torch

    from .loop import Held, Plan, Run

TRAINING = Training(batch_size=4, accumulation=4, evaluations=4)
Method = Literal["lora", "qlora", "full", "rows"]
Embeddings = Literal["none", "new", "all"]
# 2e-4 is that of Chinese-LLaMA's second stage (Cui et al. 2023, arXiv:2304.08177, table 2).
LEARNING_RATES = {"lora": 2e-4, "qlora": 2e-4, "full": 2e-5, "rows": 1e-2}
# A row that stands nowhere in a batch is still pushed away a little by every position. AdamW would make a whole step of
# that: measured by hand, 8,000 Chinese rows of SmolLM2 went from 7.42 to 7.92 bits per character in 40 steps of 512
# tokens at 1e-3, and to 7.07 with this. benchmarks/vocabulary.py --rows prints what the defaults give.
ROWS_EPSILON = 1e-2


@step(ranks=True)
def pretrain(
    dataset: Dataset[Text],
    ctx: Context,
    base: CausalLM,
    method: Method = "lora",
    embeddings: Embeddings = "none",
    lora: LoraOptions = LoraOptions(),  # noqa: B008  (never changed)
    held_out: dict[str, Dataset[Text]] = {},
    training: Flat[Training] = TRAINING,
    seq_len: Annotated[int, Field(ge=2)] = 1024,
) -> CausalLM:
    """Go on with a model's pretraining on text, as for a new language or subject.

    What keeps the old language (replayed text, the weights of the sources) comes from the step `mix` before this one.

    base             the model to start from. An adapter built earlier is merged into its base, a new one is trained on
                     top, and what is saved is the sum of both, so the result stands on the same base
    method           lora: adapters; qlora: adapters on a base in 4 bits (nf4, double quantization); full: all weights;
                     rows: only the embedding rows, of input and head, that extend_vocabulary added (Ji et al. 2023,
                     arXiv:2304.07854, section 3.2)
    embeddings       what lora and qlora train besides: none; new: the rows that extend_vocabulary added; all: every row
                     (Cui et al. 2023, arXiv:2304.08177, section 3.2), which the adapter then holds whole
    lora             r, alpha, dropout, target_modules (`all-linear` or names), layers (only the last so many)
    held_out         name: text that is not learned, as in `{new: held_zh, old: held_en}`. At every evaluation the bits
                     per character of each are measured, which can be compared across vocabularies
    {training}
    seq_len          tokens in a block. Documents are packed into blocks whole; a longer one goes on in another block.
                     No document sees another (Ding et al. 2024, arXiv:2404.10830). A batch is one of blocks

    By default the rate is 1e-2 for rows, with an epsilon as large: they move in proportion to their gradients, and rare
    ones stay where they are. What training stops by is the mean of the bits per character over the held-out names.

    Every document ends with the tokenizer's eos token, and begins with its bos token if the tokenizer puts one there;
    a special token that a text spells out is plain text. Saves a folder that transformers (full) or peft (others)
    loads, with tokenizer. Raises InputError for options that do not go together, ModelError for a base that cannot be
    trained so, StepError when there is no text or the loss is not finite.
    """
    rows_trained = _check(base, method, embeddings, held_out, training, seq_len)
    if method == "full":
        require_weights(base)
    root, earlier = root_of(base) if method != "full" else ("", None)
    import torch

    torch.set_num_threads(ctx.threads)
    tokenizer = load_tokenizer(base)
    tokens = _tokens(dataset, tokenizer, base, ctx)
    blocks = Blocks(tokens, seq_len)
    held = [_held(*one, tokenizer, seq_len, ctx.workdir / f"held_out-{at}") for at, one in enumerate(held_out.items())]
    model, stored_as = _load(base, method, embeddings, lora, rows_trained, ctx.rng("adapters").randrange(2**31 - 1))
    plan, run = _train(model, method, blocks, held, tokenizer.pad_token_id or 0, training, ctx)
    save_model(model, tokenizer, base, ctx.output, root, earlier, stored_as if method == "full" else None)
    counts = {"documents": tokens.documents, "records without text": tokens.empty, "tokens": int(tokens.offsets[-1])}
    counts |= {f"blocks of {seq_len} tokens": len(blocks)}
    rows = training_rows(base, method, model, plan, run, counts) | {"padding": f"{blocks.padding(seq_len):.2%}"}
    rows |= first_to_last("training loss", run, "loss")
    for name in held_out:
        rows |= first_to_last(f"bits per character, {name}", run, _metric(name))
    ctx.report("Training", table(rows, "Losses are nats per token. First → last."))
    return CausalLM(uri=str(ctx.output), path=ctx.output)


def _tokens(dataset: Dataset[Text], tokenizer: Any, base: Model, ctx: Context) -> Tokens:
    """All documents as tokens, kept in the workdir. Raises StepError where there is no text."""
    if tokenizer.eos_token_id is None:
        raise ModelError(f"pretrain: the tokenizer of {base.uri} has no eos token, with which documents would end")
    tell = partial(ctx.progress, total=len(dataset), note="tokenising")
    tokens = tokens_of(dataset, tokenizer, ctx.workdir / "tokens", opening(tokenizer), [tokenizer.eos_token_id], tell)
    if not tokens.documents:
        raise StepError(f"pretrain: of {len(dataset)} records none has text to learn from")
    return tokens


def _train(
    model: Any, method: Method, blocks: Blocks, held: Sequence[Held], pad_id: int, training: Training, ctx: Context
) -> tuple[Plan, Run]:
    from .loop import Material, train

    more = {"length": "seq_len", "epsilon": ROWS_EPSILON if method == "rows" else 1e-8}
    plan = training.plan(len(blocks), LEARNING_RATES[method], method == "qlora", **more)
    material = Material(blocks, blocks.lengths.tolist(), partial(collate_blocks, pad_id=pad_id), held)
    return plan, train(model, material, plan, ctx)


def _check(
    base: CausalLM,
    method: Method,
    embeddings: Embeddings,
    held_out: dict[str, Dataset[Text]],
    training: Training,
    seq_len: int,
) -> range:
    """The new rows that are trained; what cannot be is an error, before anything is loaded."""
    if sharded(method, training) and embeddings != "none":
        raise ModelError(
            f"pretrain: embeddings {embeddings} cannot be trained with --sharded; take none, or method: full"
        )
    if training.early_stopping is not None and not held_out:
        raise InputError("pretrain: early_stopping needs held_out text, as in {new: held_zh}; there is none")
    if embeddings != "none" and method in ("full", "rows"):
        raise InputError(
            f"pretrain: embeddings is {embeddings}, which is for lora and qlora; "
            + ("full trains every row" if method == "full" else "rows trains the new ones")
        )
    context = getattr(load_config(base).get_text_config(), "max_position_embeddings", None)
    if context and seq_len > context:
        raise InputError(f"pretrain: seq_len is {seq_len}, but {base.uri} reads at most {context} tokens")
    if method != "rows" and embeddings != "new":
        return range(0)
    added = extension_of(base)
    if added is None or not added.count:
        asked = "method is rows" if method == "rows" else "embeddings is new"
        instead = "method: lora" if method == "rows" else "embeddings: all"
        raise InputError(
            f"pretrain: {asked}, but {base.uri} has no new rows (no extension.json that names any); "
            f"make the base with the step extend_vocabulary, or take {instead}"
        )
    return added.ids


def _held(name: str, dataset: Dataset[Text], tokenizer: Any, seq_len: int, folder: Path) -> Held:
    """A held-out text: every token but the first is predicted once, whatever blocks the text is cut into.

    The first token is bos, or eos where there is no bos, as in lm-evaluation-harness, so that all of the text is
    predicted. There is no eos at the end: it is none of the characters.
    """
    from .loop import Held

    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    tokens = tokens_of(dataset, tokenizer, folder, [first], [])
    if not tokens.documents:
        raise StepError(f"pretrain: of the {len(dataset)} records in held_out.{name} none has text to measure")
    return Held(_metric(name), Blocks(tokens, seq_len, overlap=1), math.log(2) * tokens.characters)


def _metric(name: str) -> str:
    return f"eval_bits_per_character_{name}"


def _load(
    base: CausalLM, method: Method, embeddings: Embeddings, lora: LoraOptions, rows: range, seed: int
) -> tuple[Any, torch.dtype]:
    """The base with what is trained of it ready for updates, these rows among it; and the type that it is stored in."""
    model: Any = load_causal_lm(base, "nf4" if method == "qlora" else None, sharded=ranks.sharded())
    stored_as = model.dtype
    if embeddings == "all":
        rows = range(int(model.get_input_embeddings().weight.shape[0]))
    if method == "full":
        model = all_trained(model)
    else:
        model = add_rows(model, rows) if method == "rows" else add_lora(model, lora, seed, rows)
    require_isolation(model, base.uri)
    return model, stored_as
