"""Tasks out of what a model wrote, through the slips of small ones; and tasks as the text a model is shown."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .faults import is_no_input

LABELS = {
    "instruction": "instruction",
    "instructions": "instruction",
    "指令": "instruction",
    "input": "input",
    "inputs": "input",
    "输入": "input",
    "output": "output",
    "outputs": "output",
    "输出": "output",
    "response": "response",
    "answer": "response",
    "回答": "response",
    "答案": "response",
}
LATE = "late input"  # one that stands behind its output
ENGLISH = ("Instruction: ", "Input: ", "Output: ")
NUMBER = r"(?:\(?\d{1,3}\s?[.):\]、．：]\s?)"
DECORATION = r"[*_#>`\s]{0,8}"
_HEADER = re.compile(
    rf"^{DECORATION}(?:task\s?)?{NUMBER}?{DECORATION}"
    rf"(?P<label>{'|'.join(sorted(LABELS, key=len, reverse=True))})"
    r"(?:\s?\d{1,3})?[*_`]{0,3}\s?[:：][*_`]{0,3}(?P<rest>.*)$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"^{DECORATION}{NUMBER}{DECORATION}(?P<rest>\w.*)$")
_TITLE = re.compile(rf"^{DECORATION}(?:task|example|任务|示例)\s?\d{{1,3}}\s?[.:：]?{DECORATION}$", re.IGNORECASE)
_RULE = re.compile(r"^\s*(?:#{3,}|-{3,}|\*{3,}|={3,}|_{3,})\s*$")
_BARE_NUMBER = re.compile(rf"(?:\n|^)\s*(?:\*\*|#{{1,4}} ?)?{NUMBER}\s*$")
_END = re.compile(r"<\|?(?:im_end|im_start|endoftext|eot_id|end_of_text)\|?>|</s>")
_NO_OUTPUT = re.compile(r"|none|no ?output|n/a|none (?:needed|required|provided)|输出|无输出")
_FENCE = re.compile(r"^\s*```[\w+-]*\s*$")
_INLINE = re.compile(r"(?<=[\s.。?!？！;；])[*_]{0,2}(Input|Output|输入|输出)[*_]{0,2}\s?[:：]")
_ENDS = tuple(".。?？!！;；:：\"”'’*")
_KEY = re.compile(r"[{,]\s*\"(?:instructions?|指令)\"\s*:", re.IGNORECASE)
_EDGES = " \t\n\r.,;:!-–—_*`'\"“”()[]<>{}。"


@dataclass(frozen=True)
class Block:
    """One task as it stands in an answer. `fault` is a countable reason why it is none, or empty."""

    instruction: str
    input: str = ""
    output: str = ""
    fault: str = ""
    output_first: bool = False  # the output stood before the input


def task_text(
    number: int, instruction: str, given: str, output: str, *, labels_first: bool = False, chinese: bool = False
) -> str:
    """A task as a model is shown it, in the form `parse_tasks` reads back."""
    asked, said, told, none = ("指令：", "输入：", "输出：", "无") if chinese else (*ENGLISH, "none")
    fields = [f"{said}{given or none}", f"{told}{output}"]
    return "\n".join([f"{number}. {asked}{instruction}", *(reversed(fields) if labels_first else fields)])


def parse_tasks(answer: str, cut: bool = False) -> list[Block]:
    """The tasks in an answer that goes on from "Instruction:" or says so itself, in order, faulty ones included.

    `cut` says that the answer ended by its length limit: its last block is then never one to keep, however complete
    it looks. Numbers need not be right, nor there; bold labels, rules between tasks, a missing Input line, talk before
    the first task and a number left at the end are passed over; so are a fence around it all, fields on one line, and
    JSON where a list was asked for. Never raises.
    """
    if end := _END.search(answer):
        answer, cut = answer[: end.start()], False
    lines = _without_fence(answer.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    if objects := _objects(text := "\n".join(lines)):
        return _from_json(objects, text, cut)
    blocks = [_block(fields) for fields in _split(lines)]
    found = [block for block in blocks if block is not None]
    if cut and found:
        found[-1] = replace(found[-1], fault="cut off")
    return found


def _without_fence(lines: list[str]) -> list[str]:
    """The lines of an answer, without a fence around all of it, or left over at its end."""
    fences = [at for at, line in enumerate(lines) if line.lstrip().startswith("```")]
    if not fences or (len(fences) % 2 == 0 and any(lines[at].strip() for at in range(fences[0]))):
        return lines
    last = next((at for at in reversed(range(len(lines))) if lines[at].strip()), 0)
    if fences[-1] != last or not _FENCE.match(lines[last]):
        return lines
    if len(fences) % 2:
        return lines[:last]
    outer = _FENCE.match(lines[fences[0]]) and any(_HEADER.match(line) or "{" in line for line in lines[1:last])
    return lines[fences[0] + 1 : last] if outer else lines


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text that have an instruction, each label -> value."""
    found: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(strict=False), text.find("{") if _KEY.search(text) else -1
    while at >= 0:
        end = at + 1  # of what is no object, or holds objects: {"tasks": [{…}, …]}
        try:
            value, past = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            pass
        else:
            named = {LABELS[str(name).lower()]: item for name, item in value.items() if str(name).lower() in LABELS}
            if "instruction" in named:
                found.append(named)
                end = past
        at = text.find("{", end)
    return found


