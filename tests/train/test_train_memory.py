"""The arithmetic of memory against what really is there: parameters, saved tensors, quantised weights, operations."""

from __future__ import annotations

import math
from typing import Any

import pytest

from factory import CausalLM
from factory.train import memory
from factory.train.memory import BITS, Batch, Tuned, activation_bytes, flops, layer_bytes, trained_weights, weight_bytes
from factory.train.shape import shape_of

pytestmark = pytest.mark.model
TOKENS = 48
FAMILIES = ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma", "Gemma2", "GPT2")


def config(family: str, layers: int = 2, **more: Any) -> Any:
    import transformers

    small: dict[str, Any] = {"vocab_size": 64, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    if family == "GPT2":
        small |= {"n_embd": 128, "n_layer": layers, "n_head": 8, "n_positions": 512}
    else:
        small |= {
            "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": layers, "num_attention_heads": 8,
            "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
        }  # fmt: skip
    return getattr(transformers, f"{family}Config")(**small, **more)


def model(config: Any, dtype: Any = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(config, dtype=dtype or torch.float32).train()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_parameters_are_those_of_the_model(family: str, tied: bool) -> None:
    shape = shape_of(config(family, 3, tie_word_embeddings=tied))
    real = model(config(family, 3, tie_word_embeddings=tied))
    assert shape.parameters == sum(weight.numel() for weight in real.parameters())
    assert (shape.head == 0) == tied


@pytest.mark.parametrize(
    "method",
    ["lora", "qlora", "dora", "full", "freeze", "prefix", "prompt", "ptuning", "ia3", "adapter", "bitfit", "layernorm"],
)
def test_trained_weights_are_those_that_the_method_trains(method: str, tiny: CausalLM) -> None:
    from factory.models.loading import load_config
    from factory.train.fitting import task_of
    from factory.train.methods import Tuning, prepare
    from factory.train.options import Training

    tuning = Tuning.model_validate({"layers": 1, "lora": {"r": 4, "layers": 1}}).of(method)
    given = tuning.model_dump(mode="json") | Training().model_dump(mode="json") | {"max_length": 64}
    task = task_of("sft", given, shape_of(load_config(tiny)), gpu=False)
    real = prepare(tiny, tuning, 0).model
    # the head of a tied model is the embedding; a prompt encoder's table and its network are all there is of it
    wanted = sum(weight.numel() for weight in real.parameters() if weight.requires_grad)
    assert trained_weights(task.shape, task.tuned) == wanted


def saved(real: Any, gpu: bool, padded: bool) -> int:
    """Bytes of all tensors that a forward pass keeps, weights apart; on a GPU it would run under autocast."""
    import torch

    own = {one.untyped_storage().data_ptr() for one in (*real.parameters(), *real.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    ids = torch.randint(2, 60, (2, TOKENS))
    mask = torch.ones_like(ids)
    mask[1, TOKENS // 2 :] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=gpu),
    ):
        real(input_ids=ids, attention_mask=mask if padded else None, use_cache=False)
    return sum(one.untyped_storage().nbytes() for one in kept.values())


def adapted(real: Any, dropout: float, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_dropout=dropout, target_modules="all-linear")
    real = get_peft_model(real, lora)
    for weight in real.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return real.train()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize(("method", "dropout"), [("full", 0.0), ("lora", 0.0), ("lora", 0.1)])
@pytest.mark.parametrize("family", ["Llama", "Qwen3"])
def test_a_layer_keeps_what_the_formula_says(family: str, method: str, dropout: float, gpu: bool, padded: bool) -> None:
    import torch

    found, rank = {}, 4
    for layers in (2, 3):  # of the first layer frozen embeddings make a special case
        real = model(config(family, layers), torch.bfloat16 if gpu and method == "lora" else None)
        found[layers] = saved(adapted(real, dropout, rank) if method == "lora" else real, gpu, padded)
    shape = shape_of(config(family))
    batch = Batch(2, TOKENS, gpu=gpu, padded=padded)
    said = layer_bytes(shape, Tuned(method, rank=rank, dropout=dropout), batch)
    real_layer = found[3] - found[2]
    if gpu:  # what autocast keeps of weights counts as weights; a mask of dropout is a byte on a GPU and a float here
        weights = [rank * (wide + long) if method == "lora" else wide * long for _, wide, long in shape.layer]
        real_layer -= 2 * sum(weights)
        if dropout:
            real_layer -= 3 * batch.tokens * sum(wide for _, wide, _ in shape.layer)
    assert said / real_layer == pytest.approx(1, abs=0.045)
    assert family != "Llama" or said == real_layer, "to the byte"


def test_recomputing_keeps_one_layer_and_the_inputs_of_all() -> None:
    shape = shape_of(config("Llama", 6))
    tuned, batch = Tuned("full"), Batch(2, TOKENS, gpu=False)
    whole = activation_bytes(shape, tuned, batch)
    less = activation_bytes(shape, tuned, Batch(2, TOKENS, gpu=False, recompute=True))
    layer, inputs = layer_bytes(shape, tuned, batch), batch.tokens * 128 * 4
    assert whole - less == pytest.approx(5 * layer - 6 * inputs)


def test_bits_of_quantised_weights_are_those_of_bitsandbytes() -> None:
    import bitsandbytes.functional as bnb
    import torch

    weight = torch.randn(1024, 512)
    packed, state = bnb.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    octets = packed.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    assert 8 * octets / weight.numel() == pytest.approx(BITS["nf4"], rel=1e-3)
    assert BITS["nf4"] == pytest.approx(4.127, abs=1e-3)


def test_the_chunk_of_logits_is_that_of_the_loss() -> None:
    from factory.train import cross_entropy

    assert memory.LOGITS == cross_entropy.LOGITS


@pytest.mark.parametrize("method", ["full", "lora", "freeze"])
def test_operations_are_those_that_torch_counts(method: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    made = config("Llama", 4)
    real = model(made)
    if method == "lora":
        real = adapted(real, 0.0, 4)
    if method == "freeze":
        real.requires_grad_(False)
        real.model.layers[-1].requires_grad_(True)
    counter = FlopCounterMode(display=False)
    with counter:
        ids = torch.randint(2, 60, (2, TOKENS))
        real(input_ids=ids, use_cache=False).logits.sum().backward()
    tuned = Tuned(method, rank=4, layers=1 if method == "freeze" else None)
    said = flops(shape_of(made), tuned, Batch(2, TOKENS, gpu=False))
    assert said / counter.get_total_flops() == pytest.approx(1, abs=0.06)


def test_quantised_models_take_what_others_report() -> None:
    """7B in 6 GB and 70B in 48 GB (LLaMA-Factory's table), Llama-3.1-8B in 7.4 GiB (torchtune's)."""
    from transformers import LlamaConfig

    def least(length: int, **sizes: int) -> float:
        from factory.train.fitting import Setting, Task

        tuned = Tuned("qlora", "nf4", rank=8, dropout=0.05)
        return Task("sft", shape_of(LlamaConfig(**sizes)), tuned, length, Setting(1)).need(Setting(1, 1, True)).peak

    seven = least(512, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    eight = least(1024, vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                  num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False)  # fmt: skip
    seventy = least(512, vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80,
                    num_attention_heads=64, num_key_value_heads=8, tie_word_embeddings=False)  # fmt: skip
    assert 4e9 < seven < 6e9
    assert 6e9 < eight < 7.4 * 2**30
    assert 36e9 < seventy < 48e9


def test_weights_by_precision() -> None:
    shape = shape_of(config("Llama"))
    rest = shape.parameters - shape.matrices
    for base, bits in (("bf16", 16), ("int8", 8), ("nf4", BITS["nf4"])):
        said = weight_bytes(shape, Tuned("prompt", base, virtual_tokens=0))
        assert said == pytest.approx((shape.matrices * bits + rest * 16) / 8)
    assert weight_bytes(shape, Tuned("full"), gpu=False) == 4 * shape.parameters
    assert math.isclose(weight_bytes(shape, Tuned("full")), 4 * shape.parameters + 2 * shape.worked)


def test_as_many_answers_are_drawn_together_as_the_plan_says() -> None:
    from factory.train import fitting, rollouts

    assert fitting.TOGETHER == {True: rollouts.GPU_ROWS, False: rollouts.CPU_ROWS}
