"""A quality or domain classifier: taught from targets that are examples of each label, then a filter."""

from __future__ import annotations

import heapq
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

from pydantic import Field

import factory
import factory.models.classifiers as classifiers  # `from factory.models import` would fingerprint all of models
from factory import Classifier, Context, Dataset, Drop, InputError, Record, StepError, digest
from factory.errors import did_you_mean

from ..reshape import full_text

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
POINTS = 2.0**64  # digests are 16 hex digits


class Line(NamedTuple):
    """A record as it lies in the file of lines. Equal words have equal keys."""

    key: str
    label: int
    start: int  # bytes
    size: int


@factory.step
def train_classifier(
    dataset: Dataset[Record],
    ctx: Context,
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10,
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.5,
    word_ngrams: Annotated[int, Field(ge=1, le=5)] = 2,
    dim: Annotated[int, Field(ge=1, le=1000)] = 16,
    buckets: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000,
    vocabulary: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000,
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    per_class: Annotated[int, Field(ge=1)] = 200_000,
) -> Classifier:
    """Teach a fastText classifier to tell targets apart: `from: [good, bad]` makes the labels good and bad.

    fastText is a linear model over words and hashed word n-grams (Joulin et al. 2016, arXiv:1607.01759). DCLM (Li et
    al. 2024, arXiv:2406.11794, section 4.4) chose its web pages with one, taught 200,000 examples of each label; GPT-3
    (Brown et al. 2020, appendix A) chose its with logistic regression over hashed words, taught curated text and crawl.
    Classes are balanced by sampling: of each the same number is taken, those whose words have the lowest hash.
    A record's words are cut by script; records without words are dropped (`no words`).

    epochs         passes over the examples; few examples want more
    learning_rate  at the start; it falls to 0
    word_ngrams    up to so many words in a row are a feature
    dim            numbers in a vector
    buckets        vectors that all n-grams share, by hash
    vocabulary     the most words with a vector of their own, the commonest. The file has about
                   4 · dim · (buckets + vocabulary) bytes: at most 6.4 MB as it stands
    held_out       share that is not learned but measured, chosen by a hash of a record's words: equal texts are on the
                   same side, and none ever moves
    per_class      the most records read of each target, drawn by a hash of their ids; the rest teaches nothing

    One thread and a seed drawn from the recipe's: equal input makes equal bytes. Reports, on what was held out,
    accuracy, precision and recall of each label, and what each `min_score` would keep.
    Raises InputError for fewer than two targets or one named twice, StepError when a label has no example left.
    """
    labels = list(dataset.parts)
    if len(labels) < 2:
        said = f"found {labels[0]}" if labels else "found none"
        raise InputError(f"train_classifier: it tells targets apart and needs two or more, as in [good, bad]; {said}")
    if sum(len(part.shards) for part in dataset.parts.values()) != len(dataset.shards):
        raise InputError(f"train_classifier: one of {', '.join(labels)} is named twice in `from`")
    words, examples = ctx.workdir / "words.txt", ctx.workdir / "examples.txt"
    lines = _write_lines(words, _labelled(dataset, per_class), ctx)
    chosen = _balanced(lines, len(labels))
    learned, held = ([line for line in chosen if (_point(line.key) < held_out) is side] for side in (False, True))
    counts = [[sum(line.label == at for line in some) for at in range(len(labels))] for some in (lines, learned, held)]
    for _, count, name in sorted(zip(*counts[:2], labels, strict=True)):  # the smallest class is named first
        if not count:
            raise StepError(f"train_classifier: of '{name}' no record is left to learn from")
    seen = _write_examples(examples, _read_lines(words, learned))
    options: dict[str, Any] = {"epoch": epochs, "lr": learning_rate, "wordNgrams": word_ngrams, "dim": dim}
    options |= {"bucket": buckets, "minCount": _least_count(seen, vocabulary)}
    try:
        trained = classifiers.train(examples, ctx.rng("fastText").randrange(2**31 - 1), **options)
    except RuntimeError as error:  # fastText met a number that is none
        raise StepError(f"train_classifier: {error}; try a lower learning_rate than {learning_rate:g}") from error
    shutil.rmtree(ctx.output, ignore_errors=True)
    ctx.output.mkdir(parents=True)
    classifiers.save(ctx.output, trained, labels, options=options)
    found = ((line.label, classifiers.predicted(trained, text.decode())) for line, text in _read_lines(words, held))
    judged = [(label, dict(scores)) for label, scores in found]
    _tell(labels, counts, judged, (ctx.output / classifiers.WEIGHTS).stat().st_size, ctx)
    return Classifier(uri=str(ctx.output), path=ctx.output)


