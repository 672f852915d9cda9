"""A build's leftovers without an engine: real Parquet files, and plain stand-ins for the plan."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory import CausalLM, Metric, PromptCompletion, Text, assistant, user


@dataclass
class Call:
    step: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Target:
    name: str
    sources: list[str]
    calls: list[Call] = field(default_factory=list)
    line: int = 1


@dataclass
class Recipe:
    name: str
    path: Path
    targets: dict[str, Target]


@dataclass
class Stage:
    target: str
    index: int
    calls: tuple[Call, ...]
    kind: str
    gives: Any
    fingerprint: str
    folder: Path
    inputs: tuple[Any, ...] = ()
    references: Mapping[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.folder.parent.parent / "work" / self.fingerprint

    @property
    def label(self) -> str:
        return " → ".join(call.step for call in self.calls) or "read"


@dataclass
class Plan:
    recipe: Recipe
    stages: list[Stage]
    project: Path

    @property
    def folder(self) -> Path:
        return self.project / "build" / self.recipe.name


class Leftovers:
    """A plan and its artifacts, made one target at a time."""

    def __init__(self, project: Path, name: str = "stdlib_tutor") -> None:
        self.plan = Plan(Recipe(name, project / "recipes" / f"{name}.yaml", {}), [], project)
        self.times: dict[str, float] = {}

    def target(
        self,
        name: str,
        sources: list[str],
        calls: Sequence[Call | str] = (),
        gives: Any = Text,
        references: Mapping[str, Any] | None = None,
        known: bool = True,
    ) -> Stage:
        """A target of one stage, planned and not yet built. Not `known`: a source read by a stage of its own."""
        steps = [Call(call) if isinstance(call, str) else Call(call.step, call.options) for call in calls]
        if known:
            self.plan.recipe.targets[name] = Target(name, sources, steps)
        mark = f"{abs(hash(name)) % 16**12:020x}"
        folder = self.plan.project / ".factory" / "artifacts" / mark
        kind = "per shard" if steps else "read"
        stage = Stage(name, 0, tuple(steps), kind, gives, mark, folder, references=references or {})
        self.plan.stages.append(stage)
        return stage

    def fill_corpus(self) -> Stage:
        return fill_corpus(self)

    def fill_tutor(self) -> Stage:
        return fill_tutor(self)

    def fill_quickstart(self) -> None:
        fill_quickstart(self)

    def build(
        self,
        stage: Stage,
        records: list[dict[str, Any]],
        funnel: list[dict[str, Any]],
        dropped: list[dict[str, Any]] = [],
        out: int | None = None,
        seconds: float = 1.0,
    ) -> None:
        """Write the artifact: one shard, the dropped beside it, and the manifest. `out` claims more than is written."""
        stage.folder.mkdir(parents=True, exist_ok=True)
        shards = []
        if not stage.gives.__name__.endswith("LM"):
            rows = [{**row, "meta": json.dumps(row.get("meta", {}))} for row in records]
            names = list(
                dict.fromkeys(["id", "parents", *(key for row in rows for key in row if key != "meta"), "meta"])
            )
            table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
            pq.write_table(table, stage.folder / "shard-00000.parquet")
            pq.write_table(dropped_table(dropped), stage.folder / "dropped-00000.parquet")
            many = sum(sum(entry["reasons"].values()) for entry in funnel)
            files = {"file": "shard-00000.parquet", "dropped_file": "dropped-00000.parquet"}
            shards.append({**files, "records": len(records), "dropped": many, "key": "k"})
        counts = {
            "in": funnel[0]["in"] if funnel else 0,
            "out": len(records) if out is None else out,
            "dropped": sum(sum(entry["reasons"].values()) for entry in funnel),
        }
        manifest = {
            "target": stage.target,
            "steps": [{"step": call.step, "options": call.options} for call in stage.calls],
            "type": stage.gives.__name__,
            "counts": counts,
            "funnel": funnel,
            "shards": shards,
        }
        (stage.folder / "manifest.json").write_text(json.dumps(manifest))
        self.times[stage.fingerprint] = seconds
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        (self.plan.folder / "timings.json").write_text(json.dumps(self.times))


def dropped_table(rows: list[dict[str, Any]]) -> pa.Table:
    texts = pa.string()
    schema = pa.schema([("id", texts), ("parents", pa.list_(texts)), *((n, texts) for n in DROPPED_TEXTS)])
    whole = [{"parents": [], "meta": "{}", **row} for row in rows]
    for row in whole:
        for name in ("details", "record"):
            row[name] = json.dumps(row.get(name, {}))
    return pa.Table.from_pylist(whole, schema=schema)


DROPPED_TEXTS = ("step", "reason", "details", "record", "meta")


def tally(step: str, entered: int, left: int, made: int = 0, parted: int = 0, **reasons: int) -> dict[str, Any]:
    """One entry of a manifest's funnel; underscores in reasons stand for blanks."""
    named = {reason.replace("_", " "): number for reason, number in reasons.items()}
    return {"step": step, "in": entered, "out": left, "made": made, "parted": parted, "reasons": named}