def _from_json(objects: list[dict[str, Any]], text: str, cut: bool) -> list[Block]:
    """The tasks that JSON objects hold. Where the answer was cut, what is closed is whole."""
    fields = (
        {"output": [_said(value.get("output", value.get("response")))]}
        | {label: [_said(value[label])] for label in ("instruction", "input") if label in value}
        for value in objects
    )
    found = [block for block in map(_block, fields) if block is not None]
    if cut:
        return [*found, Block("", fault="cut off")]
    return [*found, Block("", fault="broken JSON")] if len(_KEY.findall(text)) > len(objects) else found


def _said(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split(lines: list[str]) -> Iterable[dict[str, list[str]]]:
    """The answer's blocks, each a label -> lines."""
    blocks: list[dict[str, list[str]]] = [{"instruction": []}]
    label = "instruction"
    for at, line in enumerate(lines):
        found, rest = _label(lines, at)
        block = blocks[-1]
        if found == "instruction" and "output" not in block and not _HEADER.match(line):
            found = "" if _goes_on(line, block.get(label, [])) else found
        if found == "response":  # "Answer:" is a label only where an output is due; else it is part of one
            found = "output" if "output" not in block and "instruction" in block and label != "rest" else ""
        if found == "instruction":
            if label == "instruction" and not _content(block["instruction"]):
                blocks.pop()
            elif len(blocks) == 1 and list(block) == ["instruction"] and _apart(block) is block:
                blocks.pop()  # talk before the first task
            blocks.append({"instruction": [rest]})
            label = "instruction"
        elif found == "rule":
            continue
        elif found == "input" and "output" in block and not block.keys() & {"input", LATE, "rest"}:
            label = LATE
            block[LATE] = [rest]
        elif found:  # a second input or output is another instance: the first is the task
            late = found in block or "output" in block
            label = "rest" if late else found
            block.setdefault(label, []).append(rest)
            if late:
                block.pop(LATE, None)
        else:
            block.setdefault(label, []).append(line)
    return blocks


def _goes_on(line: str, before: list[str]) -> bool:
    """Whether a numbered line is the next one of a list above it: of an input that is one, say."""
    number = re.search(r"\d+", line)
    listed = next((earlier for earlier in reversed(before) if _NUMBERED.match(earlier)), "")
    last = re.search(r"\d+", listed)
    return number is not None and last is not None and int(number[0]) == int(last[0]) + 1


def _label(lines: list[str], at: int) -> tuple[str, str]:
    """(label, what stands after it) of a line, or ("", "")."""
    line = lines[at]
    if header := _HEADER.match(line):
        label, rest = LABELS[header["label"].lower()], header["rest"]
        while (inner := _HEADER.match(rest)) and LABELS[inner["label"].lower()] == label:
            rest = inner["rest"]  # "Instruction: Instruction: …"
        return label, rest
    if not (rule := _RULE.match(line) or _TITLE.match(line)) and not line.lstrip(" *#_>(")[:1].isdigit():
        return "", ""
    following = next((other for other in lines[at + 1 :] if other.strip()), "")
    after = _HEADER.match(following)
    if rule:  # between tasks; inside an output it is part of the text
        return ("rule", "") if after or _NUMBERED.match(following) or not following else ("", "")
    # "5. Name three colours." above an Input or Output line: the word Instruction was forgotten.
    if (numbered := _NUMBERED.match(line)) and after and LABELS[after["label"].lower()] in ("input", "output"):
        return "instruction", numbered["rest"]
    return "", ""


def _block(fields: dict[str, list[str]]) -> Block | None:
    """What a block's lines say, or None when they say nothing."""
    fields = _apart(fields)
    instruction, given = _content(fields.get("instruction", [])), _content(fields.get("input", fields.get(LATE, [])))
    output = _content(fields.get("output", []))
    given = "" if is_no_input(given) else given
    output = "" if _NO_OUTPUT.fullmatch(output.strip(_EDGES).lower()) else output
    if not (instruction or given or output):
        return None
    fault = ""
    if not instruction:
        fault = "no instruction"
    elif not output:
        fault = "no output"
    elif output.count("```") % 2 or given.count("```") % 2:
        fault = "open code fence"
    return Block(instruction, given, output, fault, output_first=LATE in fields and bool(given))


def _apart(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    """A block's fields, with those set apart that stand on the line of another one."""
    label = "input" if "input" in fields else "instruction"
    head, *parts = _INLINE.split("\n".join(fields.get(label, [])))
    labels = [LABELS[part.lower()] for part in parts[::2]]
    if "output" in fields or "output" not in labels or (label == "instruction" and head.rstrip()[-1:] not in _ENDS):
        return fields
    said = {name: [text] for name, text in reversed(list(zip(labels, parts[1::2], strict=True)))}
    return {**said, **fields, label: [head]}


def _content(lines: list[str]) -> str:
    """Lines as text, without the blank lines, the number and the asterisks that belong to the list around it.

    Indentation stays: it may be code. Only what all lines share goes, if none stands behind the label.
    """
    text = "\n".join(lines)
    text = text.lstrip() if lines and lines[0].strip() else textwrap.dedent(text).strip("\n")
    text = text.rstrip()
    if "\n" in text:
        text = _BARE_NUMBER.sub("", text).rstrip()
    if text.count("**") % 2 and text.startswith("**"):
        return text.removeprefix("**").lstrip()
    if text.count("**") % 2 and text.endswith("**"):
        return text.removesuffix("**").rstrip()
    return text
