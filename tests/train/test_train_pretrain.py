"""pretrain on tiny models: what is learned, what may not move, what is saved, and how adapters lie on one another."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError, ModelError, StepError, Text
from factory.models.extension import extension_of
from factory.train.adapters import LoraOptions
from factory.train.pretrain import pretrain
from factory.train.sft import sft

pytestmark = pytest.mark.model
FAST = {"epochs": 6, "seq_len": 32, "batch_size": 2, "accumulation": 1, "learning_rate": 3e-2, "warmup": 0.0}
SMALL = LoraOptions(r=4, dropout=0.0)


def loaded(model: CausalLM) -> Any:
    from factory.models.loading import load_causal_lm

    return load_causal_lm(model)


def logits_of(model: Any) -> Any:
    import torch

    with torch.no_grad():
        ids = torch.arange(4 * 84) * 7 % model.get_input_embeddings().weight.shape[0]
        return model(input_ids=ids.view(4, 84), use_cache=False).logits


def weights_of(model: Any) -> dict[str, Any]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def changed_rows(before: Any, after: Any) -> set[int]:
    return set((before != after).any(-1).nonzero().flatten().tolist())


def saved(model: CausalLM) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors.torch import load_file

    assert model.path is not None
    config = json.loads((model.path / "adapter_config.json").read_text())
    return config, load_file(model.path / "adapter_model.safetensors")


def far(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


def test_rows_trains_the_new_rows_and_nothing_else(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM

    context, notebook = make_context(tmp_path / "run")
    held = {"new": text("new", 8, 100), "old": text("old", 8, 100)}
    made = pretrain.function(text("new"), context, extended, method="rows", held_out=held, **FAST)
    before, after = weights_of(loaded(extended)), weights_of(loaded(made))
    new = set(extension_of(extended).ids)  # type: ignore[union-attr]
    for name in before:
        embedding = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        assert changed_rows(before[name], after[name]) == (new if embedding else set()), name
    config, state = saved(made)
    assert config["peft_type"] == "TRAINABLE_TOKENS"
    assert {tuple(weight.shape) for weight in state.values()} == {(len(new), 64)}
    assert len(state) == 2  # peft stores rows alone under the head's name, too, where it is tied
    assert extension_of(made) == extension_of(extended)
    first, *_, last = (entry for _, entry in sorted(notebook.logged.items()) if "eval_bits_per_character_new" in entry)
    assert last["eval_bits_per_character_new"] < 0.5 * first["eval_bits_per_character_new"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*missing.*")
        foreign = AutoPeftModelForCausalLM.from_pretrained(made.path)
    assert far(logits_of(foreign), logits_of(loaded(made))) < 1e-5
    assert not torch.equal(logits_of(loaded(made)), logits_of(loaded(extended)))


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("embeddings", ["none", "new", "all"])
def test_an_adapter_holds_the_rows_that_were_trained(
    method: Any, embeddings: Any, extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    from peft import AutoPeftModelForCausalLM

    context, notebook = make_context(tmp_path / "run")
    options = {**FAST, "max_steps": 4, "learning_rate": 1e-2}
    made = pretrain.function(
        text("new"), context, extended, method=method, embeddings=embeddings, lora=SMALL, **options
    )
    _, state = saved(made)
    rows = {name: weight for name, weight in state.items() if "lora" not in name}
    modules = 1 if loaded(extended).config.tie_word_embeddings else 2
    size = loaded(extended).get_input_embeddings().weight.shape[0]
    expected = {"none": 0, "new": 6, "all": size}[embeddings]
    assert [len(weight) for weight in rows.values()] == [expected] * (modules if expected else 0)
    assert f"| method | {method} |" in notebook.sections["Training"]
    merged = loaded(made)
    assert far(logits_of(AutoPeftModelForCausalLM.from_pretrained(made.path)), logits_of(merged)) < 1e-4
    if modules == 1:
        assert merged.get_input_embeddings().weight is merged.get_output_embeddings().weight
    before, after = loaded(extended).get_input_embeddings().weight, merged.get_input_embeddings().weight
    moved = changed_rows(before, after)
    assert (moved == set()) if embeddings == "none" else (moved >= set(extension_of(extended).ids))  # type: ignore[union-attr]
    assert moved <= set(extension_of(extended).ids) or embeddings == "all"  # type: ignore[union-attr]


def test_full_saves_a_folder_that_transformers_loads(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    context, notebook = make_context(tmp_path / "run")
    made = pretrain.function(text("new"), context, extended, method="full", **{**FAST, "learning_rate": 5e-3})
    assert far(logits_of(AutoModelForCausalLM.from_pretrained(made.path)), logits_of(loaded(made))) == 0
    assert len(AutoTokenizer.from_pretrained(made.path)) == extension_of(extended).ids.stop  # type: ignore[union-attr]
    assert extension_of(made) == extension_of(extended)
    losses = [entry["train_loss"] for _, entry in sorted(notebook.logged.items())]
    assert losses[-1] < 0.5 * losses[0]
    for row in ("| documents | 24 |", "| blocks of 32 tokens |", "| padding | "):
        assert row in notebook.sections["Training"]


def test_rows_then_lora_then_sft_is_one_adapter_on_the_extended_base(
    extended: CausalLM, text: Any, dataset: Any, tmp_path: Path, make_context: Any
) -> None:
    """extend → pretrain(rows) → pretrain(lora) → sft(lora): each folder gives what was trained, within 1e-5."""
    import torch
    from peft import AutoPeftModelForCausalLM
    from safetensors.torch import load_file

    from factory.train.loop import TRAINED
    from factory.train.methods import Tuning, prepare

    runs = {name: make_context(tmp_path / name)[0] for name in ("rows", "lora", "sft")}
    options = {**FAST, "max_steps": 5, "learning_rate": 1e-2}
    first = pretrain.function(text("new"), runs["rows"], extended, method="rows", **options)
    second = pretrain.function(
        text("new"), runs["lora"], first, lora=LoraOptions(r=4, target_modules=["q_proj"]), embeddings="new", **options
    )
    third = sft.function(
        dataset, runs["sft"], second, lora=SMALL, max_steps=5, checkpoint_every=5, learning_rate=1e-2, validation=0.0
    )
    ids = list(extension_of(extended).ids)  # type: ignore[union-attr]
    for made, rank in ((second, 4), (third, 8)):
        config, _ = saved(made)
        assert (config["peft_type"], config["r"]) == ("LORA", rank)
        assert config["base_model_name_or_path"] == str(extended.path)
        assert all(rows == ids for rows in config["trainable_token_indices"].values())
        assert extension_of(made) == extension_of(extended)
        ours = logits_of(loaded(made))
        assert far(logits_of(AutoPeftModelForCausalLM.from_pretrained(made.path)), ours) < 1e-5
    # the last checkpoint of sft is the adapter alone: on what came before, stacked, it gives what was saved
    stacked = prepare(second, Tuning(lora=SMALL), 0).model
    weights = load_file(tmp_path / "sft" / "work" / "checkpoint-5" / TRAINED)
    assert stacked.load_state_dict(weights, strict=False).unexpected_keys == []
    assert far(logits_of(stacked.eval()), logits_of(loaded(third))) < 1e-5
    # sft leaves the rows as pretrain made them, and pretrain(lora, new) moved those of pretrain(rows)
    rows = [loaded(one).get_input_embeddings().weight[ids] for one in (extended, first, second, third)]
    assert torch.equal(rows[2], rows[3])
    assert not torch.equal(rows[1], rows[2])
    assert not torch.equal(rows[0], rows[1])


def test_rows_on_an_adapter_of_rows_is_one_adapter_of_rows(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    from peft import AutoPeftModelForCausalLM

    options = {**FAST, "max_steps": 3}
    first = pretrain.function(text("new"), make_context(tmp_path / "a")[0], extended, method="rows", **options)
    second = pretrain.function(text("new"), make_context(tmp_path / "b")[0], first, method="rows", **options)
    assert saved(second)[0]["base_model_name_or_path"] == str(extended.path)
    assert far(logits_of(AutoPeftModelForCausalLM.from_pretrained(second.path)), logits_of(loaded(second))) < 1e-5
    assert far(logits_of(loaded(second)), logits_of(loaded(first))) > 1e-3


def test_qlora_on_an_adapter_of_rows_keeps_them(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    """The base is quantized with the rows in it; what is saved stands on the base as it was."""
    from peft import AutoPeftModelForCausalLM

    options = {**FAST, "max_steps": 3}
    first = pretrain.function(text("new"), make_context(tmp_path / "a")[0], extended, method="rows", **options)
    second = pretrain.function(text("new"), make_context(tmp_path / "b")[0], first, method="qlora", **options)
    ids = list(extension_of(extended).ids)  # type: ignore[union-attr]
    assert far(loaded(first).get_input_embeddings().weight[ids], loaded(second).get_input_embeddings().weight[ids]) == 0
    assert far(logits_of(AutoPeftModelForCausalLM.from_pretrained(second.path)), logits_of(loaded(second))) < 1e-5


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["gpt_neox", "gpt2", "qwen2"])
@pytest.mark.parametrize("with_lora", [False, True])
def test_rows_of_other_architectures_come_back_through_peft(
    kind: str, tied: bool, with_lora: bool, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    from factory.train.adapters import add_lora, add_rows, save_adapter

    torch.manual_seed(0)
    names = (
        ("n_embd", "n_layer", "n_head")
        if kind == "gpt2"
        else ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    sizes = dict(zip(names, (32, 2, 4), strict=True))
    if kind == "qwen2":
        sizes["num_key_value_heads"] = 2
    config = AutoConfig.for_model(
        kind, vocab_size=90, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0, **sizes
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    rows = range(80, 88)
    model = add_lora(base, SMALL, 0, rows) if with_lora else add_rows(base, rows)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], 1.0)
    ids = torch.arange(70, 90)[None]
    for _ in range(2):
        optimizer.zero_grad()
        model.eval()(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
    save_adapter(model, tmp_path / "adapter", tmp_path / "base", None)
    with torch.no_grad():
        trained = model(input_ids=ids, use_cache=False).logits
        fresh = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        merged = PeftModel.from_pretrained(fresh, tmp_path / "adapter").merge_and_unload().eval()
        assert far(merged(input_ids=ids, use_cache=False).logits, trained) < 1e-5
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    for one, other in (
        (before.get_input_embeddings(), merged.get_input_embeddings()),
        (before.get_output_embeddings(), merged.get_output_embeddings()),
    ):
        assert changed_rows(one.weight, other.weight) == set(rows)


def test_bits_per_character_are_those_of_each_document_alone(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    """Measured by hand: every document by itself, after bos, cut at seq_len with one token repeated."""
    import torch
    from transformers import AutoTokenizer

    context, notebook = make_context(tmp_path / "run")
    held = text("old", 30, 50)
    pretrain.function(text("new"), context, extended, method="rows", held_out={"old": held}, **FAST)
    model, tokenizer = loaded(extended), AutoTokenizer.from_pretrained(extended.path)
    nats, characters = 0.0, 0
    for record in held:
        ids = [tokenizer.bos_token_id or tokenizer.eos_token_id, *tokenizer(record["text"])["input_ids"]]
        for start in range(0, max(1, len(ids) - 1), 31):
            window = torch.tensor([ids[start : start + 32]])
            with torch.no_grad():
                logs = torch.log_softmax(model(input_ids=window).logits[0].double(), -1)
            nats -= float(logs[:-1].gather(1, window[0, 1:, None]).sum())
        characters += len(record["text"])
    assert notebook.logged[0]["eval_bits_per_character_old"] == pytest.approx(nats / math.log(2) / characters, rel=1e-5)


def test_gradients_come_through_four_bits_also_after_a_measurement(tiny: CausalLM) -> None:
    """bitsandbytes repacks 4-bit weights when they are first measured, on CPUs that have AVX512-BF16."""
    import torch

    from factory.models.loading import load_causal_lm
    from factory.train.adapters import add_lora

    model = add_lora(load_causal_lm(tiny, "nf4"), SMALL, seed=0)
    ids = torch.arange(40).view(2, 20)

    def gradients() -> list[Any]:
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    after = gradients()
    assert before
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_report_has_the_bits_per_character_of_every_name_first_to_last(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    held = {"zh": text("new", 8, 100), "en": text("old", 8, 100)}
    pretrain.function(text("new"), context, extended, method="rows", held_out=held, evaluations=2, **FAST)
    steps = [step for step, entry in sorted(notebook.logged.items()) if "eval_bits_per_character_zh" in entry]
    assert (steps[0], steps[-1]) == (0, max(notebook.logged))
    assert len(steps) > FAST["epochs"]
    for name in held:
        values = [notebook.logged[step][f"eval_bits_per_character_{name}"] for step in steps]
        row = f"| bits per character, {name} | {values[0]:.4f} → {values[-1]:.4f} |"
        assert row in notebook.sections["Training"]


def test_early_stopping_takes_the_weights_with_the_fewest_bits_over_all_names(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path / "run")
    held = {"new": text("new", 8, 100), "old": text("old", 8, 100)}
    options = {**FAST, "epochs": 40, "learning_rate": 3e-2, "evaluations": 1, "early_stopping": 2}
    pretrain.function(text("new"), context, extended, method="full", held_out=held, **options)
    names = [f"eval_bits_per_character_{name}" for name in held]
    means = {
        step: sum(entry[name] for name in names) / 2 for step, entry in notebook.logged.items() if names[0] in entry
    }
    best = min((value, step) for step, value in means.items() if step)[1]
    assert f"weights of step {best}" in notebook.sections["Training"]


def test_equal_runs_save_equal_bytes(extended: CausalLM, text: Any, tmp_path: Path, make_context: Any) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        context, _ = make_context(tmp_path / name, seed)
        made = pretrain.function(text("new"), context, extended, embeddings="new", lora=SMALL, **FAST)
        contents.append({path.name: path.read_bytes() for path in made.path.iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["adapter_model.safetensors"] != contents[2]["adapter_model.safetensors"]


def test_errors_are_sentences(
    tiny: CausalLM, extended: CausalLM, text: Any, tmp_path: Path, make_context: Any, write_dataset: Any
) -> None:
    def run(dataset: Any, base: CausalLM, **options: Any) -> None:
        context, _ = make_context(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        pretrain.function(dataset, context, base, **{"seq_len": 32, **options})

    new, blank = text("new"), write_dataset(tmp_path / "blank.parquet", [{"id": "a", "text": " \n"}], Text)
    with pytest.raises(InputError, match=r"method is rows, but .* has no new rows .* the step extend_vocabulary"):
        run(new, tiny, method="rows")
    with pytest.raises(InputError, match=r"embeddings is new, but .* or take embeddings: all"):
        run(new, tiny, embeddings="new")
    with pytest.raises(InputError, match="embeddings is all, which is for lora and qlora; full trains every row"):
        run(new, tiny, method="full", embeddings="all")
    with pytest.raises(InputError, match=r"embeddings is new, .* rows trains the new ones"):
        run(new, extended, method="rows", embeddings="new")
    with pytest.raises(InputError, match=r"seq_len is 257, but .* reads at most 256 tokens"):
        run(new, tiny, seq_len=257)
    with pytest.raises(InputError, match="early_stopping needs held_out text"):
        run(new, tiny, early_stopping=1)
    with pytest.raises(ModelError, match=r"openai:gpt is asked over HTTP; it has no weights to load\. Name a folder"):
        run(new, CausalLM(uri="openai:gpt"))
    with pytest.raises(StepError, match="of 1 records none has text to learn from"):
        run(blank, tiny)
    with pytest.raises(StepError, match=r"of the 1 records in held_out.old none has text to measure"):
        run(new, tiny, held_out={"old": blank})
    with pytest.raises(ModelError, match="target_modules"):
        run(new, tiny, lora=LoraOptions(target_modules=["nothing_proj"]))


def test_rows_beyond_the_embeddings_are_refused(
    extended: CausalLM, text: Any, tmp_path: Path, make_context: Any
) -> None:
    import shutil

    from factory.models.extension import Extension

    assert extended.path is not None
    shutil.copytree(extended.path, tmp_path / "odd")
    Extension(330, 110).save(tmp_path / "odd")
    odd = CausalLM(uri="odd", path=tmp_path / "odd")
    with pytest.raises(ModelError, match=r"the row 439 is to be trained, but the model's embeddings end at row \d+"):
        pretrain.function(text("new"), make_context(tmp_path / "run")[0], odd, method="rows", seq_len=32)
