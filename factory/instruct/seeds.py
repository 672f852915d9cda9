"""Seed tasks: the form they have, and the mistakes people make in it.

A seed task is a JSON object a line: {id, name, instruction, instances: [{input, output}], is_classification}, the form
of self-instruct (Wang et al. 2023), and with `type` where the id does not begin with it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from factory import InputError
from factory.errors import did_you_mean
from factory.text.overlap import RougeIndex
from factory.text.words import UNSPACED, is_unspaced, words

from .faults import fault_in_instruction, fault_in_output

TYPES = (
    "brainstorming", "open_qa", "closed_qa", "rewrite", "extract", "generation", "classification", "chat",
    "summarization", "code", "maths",
)  # fmt: skip
MEANT = {  # what people call them besides
    "calculation": "maths", "math": "maths", "arithmetic": "maths", "translation": "rewrite", "editing": "rewrite",
    "summary": "summarization", "programming": "code", "dialogue": "chat", "conversation": "chat", "qa": "open_qa",
    "reading": "closed_qa", "extraction": "extract", "writing": "generation", "ideas": "brainstorming",
}  # fmt: skip
FIELDS = {"id": str, "name": str, "instruction": str, "instances": list, "is_classification": bool}
KINDS = {str: "text", list: "a list", bool: "true or false", dict: "an object", int: "a number", float: "a number"}
LONGEST_LABEL = 8  # words or characters of an unspaced script
MOST_LABELS = 12
ALIKE = 0.7  # ROUGE-L F above which two instructions, or two outputs, are near-duplicates
LEAST_COMPARED = 4  # words: "Yes" and "Paris" may well be the output of two tasks
# What a reader of the files would stumble over, whatever the task; the other faults of generated tasks are remarks.
MISTAKES = {"empty output", "placeholder", "input is missing", "instruction starts with punctuation"}

_HAN = f"[{UNSPACED}]"
_HALF_WIDTH = re.compile(rf"(?<={_HAN})[,;:?!](?=\s*(?:{_HAN}|$))|(?<={_HAN})\.(?=\s|$|{_HAN})", re.MULTILINE)
_DOUBLED = re.compile(r"[，、；：]{2,}|。{2}(?!。)|[，、；：][。！？]|[。！？][，、；：]")
_STRAIGHT = re.compile(rf"\"(?=[^\"\n]*{_HAN})[^\"\n]*\"")
_PAIRS = ("“”", "‘’", "「」", "『』", "《》", "（）", "【】")
_MEANT_ABSENT = re.compile(
    r"(?:以下|下面|下列|上述|上面)(?:的|这|那|一|几|两|各|[^，。？！：]{0,6}(?:文|句|段|表|话|码|信|题|据))"
)


class Finding(NamedTuple):
    """A sentence about a line of a file: a mistake that must be mended, or a remark."""

    file: str
    line: int
    text: str
    mistake: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Seed:
    """A seed task and where it stands."""

    file: str
    line: int
    id: str
    name: str
    instruction: str
    instances: tuple[tuple[str, str], ...]  # (input, output)
    is_classification: bool
    type: str

    def finding(self, text: str, mistake: bool = True) -> Finding:
        return Finding(self.file, self.line, text, mistake)


@dataclass
class Checked:
    """All that is known about one or more files of seed tasks."""

    seeds: list[Seed]
    findings: list[Finding]

    @property
    def mistakes(self) -> list[Finding]:
        return [one for one in self.findings if one.mistake]

    @property
    def remarks(self) -> list[Finding]:
        return [one for one in self.findings if not one.mistake]


def check_seeds(paths: Sequence[Path]) -> Checked:
    """Read and check files of seed tasks; near-duplicates are looked for across them.

    Raises InputError when a file cannot be read.
    """
    checked = Checked([], [])
    for path in paths:
        seeds, findings = read_seeds(path)
        checked.seeds += seeds
        checked.findings += findings
        checked.findings += _equal(seeds, "id", mistake=True)
        checked.findings += _equal(seeds, "name", mistake=False)
    for seed in checked.seeds:
        checked.findings += faults_of(seed)
    checked.findings += near_duplicates(checked.seeds)
    checked.findings.sort(key=lambda one: (one.file, one.line))
    return checked


def read_seeds(path: Path) -> tuple[list[Seed], list[Finding]]:
    """The tasks of a file that have the right form, and what is wrong with the form of the others."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.jsonl")])
        raise InputError(f"no file '{path}'; {near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read '{path}' as UTF-8 text: {error}") from None
    seeds: list[Seed] = []
    findings: list[Finding] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        wrong = list(_form(line))
        findings += [Finding(str(path), number, sentence) for sentence in wrong]
        if not wrong:
            seeds.append(_seed(str(path), number, json.loads(line)))
    if not seeds and not findings:
        findings.append(Finding(str(path), 1, "the file is empty; expected a seed task a line"))
    return seeds, findings


