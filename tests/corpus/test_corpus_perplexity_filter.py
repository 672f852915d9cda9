"""Documents measured by a tiny random transformer, against a computation by hand."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import factory
from factory import Budget, CausalLM, Context, InputError, Model
from factory.corpus.cleaning import perplexity_filter
from factory.corpus.cleaning.perplexity_filter import Score, filter_perplexity, percentile

WORDS = ["amber", "basket", "candle", "desert", "engine", "forest", "garden", "harbour", "一", "二", "三", "naïve", "€"]


@dataclass
class Notebook:
    """The engine's side of a context: it writes down what a step says."""

    dropped: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("no step of this room maps")

    def ask(
        self, model: Model, requests: Iterable[Any], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Any]:
        raise AssertionError("the weights are asked, not the model")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason, details))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        raise AssertionError("nothing is trained here")

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def tell(self, done: int, total: int, note: str) -> None: ...


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def context(tmp_path: Path, notebook: Notebook) -> Context:
    (tmp_path / "work").mkdir()
    return Context("filter_perplexity", 0, 1, tmp_path / "work", tmp_path / "model", notebook)


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """A random Llama (hidden 32, 2 layers, context 128) whose documents end with <|endoftext|>."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|im_start|>", eos_token="<|im_end|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return CausalLM(str(folder), "tiny", folder)


def texts(count: int) -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 25))) for _ in range(count)]


def records_of(some: list[str]) -> list[dict[str, Any]]:
    return [{"id": f"d{at}", "parents": [], "text": text, "meta": {"n": at}} for at, text in enumerate(some)]


def by_hand(model: CausalLM, text: str, most: int) -> Score:
    """One text at a time, without padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm, tokenizer = AutoModelForCausalLM.from_pretrained(model.path), AutoTokenizer.from_pretrained(model.path)
    ids = tokenizer.encode(text, add_special_tokens=False)[:most]
    begin = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    with torch.no_grad():
        logs = torch.log_softmax(lm(torch.tensor([[begin, *ids]])).logits[0].double(), -1)
    return Score(-sum(logs[at, token].item() for at, token in enumerate(ids)), len(ids), len(tokenizer.decode(ids)))


@pytest.mark.model
def test_it_equals_the_computation_by_hand(tiny_lm: CausalLM, context: Context, notebook: Notebook) -> None:
    some = [*texts(12), "amber " * 60]
    kept = list(filter_perplexity.function(iter(records_of(some)), context, tiny_lm, max_tokens=40))
    assert [record["id"] for record in kept] == [f"d{at}" for at in range(13)]
    for record in kept:
        wanted = by_hand(tiny_lm, record["text"], 40)
        assert record["meta"]["perplexity"] == pytest.approx(wanted.perplexity, rel=1e-4)
        assert record["meta"]["bits_per_character"] == pytest.approx(wanted.bits_per_character, rel=1e-3)
        assert set(record["meta"]) == {"n", "perplexity", "bits_per_character"}
    assert notebook.dropped == []
    assert "Of 13 records" in notebook.sections["Perplexity"]


@pytest.mark.model
def test_the_context_bounds_what_is_measured(tiny_lm: CausalLM, context: Context) -> None:
    """A long text is cut to what the model's context holds, 127 tokens behind the document's begin."""
    [record] = filter_perplexity.function(iter(records_of(["amber basket " * 500])), context, tiny_lm)
    assert record["meta"]["perplexity"] == pytest.approx(by_hand(tiny_lm, record["text"], 127).perplexity, rel=1e-4)


@pytest.mark.model
def test_bounds(tiny_lm: CausalLM, context: Context, notebook: Notebook, tmp_path: Path) -> None:
    some = records_of([*texts(20), " \n", ""])
    noted = list(filter_perplexity.function(iter(some), context, tiny_lm))
    assert notebook.dropped == [("d20", "no text", {}), ("d21", "no text", {})]
    ordered = sorted(record["meta"]["perplexity"] for record in noted)
    low, high = ordered[5], ordered[14]
    bounds: dict[str, Any] = {"measure": "perplexity", "min_value": low, "max_value": high}
    kept = list(filter_perplexity.function(iter(some), context, tiny_lm, **bounds))
    assert [r["id"] for r in kept] == [r["id"] for r in noted if low <= r["meta"]["perplexity"] <= high]
    reasons = [reason for _, reason, _ in notebook.dropped[2:]]
    assert (reasons.count("perplexity too low"), reasons.count("perplexity too high")) == (5, 5)
    with pytest.raises(InputError, match="min_value 3 is above max_value 2"):
        next(filter_perplexity.function(iter(some), context, tiny_lm, min_value=3, max_value=2))