PASSAGE = (
    "Return an iterator over the lines of a text file. The file is opened once and closed when the iterator ends, "
    "also when it ends early.\n\nThe encoding is UTF-8 unless another is named; bytes that do not decode are replaced, "
    "so that one broken line does not cost the whole file.\n\n"
    "    for line in lines('notes.txt'):\n        show(line)\n"
)


def fill_corpus(leftovers: Leftovers) -> Stage:
    calls = [
        "normalize",
        Call("language", {"keep": ["en"]}),
        Call("gopher_quality", {"min_words": 20}),
        "mask_pii",
        Call("dedup_minhash", {"threshold": 0.8}),
    ]
    stage = leftovers.target("corpus", ["python:stdlib"], calls)
    records = [
        {"id": f"{n:016x}", "parents": [f"python:stdlib/{m}#{n}"], "text": PASSAGE * (1 + n % 3),
         "meta": {"language": "en", "score": 0.98 - n / 500, "module": m}}
        for n, m in enumerate(["pathlib", "asyncio.queues", "email.message", "json", "sqlite3", "zipfile"] * 4)
    ]  # fmt: skip
    funnel = [
        tally("read", 12_400, 12_388, malformed_row=9, missing_column=3),
        tally("normalize", 12_388, 12_388),
        tally("language", 12_388, 12_011, other_language=377),
        tally("gopher_quality", 12_011, 9_870, too_few_words=1_604, too_many_symbols=322, no_stop_words=121,
             mean_word_too_long=60, bullet_lines=21, ellipsis_lines=8, few_letters=5),
        tally("mask_pii", 9_870, 9_870),
        tally("dedup_minhash", 9_870, 9_812, near_duplicate=58),
    ]  # fmt: skip
    dropped = [
        {"id": f"d{n}", "parents": [f"python:stdlib/enum#{n}"], "step": step, "reason": reason,
         "details": details, "record": {"text": text}}
        for n, (step, reason, details, text) in enumerate(
            [("gopher_quality", "too few words", {"words": 7, "least": 20}, "Internal. Use open() instead.")] * 3
            + [("language", "other language", {"language": "fr", "score": 0.91}, "Renvoie la liste des fichiers.")] * 3
            + [("gopher_quality", "too many symbols", {"share": 0.3134}, "#### ---- #### ...... ####")]
            + [("gopher_quality", "no stop words", {"found": 0}, "spam eggs ham spam spam")]
        )
    ]  # fmt: skip
    leftovers.build(stage, records, funnel, dropped, out=9_812, seconds=41.3)
    return stage


def fill_instructions(leftovers: Leftovers, model: Any = None) -> Stage:
    calls = [Call("self_instruct", {"model": "bundled:smollm2", "count": 200}), Call("novel", {"threshold": 0.7})]
    stage = leftovers.target("instructions", ["seeds/python.jsonl"], calls, PromptCompletion)
    records = [
        {"id": f"a{n:015x}", "parents": [f"{n:016x}", f"{n + 1:016x}"],
         "prompt": user("Explain in two sentences what a context manager is for."),
         "completion": assistant("A context manager sets something up and makes sure that it is torn down again. "
                                 "Files, locks and temporary folders are the usual examples."),
         "meta": {"draw": n, "novelty": 0.41}}
        for n in range(8)
    ]  # fmt: skip
    funnel = [
        tally("self_instruct", 48, 262, made=450, parted=48, malformed=96, refusal=4, too_short=88),
        tally("novel", 262, 200, too_similar=62),
    ]
    dropped = [
        {"id": f"e{n}", "parents": ["0"], "step": "self_instruct", "reason": reason, "details": details,
         "record": {"prompt": user("Write a poem about"), "completion": assistant(said)}}
        for n, (reason, details, said) in enumerate(
            [("malformed", {"missing": "### Answer"}, "Sure! Here"), ("too short", {"words": 1}, "Yes.")] * 2
        )
    ]  # fmt: skip
    leftovers.build(stage, records, funnel, dropped, out=200, seconds=187.0)
    return stage