def _seed(file: str, line: int, row: dict[str, Any]) -> Seed:
    instances = tuple((one["input"], one["output"]) for one in row["instances"])
    kind = row.get("type") or row["id"].rpartition("-")[0] or row["id"]
    return Seed(file, line, row["id"], row["name"], row["instruction"], instances, row["is_classification"], kind)


def _form(line: str) -> Iterator[str]:
    """What is wrong with the form of a line, a sentence each; one without any can be made a Seed."""
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        yield f"not JSON: {error.msg} at column {error.colno}"
        return
    except KeyError as error:
        yield f"the field '{error.args[0]}' stands there twice"
        return
    if not isinstance(row, dict):
        yield f"expected a JSON object, not {_kind(row)}"
        return
    yield from _fields(row, FIELDS, optional={"type": str})
    if isinstance(row.get("instances"), list):
        if not row["instances"]:
            yield "'instances' is empty; expected at least one {input, output}"
        for at, one in enumerate(row["instances"], 1):
            if not isinstance(one, dict):
                yield f"instance {at} is {_kind(one)}; expected an object with input and output"
                continue
            yield from (f"instance {at}: {text}" for text in _fields(one, {"input": str, "output": str}))
    for name in ("id", "name", "instruction"):
        if isinstance(row.get(name), str) and not row[name].strip():
            yield f"'{name}' is empty; expected text"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in pairs:
        if name in row:
            raise KeyError(name)
        row[name] = value
    return row


def _fields(row: dict[str, Any], wanted: dict[str, type], optional: dict[str, type] = {}) -> Iterator[str]:
    known = wanted | optional
    strangers = [name for name in row if name not in known]
    for name in strangers:
        yield f"no field '{name}' is known; {did_you_mean(name, known)}"
    for name, kind in known.items():
        if name not in row:
            if name in wanted:
                yield f"'{name}' is missing; expected {KINDS[kind]}"
        elif type(row[name]) is not kind:
            yield f"'{name}' is {_kind(row[name])}; expected {KINDS[kind]}"


def _kind(value: Any) -> str:
    return "null" if value is None else KINDS[type(value)]


def _equal(seeds: Iterable[Seed], field: str, mistake: bool) -> Iterator[Finding]:
    lines: dict[str, int] = {}
    for seed in seeds:
        value = getattr(seed, field)
        if value in lines:
            yield seed.finding(f"the {field} '{value}' is that of line {lines[value]}, too", mistake)
        lines.setdefault(value, seed.line)


def faults_of(seed: Seed) -> Iterator[Finding]:
    """What is wrong, or worth a look, in a task of the right form."""
    if seed.type not in TYPES:
        near = f"did you mean '{MEANT[seed.type]}'?" if seed.type in MEANT else did_you_mean(seed.type, TYPES)
        yield seed.finding(f"'{seed.type}' is no type of task; {near}")
    if seed.type == "classification" and not seed.is_classification:
        yield seed.finding("the type is classification, so is_classification is expected to be true")
    if len(set(seed.instances)) < len(seed.instances):
        yield seed.finding("two of its instances are equal; expected different inputs")
    for at, (given, output) in enumerate(seed.instances, 1):
        where = f"instance {at}: " if len(seed.instances) > 1 else ""
        if _MEANT_ABSENT.search(seed.instruction) and not given and not re.search(r"[：:\n]", seed.instruction):
            yield seed.finding(f"{where}the instruction speaks of an input, but it is empty")
        for fault in (
            fault_in_instruction(seed.instruction, given, 1, 150) if at == 1 or not given else None,
            None if seed.is_classification and output.strip() else fault_in_output(output, seed.instruction, given),
        ):
            if fault is not None:
                told = ", ".join(f"{name} {value}" for name, value in fault.details.items())
                text = f"{where}{fault.reason}{f': {told}' if told else ''}"
                yield seed.finding(text, fault.reason in MISTAKES)
        if (given, output) != (given.strip(), output.strip()):
            yield seed.finding(f"{where}input or output begins or ends with whitespace", mistake=False)
    if "\ufffd" in seed.instruction + "".join(map("".join, seed.instances)):
        yield seed.finding("a character is lost (U+FFFD); the file was once read in a wrong encoding")
    if seed.is_classification:
        yield from (seed.finding(text, mistake) for text, mistake in _labels(seed))
    yield from map(seed.finding, _punctuation(seed))


