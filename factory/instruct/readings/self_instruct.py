"""The self-instruct reading (Wang et al. 2023): instructions first, then whether they classify, then their instances.

Six seeds and two machine-made instructions are shown; each new one is asked about in a request of its own, and gets up
to five instances in another: input first, or label first where it classifies. What the prompts require, sampling and
filters are the published ones. The published examples of the second and third request were written for them; here
they are seed tasks, in the same numbers or nearly so. The wording is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from factory import Drop, Message, assistant, user

from ..parsing import Block
from . import Ask, Reading, Task, alpaca

BLACKLIST = alpaca.BLACKLIST[:13]  # those without moving pictures and sound
STOP = ("\n\n", "\n16", "16.", "16 .")
NEW = 7  # 8 are shown, and number 16 ends the list
MOST_INSTANCES = 5
CLASSES_SHOWN, OTHERS_SHOWN = 12, 19  # tasks shown with the question whether one classifies
SHOWN = 8  # tasks shown with their instances

ASK = "A list of tasks for a language model follows. Continue it up to number {last}, one task a line.\n\n{shown}"
ASK_WHETHER = (
    "A task classifies if its output can only be one of a few labels that are known beforehand. Say of the last "
    "task below whether it does.\n\n{shown}Task: {instruction}"
)
ASK_INSTANCES = (
    "Write examples for the last task below, at most {most}, each with an input and the right output. A task that says "
    "it all needs no input: then write its output alone.\n\n{shown}Task: {instruction}"
)
ASK_LABELS = (
    "Write examples for the last task below, at most {most}: first a label that is right for some input, then that "
    "input, for every label that there is.\n\n{shown}Task: {instruction}"
)
WHETHER: dict[str, Any] = {"temperature": 0.0, "max_tokens": 3, "stop": ("\n", "Task")}
# Published with top_p 0, which at temperature 0 changes nothing and which some servers refuse.
_AFTER = (f"Example {MOST_INSTANCES + 1}", "Task:")
INSTANCES: dict[str, Any] = {"temperature": 0.0, "presence_penalty": 1.5, "stop": _AFTER}
INSTANCE_TOKENS, LABEL_TOKENS = 350, 300

_NEXT = re.compile(r"\n\s*\d{1,3}\s?[.)]\s+")
_FIRST = re.compile(r"\s*\d{1,3}\s?[.)]\s+")
_EXAMPLE = re.compile(r"Example\s?\d*\s?[.:]?")
_OUTPUT = re.compile(r"Output\s*\d*\s*:")
_INPUT = re.compile(r"Input\s*\d*\s*:")
_LABEL = re.compile(r"(?:^|\n)\s*Class label:")


def prompt(ask: Ask) -> list[Message]:
    """Numbered instructions without inputs and outputs, and the number of the next."""
    lines = [f"{at}. {' '.join(task[0].split()).rstrip(':')}" for at, task in enumerate(ask.shown, 1)]
    text = ASK.format(last=len(lines) + ask.new, shown="\n".join(lines))
    return user(text) + assistant(f"{len(lines) + 1}.")


def read(answer: str, cut: bool, ask: Ask) -> Iterator[tuple[Block, Drop | None]]:
    """Every instruction of an answer, and why it is dropped; an answer that was cut gives none."""
    for text in _NEXT.split(f"\n{answer}" if _FIRST.match(answer) else answer):
        instruction = " ".join(text.split())
        if instruction:
            fault = Drop("cut off") if cut else alpaca.fault(instruction, BLACKLIST)
            yield Block(instruction), fault


def whether(instruction: str, seeds: Sequence[tuple[str, bool]]) -> list[Message]:
    """The question whether a task classifies, after seed tasks with their answers."""
    shown = "".join(f"Task: {task}\nDoes it classify? {'Yes' if yes else 'No'}\n\n" for task, yes in seeds)
    return user(ASK_WHETHER.format(shown=shown, instruction=instruction)) + assistant("Does it classify?")


def says_yes(answer: str) -> bool:
    """Whether the answer to that question is yes."""
    return answer.strip().lower().startswith("yes")


def instances(instruction: str, labels_first: bool, seeds: Sequence[Sequence[Task]]) -> list[Message]:
    """The request for a task's instances, after seed tasks, each with its own."""
    shown = "".join(f"{_shown(tasks, labels_first)}\n\n" for tasks in seeds)
    template = ASK_LABELS if labels_first else ASK_INSTANCES
    return user(template.format(most=MOST_INSTANCES, shown=shown, instruction=instruction))


