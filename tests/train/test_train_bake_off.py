"""Methods beside one another: each is trained as sft trains it, and a run that was killed does not train again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory import CausalLM, InputError, assistant, user
from factory.train.bake_off import MEASURES, bake_off
from factory.train.sft import sft

pytestmark = pytest.mark.model
FAST = {"epochs": 3, "batch_size": 4, "validation": 0.3}


def test_methods_are_compared_on_what_sft_gives_each(
    tiny: CausalLM, tmp_path: Path, facts: Any, write_dataset: Any, make_context: Any
) -> None:
    records = facts()
    records.append({"id": "long", "prompt": user("x"), "completion": assistant("word " * 300)})
    dataset = write_dataset(tmp_path / "records.parquet", records)
    context, notebook = make_context(tmp_path / "run")
    options = {**FAST, "bottleneck": 8, "methods": ["lora", "bitfit", "adapter"], "learning_rates": {"lora": 1e-2}}
    made = list(bake_off.function(dataset, context, tiny, **options))
    assert [(metric["of"], metric["name"]) for metric in made] == [
        (method, measure) for method in options["methods"] for measure in MEASURES
    ]
    assert notebook.dropped == [("long", "too long")]
    assert all(metric["parents"] == [record["id"] for record in records[:-1]] for metric in made)
    values = {(metric["of"], metric["name"]): metric["value"] for metric in made}
    alone, told = make_context(tmp_path / "alone")
    sft.function(dataset, alone, tiny, **FAST, learning_rate=1e-2, method="lora")
    last = [entry["eval_loss"] for entry in told.logged.values() if "eval_loss" in entry][-1]
    assert values["lora", "eval_loss"] == pytest.approx(last, rel=1e-6)
    assert values["bitfit", "trained_parameters"] < values["adapter", "trained_parameters"]
    assert values["bitfit", "megabytes"] < values["adapter", "megabytes"]
    assert any("eval_loss/lora" in entry for entry in notebook.logged.values())
    table = notebook.sections["Methods"]
    best = min(options["methods"], key=lambda method: values[method, "eval_loss"])
    assert table.split("\n")[2].startswith(f"| {best} | ")

    again, heard = make_context(tmp_path / "run")
    assert [metric["value"] for metric in bake_off.function(dataset, again, tiny, **options)] == list(values.values())
    assert heard.logged == {}
    assert heard.sections["Methods"] == table


def test_what_does_not_go_together_is_said(tiny: CausalLM, dataset: Any, tmp_path: Path, make_context: Any) -> None:
    context, _ = make_context(tmp_path)
    with pytest.raises(InputError, match=r"learning_rates names dora, which is not among methods \(lora, ia3\)"):
        list(bake_off.function(dataset, context, tiny, methods=["lora", "ia3"], learning_rates={"dora": 1e-3}))
    with pytest.raises(InputError, match="give validation a share above 0"):
        list(bake_off.function(dataset, context, tiny, validation=0.0))
