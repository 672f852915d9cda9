"""A classifier taught from targets: what it learns, what it leaves on disk, and what it keeps as a filter."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import ValidationError

import factory
from factory import Budget, Classifier, Context, Dataset, Drop, InputError, Model, StepError, Text
from factory.corpus.cleaning.classifier import _least_count, classifier, precision_recall, train_classifier
from factory.plugins import pm

PROSE = (
    "The A One Every | baker farmer sailor teacher | slowly often gladly | opened carried watched painted | her the a"
)
PROSE += " | old small quiet | door basket boat letter | before after | breakfast midnight winter"
SPAM = "Click Buy Order Win | now today here | cheap free amazing | pills watches credit tickets | best lowest | price"
SPAM += " offer deal | guaranteed unlimited instantly | www http | shop bonus casino"
CODE = "def class for while | x y index total | = + in | range len print | ( [ | self node item | ) ] : | return pass"


def sentence(grammar: str, rng: random.Random) -> str:
    return " ".join(rng.choice(place.split()) for place in grammar.split("|"))


def documents(grammar: str, count: int, seed: int = 0) -> list[str]:
    rng = random.Random(f"{grammar} {seed}")
    return [". ".join(sentence(grammar, rng) for _ in range(rng.randint(2, 5))) + "." for _ in range(count)]


@dataclass
class Notebook:
    """The engine's side of a context: it writes down what a step says."""

    dropped: list[tuple[str, str]] = field(default_factory=list)
    logged: dict[str, float] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("no step of this room maps")

    def ask(
        self, model: Model, requests: Iterable[Any], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Any]:
        raise AssertionError("no step here asks a model")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.logged |= metrics

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def tell(self, done: int, total: int, note: str) -> None: ...


def context(folder: Path, notebook: Notebook, seed: int = 0, step: str = "train_classifier") -> Context:
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return Context(step, seed, 1, folder / "work", folder / "model", notebook)


def dataset_of(store: Callable[..., Dataset[Any]], **classes: Sequence[str]) -> Dataset[Any]:
    """One part for each class, as `from: [good, bad]` gives them."""
    parts = {}
    for name, texts in classes.items():
        rows = [
            {"id": f"{name}{at}", "parents": [f"{name}#{at}"], "text": text, "meta": {}}
            for at, text in enumerate(texts)
        ]
        parts[name] = store(rows, Text, 50)
    return Dataset([shard for part in parts.values() for shard in part.shards], Text, parts)


