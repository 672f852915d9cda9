"""The card that `factory export` writes of a model: base, data down to the documents, options, metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Lab

MEASURING = """
import factory
from collections.abc import Iterator
from factory import CausalLM, Dataset, Metric, Record

@factory.step
def weigh(dataset: Dataset[Record], models: dict[str, CausalLM]) -> Iterator[Metric]:
    for number, name in enumerate(models):
        yield factory.derive(*dataset, name="weight", value=2.5 + number, of=name)

@factory.hookimpl
def register_steps():
    return [weigh]
"""


def section(card: str, name: str) -> str:
    return card.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.fixture
def card(lab: Lab) -> str:
    assert lab("export", "lab.yaml", "model", "out").code == 0
    return (lab.root / "out" / "README.md").read_text()


def test_the_folder_holds_the_model_and_its_card(card: str, lab: Lab) -> None:
    assert json.loads((lab.root / "out" / "config.json").read_text()) == {"records": 6, "epochs": 2}
    _, head, _ = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["dataset-factory", "toy_train"],
    }
    assert "A CausalLM, a copy: the target `model` of the recipe `lab`." in card
    assert "| `model` | `toy_train` | `pairs` | epochs: 2 |" in section(card, "How it was made")


def test_the_data_is_named_down_to_its_documents(card: str) -> None:
    assert "| `pairs` | `model` | 6 |  |" in section(card, "Data")
    assert "| `data/*.jsonl` | 3 | not stated |" in section(card, "Sources")
    # the second text of 0.jsonl is dropped as too long, and one_of_each leaves one of equal halves
    documents = section(card, "Documents").strip().splitlines()[2:]
    assert documents == ["| `data/0.jsonl` | 4 |", "| `data/1.jsonl` | 2 |"]
    assert "| texts | `short` (n: 4) |" in section(card, "What was done")
    assert "| `toy:a` | `ask_toy` |" in section(card, "Models that wrote or judged")
    assert "No evaluation of the recipe that is built refers to this model." in section(card, "Evaluation")
    assert "model: {from: pairs, steps: [toy_train]}" in section(card, "The recipe")


@pytest.mark.builds
def test_metrics_of_the_recipe_are_those_of_evaluations_that_name_the_model(lab: Lab) -> None:
    lab.write("plugins/weigh.py", MEASURING)
    recipe = (lab.root / "lab.yaml").read_text()
    recipe += "  half: {from: model, steps: [toy_halve]}\n"
    recipe += "  weights: {from: once, steps: [weigh: {models: {before: 'toy:a', after: half}}]}\n"
    lab.write("lab.yaml", recipe)
    assert lab("build", "lab.yaml").code == 0
    assert lab("export", "lab.yaml", "half", "half").code == 0
    card = (lab.root / "half" / "README.md").read_text()
    assert "| `weights` | weight | before | 2.5 |  |" in section(card, "Evaluation")
    assert "| `weights` | weight | after | 3.5 | this model |" in section(card, "Evaluation")
    made = section(card, "How it was made").strip().splitlines()[2:]
    assert made == ["| `model` | `toy_train` | `pairs` | epochs: 2 |", "| `half` | `toy_halve` | `model` |  |"]
    assert "| `data/0.jsonl` | 4 |" in section(card, "Documents")
    assert lab("export", "lab.yaml", "model", "whole").code == 0
    assert "refers to this model" in section((lab.root / "whole" / "README.md").read_text(), "Evaluation")
