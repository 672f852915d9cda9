"""The dataset card that `factory export` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Lab


def header(card: str) -> Any:
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


@pytest.fixture
def card(lab: Lab) -> str:
    recipe = lab.root / "lab.yaml"
    recipe.write_text(recipe.read_text().replace("from: data/*.jsonl", "from: data/*.jsonl\n    license: CC-BY-4.0"))
    assert lab("export", "lab.yaml", "pairs", "out").code == 0
    return (lab.root / "out" / "README.md").read_text()


def test_the_header_is_what_the_hub_reads(card: str) -> None:
    assert header(card) == {
        "pretty_name": "pairs",
        "license": "cc-by-4.0",
        "size_categories": ["n<1K"],
        "task_categories": ["text-generation"],
        "tags": ["dataset-factory", "synthetic"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "pairs.parquet"}]}],
    }


def test_sources_models_filters_and_examples_are_named(card: str) -> None:
    assert "6 records of type PromptCompletion" in card
    assert "| `data/*.jsonl` | 3 | CC-BY-4.0 |" in card
    assert "| `toy:a` | `ask_toy` |" in card
    assert "| texts | `short` (n: 4) |" in card
    assert "ask_toy: {model: 'toy:a'}" in card.split("## The recipe")[1]
    assert card.count("```json") == 3


def test_a_folder_is_one_that_datasets_can_load(card: str, lab: Lab) -> None:
    import pyarrow.parquet as pq

    assert pq.read_table(lab.root / "out" / "pairs.parquet").num_rows == 6


def test_a_license_that_nobody_states_is_said_to_be_unknown(lab: Lab) -> None:
    assert lab("export", "lab.yaml", "once", "once.jsonl").code == 0
    card = (lab.root / "once.jsonl.md").read_text()
    assert "license" not in header(card)
    assert "| `data/*.jsonl` | 3 | not stated |" in card


def test_a_readme_that_is_none_of_ours_is_left_alone(lab: Lab) -> None:
    lab.write("mine/README.md", "# Mine\n")
    said = lab("export", "lab.yaml", "once", "mine")
    assert said.code == 2
    assert "is there already and no card of ours" in said.err
    assert (lab.root / "mine" / "README.md").read_text() == "# Mine\n"
    assert not (lab.root / "mine" / "once.parquet").exists()


def test_text_cannot_break_out_of_its_block(lab: Lab) -> None:
    from factory.commands.card import _cell, fenced

    assert fenced("a ``` b ```` c", "json").startswith("`````json\n")
    assert _cell("a | b\nc") == "a \\| b c"
