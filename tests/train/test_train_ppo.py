"""ppo on a tiny model: who reads the base, what a step learns from, what is saved, and what is refused."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, adapter, prompts, reward_adapter, vowels

from factory import CausalLM, Dataset, InputError, ModelError, Prompt, RewardModel, StepError, user
from factory.train.adapters import LoraOptions
from factory.train.ppo import ppo, prepare
from factory.train.ppo_options import Practice
from factory.train.rewards import Rewarding, Term

pytestmark = pytest.mark.model
END = 1


@pytest.fixture(scope="module")
def sft(tiny: CausalLM, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return adapter(tiny, tmp_path_factory.mktemp("sft"), seed=1)


@pytest.fixture(scope="module")
def reward(tiny: CausalLM, tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    return reward_adapter(tiny, tmp_path_factory.mktemp("reward"), seed=2)


@pytest.fixture
def asked(tmp_path: Path, write_dataset: Any) -> Dataset[Any]:
    return write_dataset(tmp_path / "prompts.parquet", prompts(), Prompt)  # type: ignore[no-any-return]


def ready(context: Any, asked: Any, policy: CausalLM, reward: Any = None, **given: Any) -> Any:
    """A run before its first step. Every fourth token ends an answer, so that answers differ in length."""
    named = {"reward_weight": 1.0, "judge": None, "judge_weight": 1.0, "budget": None, "rewards": {}, "code": None}
    rewarding = Rewarding(reward, *(given.pop(name, default) for name, default in named.items()))
    options = {"algorithm": "gae", "quantize": "none", "lora": LoraOptions(r=2)}
    practice = Practice(**{**QUICK, **{name: given.pop(name) for name in list(given) if name not in options}})
    run = prepare(asked, context, policy, practice, rewarding, **{**options, **given})
    run.ends |= set(range(1, 330, 4))
    return run


def made(run: Any, number: int = 1) -> Any:
    from factory.train.ppo_loop import collect

    return collect(run, number)


@pytest.mark.parametrize("algorithm", ["gae", "grpo", "rloo"])
def test_the_policy_begins_as_its_reference_to_the_bit(
    algorithm: Any, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """KL is 0 at the first step and the ratio 1 at a step's first minibatch, whatever a model drops in training."""
    dropping = tmp_path / "dropping"
    shutil.copytree(sft.path, dropping)  # type: ignore[arg-type]
    config = json.loads((dropping / "adapter_config.json").read_text())
    base = tmp_path / "base"
    shutil.copytree(config["base_model_name_or_path"], base)
    inner = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**inner, "attention_dropout": 0.5}))
    (dropping / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    policy = CausalLM(uri=str(dropping), path=dropping)
    context, notebook = make_context(tmp_path / "run")
    options = {**QUICK, "samples": 2, "gradient_checkpointing": True, "temperature": 1.3}
    ppo.function(asked, context, policy, reward=reward, algorithm=algorithm, **options)
    assert notebook.logged[1]["kl"] == 0.0
    assert notebook.logged[2]["kl"] > 0.0
    assert [notebook.logged[step]["first_ratio_off"] for step in (1, 2)] == [0.0, 0.0]
    assert notebook.logged[1]["clip_fraction"] < 1


def test_the_reference_is_the_policys_own_adapter_and_not_the_bare_base(
    tiny: CausalLM, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    from factory.models.loading import load_causal_lm

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    ids = torch.arange(30)[None]
    with torch.no_grad():
        expected, bare = (load_causal_lm(one)(input_ids=ids).logits for one in (sft, tiny))
        found = {}
        for reader in ("policy", "reward", "reference", "value"):
            run.one.use(reader)
            found[reader] = run.one.lm(input_ids=ids).logits
    assert torch.equal(found["policy"], found["reference"])
    assert torch.allclose(found["reference"], expected, atol=1e-4)
    assert not torch.allclose(found["reference"], bare, atol=1e-2)
    assert torch.equal(found["value"], found["reward"])
    assert not torch.allclose(found["reward"], expected, atol=1e-2)


def test_a_reward_adapter_gives_what_the_whole_reward_model_gives(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.models.rewards import load_reward_model, rewards
    from factory.train.batches import encode_examples
    from factory.train.scoring import read_as

    run = ready(make_context(tmp_path / "run")[0], asked, sft, reward)
    assert run.scoring.apart is None
    records = list(asked)
    texts = [f"A {'very ' * at}long answer." for at in range(len(records))]
    # the text form of training: up to the end-of-turn token, without the newline that the template writes after it
    pairs = [
        {**record, "completion": [{"role": "assistant", "content": text}]}
        for record, text in zip(records, texts, strict=True)
    ]
    learned = encode_examples(pairs, run.tokenizer, 500, make_context(tmp_path / "other")[0])  # type: ignore[arg-type]
    encoded = [read_as(run.tokenizer, record, text) for record, text in zip(records, texts, strict=True)]
    assert encoded == [list(example.ids) for example in learned]
    assert all(ids[-1] == END for ids in encoded)
    terms, totals, _ = run.scoring.of(texts, records)
    assert terms["model"] == totals == pytest.approx(rewards(load_reward_model(reward), encoded, END), abs=1e-5)
    assert len(set(totals)) == len(totals)


def test_a_prompt_that_begins_the_answer_is_read_as_one_turn(sft: CausalLM) -> None:
    from factory.models.loading import load_tokenizer
    from factory.train.scoring import read_as

    tokenizer = load_tokenizer(sft)
    whole = {"id": "a", "prompt": user("What is a set?")}
    begun = {"id": "b", "prompt": [*user("What is a set?"), {"role": "assistant", "content": "A set "}]}
    assert read_as(tokenizer, begun, "holds items.") == read_as(tokenizer, whole, "A set holds items.")


def test_only_what_a_reader_trains_takes_gradients(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.train.ppo_loop import policy_gradient, value_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    experience, _ = made(run)
    before = {name: weight.clone() for name, weight in run.one.lm.named_parameters()}
    for reader, gradient in (("policy", policy_gradient), ("value", value_gradient)):
        for minibatch in experience.portions:  # two, since A has no gradient while B is zero
            gradient(run, experience, minibatch)
            run.one.assert_trains(reader)
            run.optimizers[reader].step()
            run.optimizers[reader].zero_grad()
    moved = {name for name, weight in run.one.lm.named_parameters() if not weight.equal(before[name])}
    assert moved == {name for name in before if ".policy." in name or ".value." in name}
    assert not run.one.heads["value"].weight.equal(run.one.heads["reward"].weight)
    # what peft does by itself when adapters are switched: the frozen one would be trained, too
    run.one.peft.base_model.set_adapter(["sft", "policy"])
    with pytest.raises(AssertionError, match="take gradients"):
        run.one.assert_trains("policy")


def test_a_minibatch_has_one_gradient_however_it_is_cut(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    from factory.train.ppo_loop import policy_gradient, value_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward)
    experience, _ = made(run)
    rows = sorted(row for part in experience.portions[0] for row in part)
    lengths = [len(one.answer) for one in experience.rollouts]
    assert len(rows) == 3
    lengths_differ = len({lengths[row] for row in rows}) > 1
    assert lengths_differ  # else every mean is the same
    experience.advantages += 0.3  # as if some answers were much better
    found: list[dict[str, Any]] = []
    for cut in ([rows], [rows[:1], rows[1:]], [[row] for row in rows]):
        for reader, gradient in (("policy", policy_gradient), ("value", value_gradient)):
            run.optimizers[reader].zero_grad(set_to_none=True)
            gradient(run, experience, cut)
        trained = {**run.one.trained("policy"), **run.one.trained("value")}
        found.append({name: weight.grad.clone() for name, weight in trained.items() if weight.grad is not None})
    for other in found[1:]:
        for name, gradient in found[0].items():
            assert torch.allclose(other[name], gradient, atol=1e-7, rtol=1e-4), name


def test_what_a_step_learns_from_is_as_a_reader_without_padding_has_it(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """Old log-probabilities at the temperature, values before each token, and rewards, answer by answer."""
    import torch

    from factory.train import advantages as adv

    temperature = 1.3
    run = ready(
        make_context(tmp_path)[0],
        asked,
        sft,
        reward,
        temperature=temperature,
        normalize=False,
        missing_eos_penalty=5.0,
        max_new_tokens=3,
    )
    experience, metrics = made(run)
    texts = [run.tokenizer.decode(one.said, skip_special_tokens=True) for one in experience.rollouts]
    earned = []
    for row, one in enumerate(experience.rollouts):
        ids, start = torch.tensor([one.ids]), len(one.prompt) - 1
        with torch.no_grad():
            run.one.use("reference")
            logs = torch.log_softmax(run.one.lm(input_ids=ids).logits[0, start:-1] / temperature, -1)
            run.one.use("value")
            values = run.one.heads["value"](run.one.lm.model(input_ids=ids).last_hidden_state)[0, start:-1, 0]
        tokens = torch.tensor(one.answer)
        count = len(one.answer)
        assert torch.allclose(experience.old[row, :count], logs[range(count), tokens], atol=1e-5)
        assert torch.allclose(experience.values[row, :count], values, atol=1e-5)
        assert experience.mask[row].sum() == count
        earned.append(metrics_of(run, one, texts[row]))
    scores = torch.tensor(
        [score - 5.0 * (not one.ended) for score, one in zip(earned, experience.rollouts, strict=True)]
    )
    none = torch.zeros_like(experience.old)
    table, returns = adv.gae(
        adv.token_rewards(scores, none, experience.mask, 0.05), experience.values, experience.mask, 1.0, 0.95
    )
    assert torch.allclose(experience.returns, returns, atol=1e-4)
    assert torch.allclose(experience.advantages, adv.whiten(table, experience.mask), atol=1e-4)
    assert metrics["reward"] == pytest.approx(sum(earned) / len(earned), abs=1e-5)
    assert 0 < metrics["ended"] < 1


def test_the_value_model_begins_as_the_reward_model_in_the_scores_own_scale(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch

    run = ready(make_context(tmp_path)[0], asked, sft, reward, reward_weight=2.0)
    assert run.one.heads["value"].weight.equal(run.one.heads["reward"].weight)
    experience, _ = made(run)
    batch = run.batch(experience.rollouts, range(len(experience.rollouts)))
    with torch.no_grad():
        run.one.use("reward")
        raw = run.one.heads["reward"](run.one.hidden(batch.ids, batch.attention))[batch.before].squeeze(-1)
    expected = (2 * raw - run.seen.mean) / run.seen.deviation
    assert torch.allclose(experience.values[experience.mask], expected, atol=1e-4)


def metrics_of(run: Any, rollout: Any, text: str) -> float:
    """The reward of one answer, by the record whose prompt it answers."""
    record = next(one.record for one in run.asked if one.ids == rollout.prompt)
    return float(run.scoring.of([text], [record])[1][0])


@pytest.mark.parametrize("quantize", ["nf4", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_quantised_base_trains_its_adapters(
    quantize: Any, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from safetensors.torch import load_file

    from factory.models.merging import noted_quantized

    context, notebook = make_context(tmp_path / "run")
    lora = LoraOptions(r=2)
    result = ppo.function(asked, context, sft, reward=reward, quantize=quantize, lora=lora, **QUICK)
    assert noted_quantized(result.path) == quantize
    assert notebook.logged[1]["kl"] == 0.0
    assert notebook.logged[1]["first_ratio_off"] == 0.0
    weights = load_file(result.path / "adapter_model.safetensors")
    assert weights
    for name, weight in weights.items():
        if "lora_B" in name:
            assert weight[:, 3:].any(), f"{name} never moved"  # behind the 3 columns of the earlier adapter


def test_gradients_come_through_4_bits_as_through_what_these_mean(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """bitsandbytes repacks weights that are measured first, and then passes no gradient to what lies below them."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    from factory.train.ppo_loop import policy_gradient

    run = ready(make_context(tmp_path)[0], asked, sft, reward, quantize="nf4")
    experience, _ = made(run)
    for weight in run.one.trained("policy").values():
        weight.data.normal_(std=0.1, generator=torch.Generator().manual_seed(weight.numel()))

    def gradients() -> dict[str, Any]:
        run.optimizers["policy"].zero_grad(set_to_none=True)
        policy_gradient(run, experience, experience.portions[0])
        return {name: weight.grad for name, weight in run.one.trained("policy").items()}

    found = gradients()
    for module in run.one.lm.modules():
        if hasattr(getattr(module, "base_layer", None), "quant_state"):
            packed = module.base_layer
            plain = torch.nn.Linear(packed.in_features, packed.out_features, bias=False)
            plain.weight = torch.nn.Parameter(
                dequantize_4bit(packed.weight.data, packed.weight.quant_state).float(), requires_grad=False
            )
            module.base_layer = plain
    for name, gradient in gradients().items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


@pytest.mark.parametrize("tuned", [True, False], ids=["adapter", "full"])
def test_what_is_saved_is_the_policy_on_the_root(
    tuned: bool, tiny: CausalLM, sft: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    from factory.train.loading import save_policy
    from factory.train.ppo_loop import train

    policy = sft if tuned else tiny
    context, _ = make_context(tmp_path / "run")
    run = ready(context, asked, policy, **vowels(tmp_path))
    train(run)
    save_policy(run.one, policy, run.tokenizer, context.output)
    config = json.loads((context.output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny.path)
    assert config["r"] == (5 if tuned else 2)
    run.one.use("policy")
    ids = torch.arange(30)[None]
    with torch.no_grad():
        ours = run.one.lm(input_ids=ids).logits
        theirs = AutoPeftModelForCausalLM.from_pretrained(context.output)(input_ids=ids).logits
        run.one.use("reference")
        before = run.one.lm(input_ids=ids).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, before, atol=1e-2)
    assert AutoTokenizer.from_pretrained(context.output).chat_template
    assert {path.name for path in context.output.iterdir()} >= {"adapter_model.safetensors", "tokenizer.json"}


def test_a_reward_model_on_another_base_is_loaded_apart(
    tiny: CausalLM, sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.models.rewards import load_reward_model

    whole = tmp_path / "whole"
    load_reward_model(reward).save_pretrained(whole)
    shutil.copy(reward.path / "tokenizer.json", whole)  # type: ignore[operator]
    shutil.copy(reward.path / "tokenizer_config.json", whole)  # type: ignore[operator]
    shutil.copy(reward.path / "chat_template.jinja", whole)  # type: ignore[operator]
    on_base = ready(make_context(tmp_path / "a")[0], asked, sft, reward)
    apart = ready(make_context(tmp_path / "b")[0], asked, sft, RewardModel(uri=str(whole), path=whole))
    assert apart.scoring.apart is not None
    assert "reward" not in apart.one.readers
    assert not apart.one.heads["value"].weight.any()
    records = list(asked)
    texts = ["Yes."] * len(records)
    assert apart.scoring.of(texts, records)[1] == pytest.approx(on_base.scoring.of(texts, records)[1], abs=1e-5)


def test_terms_are_weighed_and_logged_apart(tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "run")
    terms = {
        "short": Term(length=(1, 4), weight=2),
        "letters": Term(regex="[a-z]", weight=-0.5),
        "measured": Term(regex=".", weight=0),
    }
    ppo.function(asked, context, tiny, rewards=terms, algorithm="rloo", samples=2, **QUICK)
    for step in (1, 2):
        told = notebook.logged[step]
        whole = 2 * told["reward/short"] - 0.5 * told["reward/letters"]
        assert told["reward"] == pytest.approx(whole, abs=1e-6)
        assert told["reward/measured"] > 0
    assert notebook.logged[0].keys() >= {"eval_reward", "eval_reward/short"}
    assert notebook.sections["Samples after step 2"].count("\n| What is") == 3  # held out of ten
    assert "| reward/short |" in notebook.sections["Training"]


def test_the_coefficient_is_steered_and_a_pass_is_stopped(
    tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    from factory.train.advantages import adapted

    context, notebook = make_context(tmp_path / "run")
    options = {**QUICK, "max_steps": 4, "kl_target": 0.01, "kl_stop": 1e-3, "ppo_epochs": 4}
    ppo.function(asked, context, tiny, **vowels(tmp_path), **options)
    told = [notebook.logged[step] for step in range(1, 5)]
    for one, following in pairwise(told):
        assert following["kl_coefficient"] == adapted(one["kl_coefficient"], one["kl"], 0.01)
    assert told[0]["kl_coefficient"] == 0.05
    assert told[3]["kl_coefficient"] != told[1]["kl_coefficient"]
    for one in told:
        assert 1 <= one["updates"] < 8
        assert one["step_kl"] > 1e-3


def test_a_run_that_died_goes_on_as_one_that_did_not(
    sft: CausalLM, reward: RewardModel, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    options = {**QUICK, "max_steps": 4, "checkpoint_every": 2, "kl_target": 1.0, "evaluations": 2}

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    context, whole = make_context(tmp_path / "whole")
    ppo.function(asked, context, sft, reward=reward, **options)
    broken, notebook = make_context(tmp_path / "broken")

    def die(step: int, metrics: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    notebook.log = die
    with pytest.raises(KeyboardInterrupt):
        ppo.function(asked, broken, sft, reward=reward, **options)
    resumed, again = make_context(tmp_path / "broken")
    ppo.function(asked, resumed, sft, reward=reward, **options)
    assert sorted(again.logged) == [3, 4]
    assert all(again.logged[step] == whole.logged[step] for step in again.logged)
    assert again.sections == whole.sections
    assert files(resumed.output) == files(context.output)


def test_what_cannot_be_is_one_sentence(
    tiny: CausalLM,
    sft: CausalLM,
    reward: RewardModel,
    asked: Any,
    tmp_path: Path,
    make_context: Any,
    write_dataset: Any,
) -> None:
    context, notebook = make_context(tmp_path / "run")
    checks = vowels(tmp_path)
    with pytest.raises(InputError, match="nothing rewards the answers"):
        ppo.function(asked, context, tiny)
    with pytest.raises(InputError, match=r"grpo compares .* samples is 1, expected 2 or more"):
        ppo.function(asked, context, tiny, algorithm="grpo", samples=1, **checks)
    with pytest.raises(InputError, match="too few for 4 minibatches"):
        ppo.function(asked, context, tiny, prompts_per_step=2, minibatches=4, **checks)
    with pytest.raises(ModelError, match="is a reward model; give it as `reward`"):
        ppo.function(asked, context, CausalLM(uri=reward.uri, path=reward.path), **checks)
    dora = adapter(tiny, tmp_path / "dora", 3, use_dora=True)
    with pytest.raises(ModelError, match="an adapter that no other can be added to"):
        ppo.function(asked, context, dora, **checks)
    with pytest.raises(ModelError, match="target_modules"):
        ppo.function(asked, context, tiny, lora=LoraOptions(target_modules=["nothing_proj"]), **checks)
    with pytest.raises(StepError, match="of 10 prompts none is left to answer; a prompt and 250 new tokens must fit"):
        ppo.function(asked, context, tiny, max_new_tokens=250, **checks)
    assert [reason for _, reason in notebook.dropped] == ["too long"] * 10
    wild = {**QUICK, "learning_rate": 1e30, "max_steps": 4, "max_grad_norm": 1e30}
    with pytest.raises(StepError, match=r"loss is (nan|inf) at step .*lower learning rate"):
        ppo.function(asked, context, tiny, **checks, **wild)
    other = tmp_path / "other"
    shutil.copytree(reward.path, other)  # type: ignore[arg-type]
    grown = json.loads((other / "tokenizer.json").read_text())
    vocabulary = grown["model"]["vocab"]
    first, second = (next(name for name, at in vocabulary.items() if at == place) for place in (40, 41))
    vocabulary[first], vocabulary[second] = 41, 40
    (other / "tokenizer.json").write_text(json.dumps(grown))
    with pytest.raises(ModelError, match="another vocabulary than its tokenizer"):
        ppo.function(asked, context, sft, reward=RewardModel(uri=str(other), path=other), **QUICK)
    one_long = write_dataset(
        tmp_path / "long.parquet",
        [{"id": "a", "prompt": user("word " * 300)}, {"id": "b", "prompt": user("Hi.")}],
        Prompt,
    )
    fresh, notebook = make_context(tmp_path / "fresh")
    ppo.function(one_long, fresh, tiny, **{**QUICK, "max_steps": 1}, **checks)
    assert notebook.dropped == [("a", "too long")]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"batch_size": 8}, "at batch_size 8; try batch_size: 4"),
        ({"batch_size": 1}, "gradient_checkpointing: true"),
        ({"batch_size": 1, "gradient_checkpointing": True}, "fewer max_new_tokens, or quantize: nf4"),
    ],
)
def test_memory_that_does_not_suffice_is_said_with_a_remedy(options: dict[str, Any], remedy: str) -> None:
    import torch

    from factory.train.ppo_loop import told_plainly

    with pytest.raises(StepError, match=remedy), told_plainly(Practice(**options)):
        torch.empty(1 << 60, dtype=torch.int8)
    with pytest.raises(RuntimeError, match="shapes"), told_plainly(Practice(**options)):
        torch.ones(2, 3) @ torch.ones(2, 3)


@pytest.mark.slow
def test_rows_of_an_extended_vocabulary_are_kept(
    extended: CausalLM, asked: Any, tmp_path: Path, make_context: Any
) -> None:
    """The policy's own adapter may hold rows of embeddings, which are part of its reference and of what is saved."""
    import torch

    from factory.models.loading import load_causal_lm, load_tokenizer
    from factory.train.adapters import add_lora, save_adapter
    from factory.train.loading import save_policy

    tokenizer = load_tokenizer(extended)
    new = [len(tokenizer) - 2, len(tokenizer) - 1]
    tuned = add_lora(load_causal_lm(extended), LoraOptions(r=2), 0, rows=new)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if weight.requires_grad:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    folder = tmp_path / "tuned"
    folder.mkdir()
    save_adapter(tuned, folder, str(extended.path), None)
    tokenizer.save_pretrained(folder)
    policy = CausalLM(uri=str(folder), path=folder)
    run = ready(make_context(tmp_path / "run")[0], asked, policy, **vowels(tmp_path))
    ids = torch.tensor([[5, *new, 6, 7]])
    with torch.no_grad():
        run.one.use("reference")
        reference = run.one.lm(input_ids=ids).logits
        expected = load_causal_lm(policy)(input_ids=ids).logits
        for weight in run.one.trained("policy").values():
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(weight.numel()))
        run.one.use("policy")
        trained = run.one.lm(input_ids=ids).logits
        save_policy(run.one, policy, tokenizer, tmp_path / "made")
        loaded = load_causal_lm(CausalLM(uri="made", path=tmp_path / "made"))(input_ids=ids).logits
    assert torch.allclose(reference, expected, atol=1e-4)
    assert torch.allclose(trained, loaded, atol=1e-4)
    assert not torch.allclose(trained, reference, atol=1e-2)


def test_equal_rewards_are_told(tiny: CausalLM, asked: Any, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path / "run")
    ppo.function(asked, context, tiny, rewards={"same": Term(regex="")}, algorithm="grpo", samples=2, **QUICK)
    assert any("in 100% of the groups all answers have one reward" in says for says in notebook.alarms)
    assert "in 100% of the groups" in notebook.sections["Training"]
    assert notebook.logged[2]["kl"] == 0.0  # nothing moved