def fill_tutor(leftovers: Leftovers) -> Stage:
    calls = [Call("sft", {"base": "bundled:smollm2", "lora": {"r": 16}, "epochs": 1})]
    stage = leftovers.target("tutor", ["train"], calls, CausalLM)
    leftovers.build(stage, [], [tally("sft", 190, 0, parted=184, too_long=6)], out=0, seconds=402.0)
    (stage.folder / "model").mkdir()
    (stage.folder / "model" / "adapter.safetensors").write_bytes(bytes(200_000))
    entries: list[dict[str, float]] = []
    for step in range(1, 181):
        loss = 1.1 + 1.9 * math.exp(-step / 40) + 0.12 * math.sin(step * 2.3) * math.exp(-step / 200)
        entries.append({"step": step, "loss": loss, "learning_rate": 2e-4 * min(1, step / 20) * (1 - step / 190)})
        if step % 20 == 0:
            entries.append({"step": step, "eval_loss": 1.25 + 1.7 * math.exp(-step / 45) + (step / 900) ** 1.5})
    (stage.folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    sections = [
        {"title": "Three answers, before and after", "body": ANSWERS},
        {"title": "Lengths", "body": LENGTHS},
    ]
    (stage.folder / "sections.json").write_text(json.dumps(sections))
    return stage


ANSWERS = """The same prompts, asked of the **base** and of the *tuned* model.

| prompt | before | after |
|---|---|---|
| What does `zip()` do? | Zip is a file format. | It pairs the items of several iterables. |
| Name a set operation. | I like sets. | `a & b` gives what both hold. |

> Greedy decoding, at most 64 tokens.

1. first
   - nested item
2. second
"""
LENGTHS = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 60" width="300" height="60">
<defs><linearGradient id="g">
<stop offset="0" stop-color="#2d6b6a"/><stop offset="1" stop-color="#8b9fe4"/></linearGradient></defs>
<rect x="0" y="10" width="120" height="16" fill="url(#g)"/>
<rect x="0" y="34" width="260" height="16" fill="url(#g)"/></svg>"""


def fill_metrics(leftovers: Leftovers, model: Stage) -> Stage:
    call = Call("perplexity", {"models": ["bundled:smollm2", "tutor"]})
    stage = leftovers.target("quality", ["test"], [call], Metric, {"tutor": model})
    rows = [("perplexity", 14.82, "bundled:smollm2"), ("perplexity", 8.31, "tutor"),
            ("tokens", 18_402.0, "bundled:smollm2"), ("tokens", 18_402.0, "tutor")]  # fmt: skip
    records = [{"id": str(n), "parents": ["0"], "name": a, "value": b, "of": c} for n, (a, b, c) in enumerate(rows)]
    leftovers.build(stage, records, [tally("perplexity", 22, 4, made=4, parted=22)])
    return stage


def fill_quickstart(leftovers: Leftovers) -> None:
    """A whole build, much like the quickstart's."""
    fill_corpus(leftovers)
    read = leftovers.target("seeds/python.jsonl", [], known=False, gives=PromptCompletion)
    seeds = [{"id": "5", "parents": ["seeds/python.jsonl#1"], "prompt": user("q"), "completion": assistant("a")}]
    leftovers.build(read, seeds, [tally("read", 48, 48)], out=48, seconds=0.1)
    first = fill_instructions(leftovers)
    calls = [
        Call("from_documents", {"model": "bundled:smollm2", "per_document": 2}),
        Call("novel", {"against": "instructions"}),
    ]
    grounded = leftovers.target("grounded", ["corpus"], calls, PromptCompletion, {"instructions": first})
    answer = {
        "id": "77",
        "parents": ["1"],
        "prompt": user("What is replaced?"),
        "completion": assistant("Broken bytes."),
    }
    leftovers.build(
        grounded, [answer], [tally("from_documents", 9_812, 60, made=72, parted=9_812, not_grounded=12)], out=60
    )
    for name in ("train", "test"):
        part = leftovers.target(name, ["instructions", "grounded"], [Call("split", {"keep": name})], PromptCompletion)
        kept = 238 if name == "train" else 22
        leftovers.build(part, [answer], [tally("split", 260, kept, other_part=260 - kept)], out=kept)
    fill_metrics(leftovers, fill_tutor(leftovers))


@pytest.fixture
def making(tmp_path: Path) -> Leftovers:
    """An empty plan to fill; tests cannot import from here, so what fills it hangs on it."""
    return Leftovers(tmp_path)