def _labelled(dataset: Dataset[Record], per_class: int) -> Iterator[tuple[int, Record]]:
    """(number of the label, record), at most `per_class` of each, from the shards of one part after the other."""
    shards = iter(dataset.shards)  # not the parts' own: an id that is in two parts is renumbered in the later one
    for label, part in enumerate(dataset.parts.values()):
        mine = list(islice(shards, len(part.shards)))
        drawn: set[str] | None = None
        if len(part) > per_class:
            ids = (name for shard in mine for name in shard.ids())
            drawn = set(heapq.nsmallest(per_class, ids, key=lambda name: (digest([name]), name)))
        for shard in mine:
            for record in shard.records():
                if drawn is None or record["id"] in drawn:
                    yield label, record


def _write_lines(path: Path, labelled: Iterator[tuple[int, Record]], ctx: Context) -> list[Line]:
    """The words of each record as one line of the file; records without words are dropped."""
    lines = []
    with path.open("wb") as file:
        for label, record in labelled:
            text = classifiers.line_of(full_text(record)).encode()
            if not text:
                ctx.drop(record, "no words")
                continue
            lines.append(Line(digest(text), label, file.tell(), len(text)))
            file.write(text + b"\n")
    return lines


def _balanced(lines: Sequence[Line], labels: int) -> list[Line]:
    """Equally many lines of every label, all in the order of their keys: fastText learns them as they come."""
    ordered: list[list[Line]] = [[] for _ in range(labels)]
    for line in sorted(lines):
        ordered[line.label].append(line)
    least = min(map(len, ordered))
    return sorted(line for some in ordered for line in some[:least])


def _point(key: str) -> float:
    """Where a line lies in [0, 1), whatever its place in the order of keys."""
    return int(digest(["held out", key]), 16) / POINTS


def _read_lines(path: Path, lines: Sequence[Line]) -> Iterator[tuple[Line, bytes]]:
    with path.open("rb") as file:
        for line in lines:
            yield line, os.pread(file.fileno(), line.size, line.start)


def _write_examples(path: Path, lines: Iterator[tuple[Line, bytes]]) -> Counter[bytes]:
    """Lines as fastText learns them; how often each word occurs."""
    seen = Counter[bytes]()
    with path.open("wb") as file:
        for line, text in lines:
            seen.update(text.split())
            file.write(b"%s%d %s\n" % (classifiers.PREFIX.encode(), line.label, text))
    return seen


def _least_count(seen: Counter[bytes], vocabulary: int) -> int:
    """How often a word must occur, so that at most `vocabulary` do; when all occur equally often, all of them."""
    if len(seen) <= vocabulary:
        return 1
    ranked = heapq.nlargest(vocabulary + 1, seen.values())
    return min(ranked[0], ranked[-1] + 1)


Judged = Sequence[tuple[int, Mapping[int, float]]]  # (true label, label -> probability)


def precision_recall(judged: Judged, label: int, least: float | None = None) -> tuple[float, float]:
    """(precision, recall) of taking what is likeliest `label`, or likely it by `least` or more. 0 over 0 is 0."""
    taken = [
        truth == label
        for truth, scores in judged
        if (scores[label] >= least if least is not None else max(scores, key=lambda at: scores[at]) == label)
    ]
    there = sum(truth == label for truth, _ in judged)
    return sum(taken) / max(1, len(taken)), sum(taken) / max(1, there)