@pytest.mark.model
def test_head_middle_and_tail_are_thirds(tiny_lm: CausalLM, context: Context, notebook: Notebook) -> None:
    some = records_of(texts(30))
    every = list(filter_perplexity.function(iter(some), context, tiny_lm, keep=["head", "middle", "tail"]))
    assert [record["id"] for record in every] == [record["id"] for record in some]
    parts = [record["meta"]["perplexity_part"] for record in every]
    assert [parts.count(part) for part in ("head", "middle", "tail")] == [10, 10, 10]
    worst_head = max(r["meta"]["bits_per_character"] for r in every if r["meta"]["perplexity_part"] == "head")
    best_tail = min(r["meta"]["bits_per_character"] for r in every if r["meta"]["perplexity_part"] == "tail")
    assert worst_head < best_tail
    head = list(filter_perplexity.function(iter(some), context, tiny_lm, keep=["head"]))
    assert head == [record for record in every if record["meta"]["perplexity_part"] == "head"]
    assert {reason for _, reason, _ in notebook.dropped} == {"other part"}
    assert len(notebook.dropped) == 20
    assert list(filter_perplexity.function(iter([]), context, tiny_lm, keep=["head"])) == []
    with pytest.raises(InputError, match=r"percentiles \[60, 30\] must rise"):
        next(filter_perplexity.function(iter(some), context, tiny_lm, percentiles=(60, 30)))


@pytest.mark.model
def test_killed_it_resumes_with_the_scores_it_has(
    tiny_lm: CausalLM, context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was measured is not measured again, a line cut by the kill is, and the records are the same."""
    monkeypatch.setattr(perplexity_filter, "WINDOW", 4)
    some = records_of([*texts(11), ""])
    once = list(filter_perplexity.function(iter(some), context, tiny_lm))
    scores = context.workdir / "scores.jsonl"
    whole = scores.read_text()
    assert whole.count("\n") == 3
    first, second, third = whole.splitlines(keepends=True)
    doubled = json.dumps([[2 * nats, tokens, size] for nats, tokens, size in json.loads(first)])
    scores.write_text(doubled + "\n" + second + third[: len(third) // 2])
    again = list(filter_perplexity.function(iter(some), context, tiny_lm))
    assert again[4:] == once[4:]
    for mine, before in zip(again[:4], once[:4], strict=True):  # so the stored line was read, not measured anew
        assert mine["meta"]["perplexity"] == pytest.approx(before["meta"]["perplexity"] ** 2, rel=1e-4)
    assert scores.read_text().splitlines(keepends=True)[1:] == [second, third]


@pytest.mark.model
def test_a_recipe(tiny_lm: CausalLM, project: Path) -> None:
    """Through the engine: a process of its own, the account closed, and nothing to do the second time."""
    rows = [*texts(30), ""]
    (project / "web.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    recipe = project / "head.yaml"
    step = f"filter_perplexity: {{model: {tiny_lm.path}, keep: [head], max_tokens: 20}}"
    recipe.write_text(f"name: head\nthreads: 1\ntargets:\n  head:\n    from: web.jsonl\n    steps:\n      - {step}\n")
    result = factory.build(recipe)
    manifest = result.plan.targets["head"].manifest
    assert manifest["funnel"][-1]["reasons"] == {"no text": 1, "other part": 20}
    kept = list(result["head"])
    assert len(kept) == 10
    assert [r["text"] for r in kept] == [text for text in rows if text in {r["text"] for r in kept}]
    assert list(factory.build(recipe)["head"]) == kept


def test_percentiles_by_hand() -> None:
    assert [percentile([1, 2, 3, 4, 5, 6], percent) for percent in (0, 100 / 3, 50, 200 / 3, 100)] == [
        -math.inf, 2, 3, 4, 6,
    ]  # fmt: skip
    assert percentile([7], 1) == 7


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0, 100))
def test_a_percentile_is_the_least_value_that_covers_the_share(values: list[int], percent: float) -> None:
    found, wanted = percentile(sorted(values), percent), percent * len(values) / 100
    assert sum(value <= found for value in values) >= wanted - 1e-6
    assert sum(value < found for value in values) < wanted + 1e-6 or found == -math.inf


def test_scores() -> None:
    score = Score(nats=8 * math.log(2), tokens=4, characters=16)
    assert (score.bits_per_character, score.perplexity) == (0.5, 4.0)
    assert Score(1e6, 1, 1).perplexity > 1e300


def test_options() -> None:
    assert filter_perplexity.references == {"model": CausalLM}
    assert filter_perplexity.options.model_validate({}).model == "bundled:smollm2"
    filter_perplexity.options.model_validate({"keep": ["head"], "percentiles": [30, 60]})
    for wrong in ({"keep": ["best"]}, {"percentiles": [30]}, {"percentiles": [30, 130]}, {"max_tokens": 0}):
        with pytest.raises(ValidationError):
            filter_perplexity.options.model_validate(wrong)
