"""Tasks out of what a model wrote, through the slips of small ones; and tasks as the text a model is shown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

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
}
NUMBER = r"(?:\(?\d{1,3}\s?[.):\]、]\s?)"
DECORATION = r"[*_#>`\s]{0,8}"
_HEADER = re.compile(
    rf"^{DECORATION}(?:task\s?)?{NUMBER}?{DECORATION}"
    rf"(?P<label>{'|'.join(sorted(LABELS, key=len, reverse=True))})"
    r"(?:\s?\d{1,3})?[*_`]{0,3}\s?[:：][*_`]{0,3}(?P<rest>.*)$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(rf"^{DECORATION}{NUMBER}{DECORATION}(?P<rest>\w.*)$")
_RULE = re.compile(r"^\s*(?:#{3,}|-{3,}|\*{3,}|={3,}|_{3,})\s*$")
_BARE_NUMBER = re.compile(rf"(?:\n|^)\s*(?:\*\*|#{{1,4}} ?)?{NUMBER}\s*$")
_END = re.compile(r"<\|?(?:im_end|im_start|endoftext|eot_id|end_of_text)\|?>|</s>")
_NO_INPUT = re.compile(
    r"(?:there (?:is|was) )?(?:no|none|not|without|nil|null|empty|nothing|n ?/? ?a)?"
    r"(?: an?y?| additional| specific| further)*"
    r"(?: ?inputs?)?(?: (?:is|was|data|text))*(?: ?(?:needed|required|provided|given|necessary|available|applicable))?"
    r"(?: (?:for|in) this (?:task|instruction))?"
    r"|(?:this|the) (?:task|instruction) (?:does not|doesn't) (?:require|need)(?: an?y?)?(?: additional)? inputs?"
    r"|inputs? (?:is )?not (?:needed|required|provided|given|necessary|applicable)"
    r"|无|无输入|没有输入|没有|无需输入|不需要输入|なし|入力なし"
)
_NO_OUTPUT = re.compile(r"|none|no ?output|n/a|none (?:needed|required|provided)|输出|无输出")
_EDGES = " \t\n\r.,;:!-–—_*`'\"“”()[]<>{}。"


@dataclass(frozen=True)
class Block:
    """One task as it stands in an answer. `fault` is a countable reason why it is none, or empty."""

    instruction: str
    input: str = ""
    output: str = ""
    fault: str = ""


def task_text(number: int, instruction: str, given: str, output: str) -> str:
    """A task as a model is shown it, in the form `parse_tasks` reads back."""
    return f"{number}. Instruction: {instruction}\nInput: {given or 'none'}\nOutput: {output}"


def parse_tasks(answer: str, cut: bool = False) -> list[Block]:
    """The tasks in an answer that goes on from "Instruction:" or says so itself, in order, faulty ones included.

    `cut` says that the answer ended by its length limit: its last block is then never one to keep, however complete
    it looks. Numbers need not be right, nor there; bold labels, rules between tasks, a missing Input line, talk before
    the first task and a number left at the end are passed over. Never raises.
    """
    if end := _END.search(answer):
        answer, cut = answer[: end.start()], False
    lines = answer.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks = [_block(fields) for fields in _split(lines)]
    found = [block for block in blocks if block is not None]
    if cut and found:
        found[-1] = Block(found[-1].instruction, found[-1].input, found[-1].output, "cut off")
    return found


def _split(lines: list[str]) -> Iterable[dict[str, list[str]]]:
    """The answer's blocks, each a label -> lines."""
    blocks: list[dict[str, list[str]]] = [{"instruction": []}]
    label = "instruction"
    for at, line in enumerate(lines):
        found, rest = _label(lines, at)
        block = blocks[-1]
        if found == "response":  # "Answer:" is a label only where an output is due; else it is part of one
            found = "output" if "output" not in block and "instruction" in block and label != "rest" else ""
        if found == "instruction":
            if label == "instruction" and not _content(block["instruction"]):
                blocks.pop()
            elif len(blocks) == 1 and list(block) == ["instruction"]:
                blocks.pop()  # talk before the first task
            blocks.append({"instruction": [rest]})
            label = "instruction"
        elif found == "rule":
            continue
        elif found:  # a second input or output is another instance: the first is the task
            late = found in block or "output" in block
            label = "rest" if late else found
            block.setdefault(label, []).append(rest)
        else:
            block.setdefault(label, []).append(line)
    return blocks


def _label(lines: list[str], at: int) -> tuple[str, str]:
    """(label, what stands after it) of a line, or ("", "")."""
    line = lines[at]
    if header := _HEADER.match(line):
        label, rest = LABELS[header["label"].lower()], header["rest"]
        while (inner := _HEADER.match(rest)) and LABELS[inner["label"].lower()] == label:
            rest = inner["rest"]  # "Instruction: Instruction: …"
        return label, rest
    if not (rule := _RULE.match(line)) and not line.lstrip(" *#_>(")[:1].isdigit():
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
    instruction, given = _content(fields.get("instruction", [])), _content(fields.get("input", []))
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
    return Block(instruction, given, output, fault)


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


def is_no_input(text: str) -> bool:
    """Whether a model said, in one of its many ways, that a task has no input."""
    plain = " ".join(text.strip(_EDGES).lower().replace("’", "'").split())
    return len(plain) < 80 and _NO_INPUT.fullmatch(plain) is not None
