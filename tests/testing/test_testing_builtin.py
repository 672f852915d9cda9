"""Every built-in plugin and every example passes the kit; what needs a model is named here, and nothing else is."""

from __future__ import annotations

import gzip
import mailbox
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from factory.plugins import DEFAULT_PLUGINS, all_steps, load_plugins, registered
from factory.testing import Nonconformance, Report, check_plugin, check_source

pytestmark = pytest.mark.builds
ROOT = Path(__file__).parents[2]

# Options that have no default. A new step with such an option needs a line here.
OPTIONS: dict[str, dict[str, Any]] = {
    "as_text": {"column": "text"},
    "bad_words": {"words": str(Path(__file__).with_name("addresses.txt"))},
    "check_overlap": {"drop": True},
    "cut": {"seq_len": 100},
    "fineweb2": {"language": "cmn_Hani"},
    "filter_urls": {"domains": str(Path(__file__).with_name("addresses.txt"))},
    "mix": {"weights": {"given": 1}},
    "rank": {"least": 0},
    "split": {"keep": "train"},
    "subsample": {"n": 12},
    "take": {"n": 12},
    "token_budget": {"tokens": 500},
    "train_tokenizer": {"size": 300},
    "words_removed": {"before": "words"},
}
# What optional Datasets mean: such a step is checked without them and with them.
REFERENCES: dict[str, dict[str, Any]] = {
    "dedup_minhash": {"against": [{"text": "one word"}]},
    "novel": {"against": [{"prompt": [{"role": "user", "content": "Name a river."}]}]},
}
# Steps that are not run without a model, which the kit says itself.
NEED_A_MODEL = {
    "answer_match", "answers", "backtranslate", "bake_off", "calibrate", "choices", "classifier", "dpo", "evolve",
    "extend_vocabulary", "from_documents", "grid", "judge", "kto", "magpie", "measure_vocabulary", "merge",
    "multi_turn", "novel_by_meaning", "perplexity", "ppo", "pretrain", "reward_model", "reward_score", "sample",
    "score_answers", "self_instruct", "sft", "side_by_side",
}  # fmt: skip
LEAVE_OUT = {
    "filter_perplexity": "without `model` it reads every record with the bundled one, megabytes included",
    "mask_names": "it needs presidio and a spaCy model, which are no dependencies of the tests",
}
ASKED = {name: {"model": "kit:echo"} for name in ("backtranslate", "evolve", "from_documents", "multi_turn", "sample")}


def table_for(plugin: str, table: dict[str, Any]) -> dict[str, Any]:
    load_plugins()
    (steps,) = [{step.name for step in brought} for name, brought in registered() if name == plugin]
    return {name: row for name, row in table.items() if name in steps}


def passed(plugin: str, **tables: dict[str, Any]) -> Report:
    chosen = {name: table_for(plugin, table) for name, table in tables.items()}
    failed: Nonconformance
    try:
        return check_plugin(plugin, **chosen)
    except Nonconformance as error:
        failed = error
    lacking = [one.of for one in failed.report.failures if "has no default; pass options=" in one.said]
    hint = "".join(f"\nadd '{name}' to OPTIONS in {Path(__file__).name}" for name in lacking)
    pytest.fail(f"{failed}{hint}", pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("plugin", DEFAULT_PLUGINS)
def test_every_built_in_step_conforms(plugin: str) -> None:
    report = passed(plugin, options=OPTIONS, references=REFERENCES, leave_out=LEAVE_OUT)
    silent = {one.of for one in report.unchecked if one.check == "everything that runs it"}
    assert silent <= NEED_A_MODEL, f"add {sorted(silent - NEED_A_MODEL)} to REFERENCES or to NEED_A_MODEL"


def test_the_tables_name_steps_that_exist() -> None:
    load_plugins()
    assert set(OPTIONS) | set(REFERENCES) | NEED_A_MODEL | set(LEAVE_OUT) <= set(all_steps())


def test_the_drop_in_example_conforms() -> None:
    report = check_plugin(ROOT / "plugins" / "no_refusals.py")
    assert report.unchecked == []


def test_the_packaged_example_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "factory-mail"))
    report = check_plugin("factory_mail")
    assert set(report.passed) == {"no_automatic_mail"}


@pytest.mark.slow
def test_sources_of_mail_conform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "plugins" / "factory-mail"))
    archive, folder = mailbox.mbox(tmp_path / "a.mbox"), mailbox.Maildir(tmp_path / "inbox")
    for number in range(250):
        letter = EmailMessage()
        letter["Subject"] = f"Letter {number}"
        letter.set_content("The boats lie side by side.\n" * 1200)
        archive.add(letter)
        folder.add(letter)
    archive.close()
    report = check_source("mbox:*.mbox", folder=tmp_path, plugin="factory_mail")
    assert report.unchecked == []  # large enough to see that it streams
    check_source("maildir:inbox", folder=tmp_path, plugin="factory_mail")


@pytest.mark.slow
def test_files_conform(tmp_path: Path) -> None:
    text = "The harbour was quiet in the morning. " * 5
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{text} {number}"}}\n' for number in range(60_000)))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()[:5000]))
    (tmp_path / "c.csv").write_text(f"text,n\n{text},1\n")
    (tmp_path / "d.txt").write_text(text)
    report = check_source("./*.*", folder=tmp_path)
    assert "memory" in report.passed["./*.*"]


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["factory.instruct", "factory.preference"])
def test_steps_that_ask_conform_with_a_model_that_echoes(plugin: str) -> None:
    report = passed(plugin, options=OPTIONS, references=ASKED)
    assert all("same bytes in another process" in report.passed[name] for name in table_for(plugin, ASKED))