def _labels(seed: Seed) -> Iterator[tuple[str, bool]]:
    """(sentence, whether it is a mistake) about the labels of a classification."""
    labels = Counter(output.strip() for _, output in seed.instances)
    for label in labels:
        if (size := len(words(label))) > LONGEST_LABEL or "\n" in label:
            yield f"the output '{label[:40]}…' has {size} words; expected a label of at most {LONGEST_LABEL}", True
    folded: dict[str, str] = {}
    for label in labels:
        other = folded.setdefault(label.casefold().rstrip(".。"), label)
        if other != label:
            yield f"'{other}' and '{label}' are one label spelled two ways", True
    named = sum(label.casefold().rstrip(".。") in seed.instruction.casefold() for label in labels)
    if len(labels) > MOST_LABELS:
        yield f"{len(labels)} labels; expected a small set of at most {MOST_LABELS}", True
    elif len(seed.instances) > 1 and len(labels) == 1:
        yield f"every instance has the label '{next(iter(labels))}'; expected one of each label at least", True
    elif len(seed.instances) > 2 and len(folded) == len(seed.instances) and not named:
        yield "every output is another and the instruction names none; expected a small set of labels", True
    elif len(seed.instances) == 1:
        yield "a classification with one instance shows one of its labels only", False
    elif max(labels.values()) > 1 + 2 * min(labels.values()):
        yield f"its labels are out of balance: {', '.join(f'{n} {k}' for k, n in labels.most_common())}", False


def _punctuation(seed: Seed) -> Iterator[str]:
    """Slips in Chinese or Japanese punctuation; inputs are quoted from life and may have them, code and tables too."""
    texts = [("the instruction", seed.instruction)]
    texts += [("an output", output) for _, output in seed.instances if seed.type != "code" and not _is_data(output)]
    for where, text in texts:
        if not is_unspaced(text):
            continue
        text = re.sub(r"`[^`]*`", "", text)
        for pattern, said in (
            (_HALF_WIDTH, "has half-width punctuation after a character"),
            (_DOUBLED, "has two marks of punctuation where one is expected"),
            (_STRAIGHT, "has straight quotation marks"),
        ):
            if found := pattern.search(text):
                around = text[max(0, found.start() - 6) : found.end() + 6].replace("\n", " ")
                yield f"{where} {said}: '{around}'"
        for pair in _PAIRS:
            first, last = pair[0], pair[1]
            if text.count(first) != text.count(last):
                yield f"{where} has {text.count(first)} of {first} and {text.count(last)} of {last}"


def _is_data(text: str) -> bool:
    """Whether a text is JSON, or lines of fields with commas between them."""
    lines = text.split("\n")
    return text[:1] in "{[" or (len(lines) > 1 and len({line.count(",") for line in lines}) == 1 and "," in text)


def near_duplicates(seeds: Sequence[Seed]) -> Iterator[Finding]:
    """A remark for every instruction or output that is much like an earlier one (ROUGE-L F > ALIKE), the nearest told.

    Equal instructions on equal inputs are a mistake.
    """
    seen: dict[tuple[str, tuple[str, ...]], Seed] = {}
    indexes = {"instruction": RougeIndex(), "output": RougeIndex()}
    for seed in seeds:
        same = (seed.instruction.strip(), tuple(given.strip() for given, _ in seed.instances))
        if first := seen.get(same):
            yield seed.finding(f"the same task as {first.id} at {first.file}:{first.line}")
            continue
        seen[same] = seed
        outputs = [] if seed.is_classification else [output for _, output in seed.instances]
        for field, texts in (("instruction", [seed.instruction]), ("output", outputs)):
            for tokens in map(words, texts):
                if len(tokens) < LEAST_COMPARED:
                    continue
                if (near := indexes[field].nearest(tokens, ALIKE)) and near[0] is not seed:
                    other = near[0]
                    told = f"its {field} is like that of {other.id} at {other.file}:{other.line}"
                    yield seed.finding(f"{told} (ROUGE-L {near[1]:.2f})", mistake=False)
            # Instances of one task may be alike, so its own outputs become known only when all were looked up.
            for tokens in map(words, texts):
                indexes[field].add(seed, tokens)