@pytest.fixture
def train(tmp_path: Path, store: Callable[..., Dataset[Any]]) -> Callable[..., tuple[Classifier, Notebook]]:
    """Teaches a classifier in a folder of its own."""

    def trained(classes: dict[str, Sequence[str]], **options: Any) -> tuple[Classifier, Notebook]:
        notebook = Notebook()
        ctx = context(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", notebook)
        return train_classifier.function(dataset_of(store, **classes), ctx, **options), notebook

    return trained


TWO = {"good": documents(PROSE, 150), "bad": documents(SPAM, 150)}


def files(model: Classifier) -> dict[str, bytes]:
    assert model.path is not None
    return {path.name: path.read_bytes() for path in model.path.iterdir()}


def apply(model: Classifier, text: str, step: str = "classifier", **options: Any) -> Any:
    record = {"id": text[:20], "parents": [], "text": text, "meta": {"path": "x"}}
    return classifier.function(record, Context(step, 0, 1, Path(), Path(), Notebook()), model, **options)


def test_it_tells_the_targets_apart(train: Any) -> None:
    model, notebook = train(TWO)
    judged = [apply(model, text)["meta"]["classifier"] for text in documents(PROSE, 50, 1) + documents(SPAM, 50, 1)]
    assert sum(found == "good" for found in judged[:50]) >= 48
    assert sum(found == "bad" for found in judged[50:]) >= 48
    assert notebook.logged["accuracy"] >= 0.95
    assert {"precision good", "recall good", "precision bad", "recall bad"} < set(notebook.logged)
    assert "| 0.9 |" in notebook.sections["Classifier"]
    assert notebook.dropped == []


def test_equal_input_makes_equal_bytes_and_small_files(train: Any) -> None:
    one, other = (files(train(TWO)[0]) for _ in range(2))
    assert set(one) == {"model.bin", "classifier.json"}
    assert one == other
    assert len(one["model.bin"]) < 4 * 16 * (50_000 + 200) + 100_000
    described = json.loads(one["classifier.json"])
    assert described["labels"] == ["good", "bad"]
    assert described["options"]["epoch"] == 10


def test_the_seed_and_the_options_count(tmp_path: Path, store: Any) -> None:
    dataset = dataset_of(store, **TWO)
    models = [train_classifier.function(dataset, context(tmp_path / str(seed), Notebook(), seed)) for seed in (0, 1)]
    assert files(models[0])["model.bin"] != files(models[1])["model.bin"]
    small = train_classifier.function(dataset, context(tmp_path / "s", Notebook()), buckets=1000, vocabulary=10)
    assert len(files(small)["model.bin"]) < 100_000


def test_a_run_that_was_killed_simply_runs_again(tmp_path: Path, store: Any) -> None:
    """Half-written files lie where it works and where it saves."""
    dataset = dataset_of(store, **TWO)
    clean = train_classifier.function(dataset, context(tmp_path / "clean", Notebook()))
    ctx = context(tmp_path / "killed", Notebook())
    (ctx.workdir / "words.txt").write_text("half a")
    ctx.output.mkdir()
    (ctx.output / "stale.bin").write_text("half")
    assert files(train_classifier.function(dataset, ctx)) == files(clean)


def test_chinese_is_not_one_word(train: Any) -> None:
    """Every text is new, so a tokenizer that only knows blanks could learn nothing from any of them."""
    rng = random.Random(5)

    def said(phrases: str, count: int) -> list[str]:
        return ["，".join(rng.sample(phrases.split(), 4)) + f"。{at}" for at in range(count)]

    food = "今天天气很好 她在厨房做饭 桌上有一碗面 孩子喜欢苹果 茶已经凉了 市场里人很多 鱼很新鲜 我们一起吃晚饭"
    sale = "立即点击购买 限时优惠活动 免费领取大奖 加微信返现金 最低价格保证 点击链接注册 赚钱轻松快速 会员充值打折"
    model, notebook = train({"文": said(food, 80), "广告": said(sale, 80)})
    assert notebook.logged["accuracy"] > 0.9
    assert apply(model, "孩子在市场里吃苹果", keep=["文"])["meta"]["classifier"] == "文"


def test_classes_are_balanced_by_sampling(train: Any) -> None:
    """The larger class is cut to the smaller; `per_class` caps both. What is learned is balanced but for the hash."""
    _, notebook = train({"good": TWO["good"][:40], "bad": documents(SPAM, 400, 3)}, held_out=0)
    assert "| good | 40 | 40 | 0 |" in notebook.sections["Classifier"]
    assert "| bad | 400 | 40 | 0 |" in notebook.sections["Classifier"]
    assert "Nothing was held out" in notebook.sections["Classifier"]
    _, notebook = train(TWO, per_class=30, held_out=0)
    assert "| good | 30 | 30 | 0 |" in notebook.sections["Classifier"]


def test_order_does_not_count_and_equal_texts_stay_on_one_side(train: Any) -> None:
    turned = {name: texts[::-1] for name, texts in TWO.items()}
    assert files(train(TWO)[0]) == files(train(turned)[0])
    same = {"good": [TWO["good"][0]] * 50, "bad": [TWO["bad"][0]] * 50}
    sides = []
    for share in (0.1, 0.3, 0.5, 0.7):
        try:
            _, notebook = train(same, held_out=share)
        except StepError:
            sides.append("held out")  # all copies of a text, so that nothing is left to learn from
            continue
        sides.append("learned")
        rows = [line.split(" | ") for line in notebook.sections["Classifier"].splitlines()[2:4]]
        assert all((row[2], row[3]) == ("50", "0") for row in rows)
    assert sides == sorted(sides, reverse=True)  # what was held out stays so when the share grows
    assert set(sides) == {"learned", "held out"}


def test_records_without_words_are_dropped(train: Any) -> None:
    _, notebook = train({"good": [*TWO["good"], "…!", " "], "bad": TWO["bad"]})
    assert notebook.dropped == [("good150", "no words"), ("good151", "no words")]


def test_an_id_met_in_both_targets_is_not_mixed_up(tmp_path: Path, store: Any) -> None:
    """The later one is renumbered in the dataset, and that is the id it must be dropped by."""
    dataset = dataset_of(store, good=[*TWO["good"][:40], "!"], bad=TWO["bad"][:40])
    shard = dataset.parts["good"].shards[0]
    again = tmp_path / "again-1.json"
    again.write_text('["good40"]')
    parts = {**dataset.parts, "worse": dataset.parts["good"]}
    both = Dataset([*dataset.shards, replace(shard, again=str(again))], Text, parts)
    notebook = Notebook()
    train_classifier.function(both, context(tmp_path / "run", notebook))
    assert [name for name, _ in notebook.dropped] == ["good40", *(replace(shard, again=str(again)).renumbered())]


def test_what_cannot_be_taught(train: Any, tmp_path: Path, store: Any) -> None:
    once = dataset_of(store, **TWO)
    twice = Dataset([*once.parts["good"].shards, *once.shards], Text, once.parts)
    with pytest.raises(InputError, match="one of good, bad is named twice"):
        train_classifier.function(twice, context(tmp_path / "twice", Notebook()))
    with pytest.raises(InputError, match=r"two or more, as in \[good, bad\]; found good"):
        train({"good": TWO["good"]})
    with pytest.raises(StepError, match="of 'bad' no record is left"):
        train({"good": TWO["good"], "bad": ["?"]})
    with pytest.raises(ValidationError):
        train_classifier.options.model_validate({"epochs": 0})
    with pytest.raises(ValidationError):
        train_classifier.options.model_validate({"buckets": 0})  # fastText divides by it


def test_the_vocabulary_is_bounded_unless_nothing_would_be_left() -> None:
    assert _least_count(Counter(a=5, b=3, c=1), 3) == 1
    assert _least_count(Counter(a=5, b=3, c=1), 2) == 2
    assert _least_count(Counter(a=5, b=3, c=3, d=1), 2) == 4  # one of two equals is not better
    assert _least_count(Counter(a=1, b=1, c=1), 2) == 1


def test_precision_and_recall() -> None:
    judged = [(0, {0: 0.9, 1: 0.1}), (0, {1: 0.6, 0: 0.4}), (1, {1: 0.7, 0: 0.3}), (1, {0: 0.55, 1: 0.45})]
    assert precision_recall(judged, 0) == (0.5, 0.5)
    assert precision_recall(judged, 0, 0.4) == (2 / 3, 1)
    assert precision_recall(judged, 0, 0.99) == (0, 0)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """good, bad and code; opened as a stage's model is."""
    import pyarrow.parquet as pq

    from factory import Shard
    from factory.engine.schema import encode, schema_of

    folder = tmp_path_factory.mktemp("taught")

    def store(rows: list[dict[str, Any]], kind: Any, size: int) -> Dataset[Any]:
        path = folder / f"{rows[0]['id']}.parquet"
        pq.write_table(encode(rows, schema_of(kind)), path)
        return Dataset([Shard(str(path), path.name)], kind)

    classes = {**TWO, "code": documents(CODE, 150)}
    model: Classifier = train_classifier.function(dataset_of(store, **classes), context(folder, Notebook()))
    return model


def test_the_label_and_its_score_are_noted(taught: Classifier) -> None:
    [text] = documents(PROSE, 1, 9)
    assert apply(taught, text)["meta"]["classifier"] == "good"
    meta = apply(taught, text, keep=["good", "code"], field="quality")["meta"]
    assert list(meta) == ["path", "quality", "quality_score"]
    assert 0.5 < meta["quality_score"] <= 1
    everything = apply(taught, text, keep=["good", "bad", "code", "good"])["meta"]["classifier_score"]
    assert everything == pytest.approx(1, abs=1e-3)


def test_what_scores_low_is_dropped(taught: Classifier) -> None:
    [text] = documents(SPAM, 1, 9)
    with pytest.raises(Drop, match="low score") as caught:
        apply(taught, text, keep=["good"])
    assert caught.value.details["label"] == "bad"
    assert caught.value.details["least"] == 0.5
    assert caught.value.details["score"] < 0.5
    assert apply(taught, text, keep=["good"], min_score=0)["meta"]["classifier"] == "bad"
    assert apply(taught, text, min_score=1)["meta"]["classifier"] == "bad"  # nothing to keep, nothing to drop
    with pytest.raises(Drop, match="low score"):
        apply(taught, "?!", keep=["good"])
    assert apply(taught, "?!")["meta"] == {"path": "x", "classifier": "", "classifier_score": 0.0}


def test_a_label_it_was_not_taught(taught: Classifier) -> None:
    with pytest.raises(InputError, match="has no label 'god'; did you mean 'good'"):
        apply(taught, "a text", keep=["god"])
    with pytest.raises(InputError, match="no label 'god'"):
        apply(taught, "!", keep=["god"])


def test_the_pareto_draw_keeps_what_the_distribution_says(taught: Classifier) -> None:
    """P(Lomax(a) > 1 - s) is (2 - s) ** -a: with a low shape about half of the badly scored ones stay."""
    [text] = documents(SPAM, 1, 9)
    score = apply(taught, text, keep=["good"], min_score=0)["meta"]["classifier_score"]
    ctx = Context("classifier", 0, 1, Path(), Path(), Notebook())
    stayed, reasons = [], set()
    for at in range(400):
        record = {"id": str(at), "parents": [], "text": text, "meta": {}}
        try:
            classifier.function(record, ctx, taught, keep=["good"], pareto=1)
        except Drop as drop:
            reasons.add(drop.reason)
        else:
            stayed.append(at)
    assert reasons == {"not drawn"}
    assert len(stayed) / 400 == pytest.approx((2 - score) ** -1, abs=0.08)
    record = {"id": str(stayed[0]), "parents": [], "text": text, "meta": {}}
    assert classifier.function(record, ctx, taught, keep=["good"], pareto=1)  # a draw hangs on the id
    with pytest.raises(Drop, match="low score"):
        classifier.function(record, ctx, taught, keep=["good"], pareto=1, min_score=0.5)


RECIPE = """
    name: quality
    targets:
      good: {from: good.jsonl}
      bad: {from: bad.jsonl}
      good_or_bad:
        from: [good, bad]
        steps: [train_classifier: {epochs: 15}]
      clean:
        from: web.jsonl
        steps:
          - classifier: {model: good_or_bad, keep: [good]}
"""


def build(recipe: Path) -> tuple[Any, list[str]]:
    """The result, and the stages that ran."""

    class Ran:
        def __init__(self) -> None:
            self.stages: list[str] = []

        @factory.hookimpl
        def after_stage(self, stage: Any, manifest: dict[str, Any], cached: bool) -> None:
            self.stages += [] if cached else [stage.target]

    ran = Ran()
    pm.register(ran)
    try:
        return factory.build(recipe), ran.stages
    finally:
        pm.unregister(ran)


@pytest.mark.builds
def test_a_recipe_from_two_targets_to_a_filtered_third(project: Path) -> None:
    web = [(text, "good") for text in documents(PROSE, 60, 7)] + [(text, "bad") for text in documents(SPAM, 60, 7)]
    random.Random(0).shuffle(web)
    for name, rows in (("good", TWO["good"]), ("bad", TWO["bad"])):
        (project / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    (project / "web.jsonl").write_text(
        "".join(json.dumps({"text": text, "truth": truth}) + "\n" for text, truth in web)
    )
    recipe = project / "quality.yaml"
    recipe.write_text(dedent(RECIPE))
    result, ran = build(recipe)
    assert set(ran) == {"good", "bad", "good_or_bad", "clean"}
    kept = [record["meta"] for record in result["clean"]]
    right = sum(meta["truth"] == "good" for meta in kept)
    assert right >= 57
    assert len(kept) - right <= 3
    assert all(meta["classifier_score"] >= 0.5 for meta in kept)
    assert result.plan.targets["clean"].manifest["funnel"][-1]["reasons"] == {"low score": 120 - len(kept)}
    model = result["good_or_bad"]
    assert isinstance(model, Classifier)
    assert build(recipe)[1] == []
    before = files(model)
    (result.plan.targets["good_or_bad"].folder / "manifest.json").unlink()
    again, ran = build(recipe)
    assert "good_or_bad" in ran
    assert files(again["good_or_bad"]) == before
