"""Our seed tasks: well formed, of every kind, all different, and their code is code."""

import ast
import json
from collections import Counter
from pathlib import Path

import pytest

from factory.instruct.faults import fault_in_instruction, fault_in_output
from factory.instruct.parsing import parse_tasks, task_text
from factory.text.overlap import RougeIndex
from factory.text.words import words

FILE = Path(__file__).parents[2] / "seeds" / "python.jsonl"
SEEDS = [json.loads(line) for line in FILE.read_text().splitlines()]
KINDS = {
    "brainstorming", "open_qa", "closed_qa", "rewrite", "extract", "generation", "classification", "chat",
    "summarization", "code", "maths",
}  # fmt: skip
CODE = [seed for seed in SEEDS if seed["id"].startswith("code-")]


def kind_of(seed):
    return seed["id"].rsplit("-", 1)[0]


def test_every_kind_is_there():
    counts = Counter(map(kind_of, SEEDS))
    assert set(counts) == KINDS
    assert min(counts.values()) >= 5
    assert len(SEEDS) >= 60


def test_they_are_well_formed():
    for seed in SEEDS:
        assert set(seed) == {"id", "name", "instruction", "instances", "is_classification"}
        assert seed["is_classification"] == (kind_of(seed) == "classification")
        for instance in seed["instances"]:
            assert set(instance) == {"input", "output"}
            assert instance["output"].strip() == instance["output"] != ""
    assert len({seed["id"] for seed in SEEDS}) == len({seed["name"] for seed in SEEDS}) == len(SEEDS)


def test_they_are_short_and_half_have_no_input():
    lengths = sorted(len(instance["output"].split()) for seed in SEEDS for instance in seed["instances"])
    assert lengths[-1] <= 60
    without = sum(not instance["input"] for seed in SEEDS for instance in seed["instances"])
    assert 0.35 < without / len(SEEDS) < 0.65


def test_no_two_are_alike():
    index = RougeIndex()
    for seed in SEEDS:
        assert index.nearest(words(seed["instruction"]), 0.7) is None
        index.add(seed["id"], words(seed["instruction"]))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed["id"])
def test_each_passes_the_filters_and_reads_back(seed):
    for instance in seed["instances"]:
        given, output = instance["input"], instance["output"]
        assert fault_in_instruction(seed["instruction"], given, 3, 150) is None
        assert fault_in_output(output, seed["instruction"], given) is None
        (block,) = parse_tasks(task_text(4, seed["instruction"], given, output))
        assert (block.instruction, block.input, block.output, block.fault) == (seed["instruction"], given, output, "")


@pytest.mark.parametrize("seed", CODE, ids=lambda seed: seed["id"])
def test_code_is_python(seed):
    for instance in seed["instances"]:
        ast.parse(instance["output"])