def _tell(labels: Sequence[str], counts: Sequence[Sequence[int]], judged: Judged, size: int, ctx: Context) -> None:
    """Metrics of the held-out records, and a section of the report."""
    found = [precision_recall(judged, at) for at in range(len(labels))]
    lines = ["| label | with words | learned | held out | precision | recall |", "|---|---|---|---|---|---|"]
    for at, name in enumerate(labels):
        numbers = " | ".join(f"{some[at]:,}" for some in counts)
        lines.append(f"| {name} | {numbers} | {found[at][0]:.1%} | {found[at][1]:.1%} |")
    if not judged:
        ctx.report("Classifier", "\n".join([*lines, "", f"Nothing was held out. The file has {size / 1e6:.1f} MB."]))
        return
    right = sum(max(scores, key=lambda at: scores[at]) == truth for truth, scores in judged) / len(judged)
    metrics = {"accuracy": right}
    for name, (precision, recall) in zip(labels, found, strict=True):
        metrics |= {f"precision {name}": precision, f"recall {name}": recall}
    ctx.log(None, **metrics)
    said = f"Accuracy on {len(judged):,} held-out records: {right:.1%}; by chance it were {1 / len(labels):.1%}."
    lines += ["", f"{said} The classes are balanced, and the file has {size / 1e6:.1f} MB.", ""]
    lines += ["What `keep` of one label with a `min_score` keeps of it (recall), and how much of that is right:", ""]
    heads = " | ".join(f"{name}: recall | precision" for name in labels)
    lines += [f"| min_score | {heads} |", "|---" * (1 + 2 * len(labels)) + "|"]
    for least in THRESHOLDS:
        pairs = [precision_recall(judged, at, least) for at in range(len(labels))]
        lines.append(f"| {least:g} | " + " | ".join(f"{recall:.1%} | {exact:.1%}" for exact, recall in pairs) + " |")
    ctx.report("Classifier", "\n".join(lines))


@factory.step
def classifier(
    record: Record,
    ctx: Context,
    model: Classifier,
    keep: list[str] | None = None,
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None,
    pareto: Annotated[float, Field(gt=0)] | None = None,
    field: Annotated[str, Field(min_length=1)] = "classifier",
) -> Record:
    """Note what a trained classifier takes a record for, and drop what is too unlikely to be of the labels to keep.

    model      a target that `train_classifier` made, or a folder
    keep       labels; a record's score is the probability that it has one of them. Without it the score is that of
               the label found, and nothing is dropped
    min_score  the least score, .5 by default, or 0 where pareto is given; with 0 nothing is dropped for its score
    pareto     draw instead of cutting: a record stays when a number drawn from the Pareto distribution (Lomax's form,
               which starts at 0) with this shape is above 1 - score. GPT-3 (Brown et al. 2020, appendix A) took 9:
               of records scored 0 then 0.2 % stay, of .5 2.6 %, of .9 42 %. The draw hangs on the record's id
    field      name in meta of the label (the likeliest); the score is in meta under the name with `_score` added

    A record without words has the label "" and the score 0.
    """
    scores = classifiers.probabilities(model, full_text(record))
    found = next(iter(scores), "")
    score = scores.get(found, 0.0) if keep is None else round(sum(_scores_of(model, scores, keep)), 4)
    if keep is not None:
        least = min_score if min_score is not None else 0.5 if pareto is None else 0.0
        if score < least:
            raise Drop("low score", label=found, score=score, least=least)
        if pareto is not None and ctx.rng(record["id"]).paretovariate(pareto) - 1 <= 1 - score:
            raise Drop("not drawn", label=found, score=score)
    meta = {**record.get("meta", {}), field: found, f"{field}_score": score}
    return cast(Record, {**record, "meta": meta})


def _scores_of(model: Classifier, scores: Mapping[str, float], keep: Sequence[str]) -> list[float]:
    labels = classifiers.labels_of(model)
    for name in keep:
        if name not in labels:
            raise InputError(f"classifier: keep: '{model.uri}' has no label '{name}'; {did_you_mean(name, labels)}")
    return [scores.get(name, 0.0) for name in dict.fromkeys(keep)]
