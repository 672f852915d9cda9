"""Pairs as token ids: what is dropped, which stay together, and that scoring reads what was learned from."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, assistant, user
from factory.models.loading import load_tokenizer
from factory.train.comparisons import MOST_PAIRS, collate_comparisons, encode_pairs, prompts_of, together

pytestmark = pytest.mark.model
TEMPLATES = {
    "chatml": None,
    "plain": "",
    "strips": "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}",
    "no end": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
}


def record(name: str, prompt: str, chosen: Any, rejected: Any, **meta: Any) -> Any:
    given = [assistant(answer) if isinstance(answer, str) else answer for answer in (chosen, rejected)]
    return {"id": name, "prompt": user(prompt), "chosen": given[0], "rejected": given[1], "meta": meta}


def test_what_cannot_be_compared_is_dropped_with_a_reason(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path)
    records = [
        record("good", "Which?", "This one.", "That one."),
        record("same", "Which?", "This one.", "This one."),
        record("empty", "Which?", "This one.", "  "),
        record("long", "Which?", "word " * 300, "That one."),
        record("turn", "Which?", user("This one."), "That one."),
    ]
    pairs = encode_pairs(records, load_tokenizer(tiny), 100, context)
    assert len(pairs) == 1
    assert notebook.dropped == [
        ("same", "equal answers"),
        ("empty", "empty answer"),
        ("long", "too long"),
        ("turn", "no turn of the assistant"),
    ]


@pytest.mark.parametrize(
    ("end", "reason"), [("", "the template leaves the answer out"), ("<|im_end|>", "equal answers")]
)
def test_a_template_that_leaves_out_the_answer_makes_no_pairs(
    end: str, reason: str, tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    context, notebook = make_context(tmp_path)
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}END{% endif %}{% endfor %}"
    ).replace("END", end)
    assert encode_pairs([record("a", "Which?", "This one.", "That one.")], tokenizer, 100, context) == []
    assert notebook.dropped == [("a", reason)]


def test_a_margin_is_a_number_in_meta(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    context, notebook = make_context(tmp_path)
    margins = {"a": 0.5, "b": 2, "c": None, "d": "large", "e": float("nan"), "f": True}
    records = [record(name, "Which?", "This.", "That.", margin=value) for name, value in margins.items()]
    records.append(record("g", "Which?", "This.", "That."))
    pairs = encode_pairs(records, load_tokenizer(tiny), 100, context, margin=True)
    assert [pair.margin for pair in pairs] == [0.5, 2.0]
    assert notebook.dropped == [(name, "no margin") for name in "cdefg"]
    assert len(encode_pairs(records, load_tokenizer(tiny), 100, context)) == 7


def test_all_pairs_of_a_prompt_stay_together_and_read_each_answer_once(
    tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    context, _ = make_context(tmp_path)
    answers = ["One.", "Two words.", "Three short words.", "Four words, all short."]
    records = [record(f"{a}{b}", "Which?", a, b) for a, b in combinations(answers, 2)]
    records += [record("z", "Why?", "So.", "No.")]
    random.Random(3).shuffle(records)
    tokenizer = load_tokenizer(tiny)
    comparisons = sorted(together(encode_pairs(records, tokenizer, 100, context)), key=lambda one: -len(one.answers))
    assert [(len(one.answers), len(one.pairs)) for one in comparisons] == [(4, 6), (2, 1)]
    batch = collate_comparisons(comparisons, 1)
    assert batch["input_ids"].shape[0] == 6
    assert batch["weight"].tolist() == pytest.approx([1 / 6] * 6 + [1])
    texts = [
        tokenizer.decode(ids[: mask.sum()])
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    read = {
        (
            texts[good].split("assistant\n")[1].removesuffix("<|im_end|>"),
            texts[bad].split("assistant\n")[1].removesuffix("<|im_end|>"),
        )
        for good, bad in zip(batch["chosen"].tolist(), batch["rejected"].tolist(), strict=True)
    }
    assert read == {(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in records}
    assert all(text.endswith("<|im_end|>") for text in texts)  # pad is the same token: the mask keeps the last one


def test_a_prompt_of_very_many_pairs_is_several_comparisons(tiny: CausalLM, tmp_path: Path, make_context: Any) -> None:
    import torch

    context, _ = make_context(tmp_path)
    records = [record(str(at), "Which?", f"This is {at}.", "That.") for at in range(2 * MOST_PAIRS + 1)]
    found = together(encode_pairs(records, load_tokenizer(tiny), 100, context))
    assert [len(one.pairs) for one in found] == [MOST_PAIRS, MOST_PAIRS, 1]
    assert prompts_of(found) == 1
    weights = [collate_comparisons([one], 1)["weight"] for one in found]
    assert torch.cat(weights).tolist() == pytest.approx([1 / len(records)] * len(records))


@pytest.mark.parametrize("name", TEMPLATES)
def test_scoring_reads_exactly_the_ids_that_were_learned_from(
    name: str, tiny: CausalLM, tmp_path: Path, make_context: Any
) -> None:
    """`reward_score` scores `encode_turns(tokenizer, prompt, answer)[0]`."""
    from factory.models.chat import encode_turns

    context, _ = make_context(tmp_path)
    tokenizer = load_tokenizer(tiny)
    if TEMPLATES[name] is not None:
        tokenizer.chat_template = TEMPLATES[name]
    turns = [*assistant("First."), *user("And then?"), *assistant("Second.")]
    answers = ["A list.", " leading", "trailing \n\n", "with <|im_end|> inside", "\n", turns, [*turns, *user("Thanks")]]
    records = [
        record(str(at), "What?", answer, "Something else") for at, answer in enumerate(answers) if answer != "\n"
    ]
    pairs = encode_pairs(records, tokenizer, 200, context)
    assert len(pairs) == len(records)
    for pair, given in zip(pairs, records, strict=True):
        assert list(pair.chosen.ids) == encode_turns(tokenizer, given["prompt"], given["chosen"])[0]