def _shown(tasks: Sequence[Task], labels_first: bool) -> str:
    head = f"Task: {' '.join(tasks[0][0].split())}"
    if labels_first:
        return "\n".join([head, *(f"Class label: {output}\nInput: {given}" for _, given, output in tasks)])
    if len(tasks) == 1 and not tasks[0][1]:
        return f"{head}\nOutput: {tasks[0][2]}"
    pairs = (
        f"Example {at}\n" + (f"Input: {given}\n" if given else "") + f"Output: {output}"
        for at, (_, given, output) in enumerate(tasks[:MOST_INSTANCES], 1)
    )
    return "\n".join([head, *pairs])


def read_instances(answer: str, cut: bool, instruction: str, labels_first: bool) -> Iterator[tuple[Block, Drop | None]]:
    """Every instance of a task, and why it is dropped: at most five are kept, none where two contradict each other."""
    pairs = _labelled(answer) if labels_first else _pairs(answer)
    faults = [_fault(given, output) for given, output in pairs]
    if cut and pairs:
        faults[-1] = Drop("cut off")
    outputs: dict[str, set[str]] = {}
    for (given, output), fault in zip(pairs, faults, strict=True):
        if fault is None and given:
            outputs.setdefault(given, set()).add(output)
    contradicted = any(len(several) > 1 for several in outputs.values())
    seen: set[tuple[str, str]] = set()
    for (given, output), fault in zip(pairs, faults, strict=True):
        if fault is None and contradicted:
            fault = Drop("one input, two outputs")
        if fault is None and (given, output) in seen:
            fault = Drop("an instance twice")
        if fault is None and len(seen) == MOST_INSTANCES:
            fault = Drop("more instances than asked for")
        if fault is None:
            seen.add((given, output))
        yield Block(instruction, given, output, output_first=labels_first), fault


def _fault(given: str, output: str) -> Drop | None:
    if not output:
        return Drop("no output")
    if given == output:
        return Drop("output is its input")
    return Drop("unfinished") if given.endswith(":") or output.endswith(":") else None


def _pairs(answer: str) -> list[tuple[str, str]]:
    """(input, output) of each example; an answer with neither examples nor an output label is none."""
    parts = [part for part in _EXAMPLE.split(answer.strip()) if part.strip()]
    if len(parts) == 1 and not _EXAMPLE.search(answer) and not _OUTPUT.search(answer):
        return []
    return [_pair(part) for part in parts]


def _pair(text: str) -> tuple[str, str]:
    before, *after = _OUTPUT.split(text)
    given, output = (before, after[0]) if after else ("", before)
    return _INPUT.sub("", given.strip(), count=1).strip(), _INPUT.split(output)[0].strip()


def _labelled(answer: str) -> list[tuple[str, str]]:
    """(input, label) of each class label, which is a line of its own."""
    found = []
    for text in _LABEL.split(answer)[1:]:
        label, _, given = text.strip().partition("\n")
        found.append((_INPUT.sub("", given.strip(), count=1).strip(), label.strip()))
    return found


READING = Reading(
    "self_instruct", prompt, lambda ask: STOP, read, shots=6, machine_shots=2, per_request=NEW, temperature=0.7,
    top_p=0.5, presence_penalty=2.0, max_tokens=1024, instances=True,
)  # fmt: skip
