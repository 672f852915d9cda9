"""What is picked fits and keeps the effective batch; what does not fit says what would. Nothing is loaded here."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from factory.train.fitting import STEPS, Setting, Task, pick, remedies, smallest, task_of
from factory.train.shape import Shape

WIDE, INNER, KV = 4096, 14336, 1024
# Llama-3.1-8B
EIGHT = Shape(
    layers=32, hidden=WIDE, vocabulary=128_256, heads=32, kv_heads=8, head_width=128, inner=INNER, gated=True,
    layer=(("q_proj", WIDE, WIDE), ("k_proj", WIDE, KV), ("v_proj", WIDE, KV), ("o_proj", WIDE, WIDE),
           ("gate_proj", WIDE, INNER), ("up_proj", WIDE, INNER), ("down_proj", INNER, WIDE)),
    norms=((WIDE, 1), (WIDE, 1)), layer_parameters=218_112_000, embedding=128_256 * WIDE, head=128_256 * WIDE,
    other=WIDE, normed=5,
)  # fmt: skip
GB = 1e9
OPTIONS: dict[str, Any] = {
    "method": "lora", "lora": {"r": 16, "dropout": 0.05}, "batch_size": 8, "accumulation": 2, "max_length": 1024,
    "optimizer": "adamw", "gradient_checkpointing": None,
}  # fmt: skip
PPO = {"quantize": "nf4", "lora": {"r": 16}, "batch_size": 8, "max_new_tokens": 128, "algorithm": "gae"}


def task(step: str = "sft", gpu: bool = True, **options: Any) -> Task:
    return task_of(step, OPTIONS | options, EIGHT, gpu)


tasks = st.builds(
    lambda step, method, size, accumulation, length, gpu: task(
        step, gpu, method=method, batch_size=size, accumulation=accumulation, max_length=length
    ),
    st.sampled_from(sorted(set(STEPS) - {"ppo", "pretrain"})),
    st.sampled_from(["lora", "qlora", "full", "freeze", "prefix"]),
    st.integers(1, 64),
    st.integers(1, 8),
    st.sampled_from([256, 1024, 8192]),
    st.booleans(),
)


@given(tasks, st.floats(1, 300))
def test_what_is_picked_fits_and_keeps_the_effective_batch(one: Task, room: float) -> None:
    setting = pick(one, room * GB)
    if setting is None:
        assert smallest(one) > room * GB
        return
    assert one.need(setting).peak <= room * GB
    wanted = one.setting.batch_size * one.setting.accumulation
    assert setting.batch_size * setting.accumulation == wanted
    assert not (setting.recompute and one.tuned.method == "prefix" and setting != one.setting)


@given(tasks, st.floats(1, 200), st.floats(1, 200))
def test_with_more_memory_no_step_takes_longer(one: Task, room: float, more: float) -> None:
    less, best = pick(one, room * GB), pick(one, (room + more) * GB)
    assert less is None or best is not None
    if less and best and one.need(one.setting).peak > (room + more) * GB:  # the recipe's own setting comes before all
        assert one.flops(best) <= one.flops(less)


@given(tasks, st.floats(1, 100))
def test_a_remedy_is_one(one: Task, room: float) -> None:
    if pick(one, room * GB) is not None:
        return
    for said in remedies(one, room * GB):
        small = replace(one, tuned=replace(one.tuned, method="qlora", base="nf4")) if "qlora" in said else one
        if "max_length" in said:
            small = replace(small, length=int(said.rpartition(" ")[2]))
        assert pick(small, room * GB) is not None


def test_the_recipes_own_setting_stays_where_it_fits() -> None:
    assert pick(task(), 200 * GB) == Setting(8, 2, False)
    assert pick(task(gradient_checkpointing=True), 200 * GB) == Setting(8, 2, True)


def test_smaller_batches_come_before_recomputing() -> None:
    one = task(batch_size=4, accumulation=1)
    kept = one.need(Setting(1, 4)).peak
    assert pick(one, kept) == Setting(1, 4)
    assert pick(one, kept - 1) == Setting(2, 2, True) or pick(one, kept - 1) == Setting(4, 1, True)


def test_full_tuning_of_8b_is_told_to_take_4_bits() -> None:
    one = task(method="full")
    assert pick(one, 24 * GB) is None
    assert smallest(one) > 14 * EIGHT.parameters  # weights, a copy in bfloat16, gradients, and one moment at the least
    assert remedies(one, 24 * GB) == ["method: qlora"]
    assert remedies(one, 2 * GB) == []


def test_a_long_record_is_told_to_be_shorter() -> None:
    one = task(method="qlora", max_length=131_072)
    assert pick(one, 24 * GB) is None
    assert remedies(one, 24 * GB) == ["max_length: 16384"]


def test_answers_of_ppo_go_through_in_portions() -> None:
    one = task_of("ppo", PPO, EIGHT, True)
    assert one.setting == Setting(8, 1, True), "recomputed by default on a GPU"
    assert one.answer == 128
    assert one.length == 512 + 128
    few = replace(one, together=1)
    assert pick(few, few.need(Setting(4, 1, True)).peak) == Setting(4, 1, True)
    assert one.together == 32
    assert task_of("ppo", PPO | {"prompts_per_step": 4, "minibatches": 2}, EIGHT, True).setting.batch_size == 2
    alone = task_of("ppo", PPO | {"algorithm": "grpo"}, EIGHT, True)
    assert one.need(one.setting).optimizer == 2 * alone.need(alone.setting).optimizer, (
        "a value model learns beside the policy"
    )
    assert alone.together == 128, "four answers to each of 32 prompts"
    assert alone.need(Setting(1, 1, True)).cache == 2 * 32 * KV * 2 * 128 * 640
    assert alone.need(alone.setting).peak < replace(alone, together=1024).need(alone.setting).peak


def test_no_record_is_longer_than_the_model_reads() -> None:
    short = replace(EIGHT, context=512)
    assert task_of("sft", OPTIONS, short, True).length == 512
    assert task_of("ppo", PPO, short, True).length == 512


def test_what_a_step_reads_at_once() -> None:
    alone, pairs = task("sft"), task("dpo")
    assert pairs.batch(Setting(4)).rows == 2 * alone.batch(Setting(4)).rows
    assert pairs.need(Setting(8)).logits == alone.need(Setting(8)).logits, "of both no more than a chunk is there"
    assert task("reward_model").need(Setting(1)).logits == 0
    assert pairs.tuned.dropout == 0 < alone.tuned.dropout


def test_layers_below_the_trained_ones_keep_nothing() -> None:
    few = task(lora={"r": 16, "layers": 4})
    assert few.need(Setting(1)).activations < task().need(Setting(1)).activations / 6
    assert few.flops(Setting(1)) < task().flops(Setting(1))


def test_optimizers_differ_by_their_state() -> None:
    sizes = [task(method="full", optimizer=name).need(Setting(1)).optimizer for name in ("adamw", "adamw_8bit")]
    assert sizes[0] == 8 * EIGHT.parameters
    assert 3.9 < sizes[0] / sizes[1] < 4
    assert task(method="full", optimizer="adafactor").need(Setting(1)).optimizer == 0


def test_the_plan_loads_no_library() -> None:
    import subprocess

    code = "import sys, factory.train.fitting; assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
