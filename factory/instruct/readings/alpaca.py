"""The Alpaca reading (Taori et al. 2023): three seed tasks, twenty asked for, blocks between rules of `###`.

What its prompt requires, its sampling and its filters are the published ones, known faults included: the stop string
`20.` stands in many a text, and its words are runs of a-z and digits. Only an empty output is dropped besides, and
a number that slips is passed over. The wording is ours.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence

from factory import Drop, Message, assistant, user

from ..parsing import Block
from . import Ask, Reading

BLACKLIST = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
    "go to", "video", "audio", "music", "flowchart", "diagram",
)  # fmt: skip
LEAST, MOST = 4, 150  # words of an instruction
NO_INPUT = "<noinput>"
STOP = ("\n20", "20.")
NEW = 20

ASK = """Write {new} tasks for a language model, each with an instruction, an input and an output. We will look at how \
well the model does them. They must be as follows.
1. As varied as you can make them; hardly any verb should begin two instructions.
2. Put in various ways: some are questions, others are commands.
3. Of various kinds: free writing, sorting into classes, editing a text, and so on.
4. Within reach of a model that reads and writes text. It neither sees nor makes pictures or sound, and it cannot act \
in the world: no alarms, no reminders.
5. In English.
6. One or two sentences for an instruction, which is a command or a question.
7. A fitting input for an instruction that needs one: a concrete example with real data, never a stand-in for one, \
rich enough to make the task hard, and preferably at most 100 words.
8. No input where the instruction says it all, as with a question of general knowledge such as how long the Nile is. \
Then put "<noinput>" in its place.
9. An output that is a good answer to the instruction with its input, in fewer than 100 words.

The {new} tasks:
"""
_LABEL = re.compile(r"(?:^|\n)\s*(?:\d{1,3}\s*\.\s*)?(Instruction|Input|Output)\s*[:：]")
_WORD = {phrase: re.compile(rf"\b{phrase}\b", re.IGNORECASE) for phrase in BLACKLIST}


def prompt(ask: Ask) -> list[Message]:
    """The requirements, the tasks shown, and the beginning of the next."""
    blocks = [
        f"###\n{at}. Instruction: {' '.join(instruction.split()).rstrip(':')}\n{at}. Input:\n{given or NO_INPUT}\n"
        f"{at}. Output:\n{output}\n"
        for at, (instruction, given, output) in enumerate(ask.shown, 1)
    ]
    text = ASK.format(new=ask.new) + "".join(blocks)
    return user(text) + assistant(f"###\n{len(ask.shown) + 1}. Instruction:")


def blocks(answer: str, cut: bool) -> Iterator[Block]:
    """What stands between rules, with why it is no task; the last block of an answer that was cut is none."""
    parts = re.split(r"\s*#{3,}[ \t]*(?=\n|\Z|\d)", answer.replace("\r\n", "\n"))
    for at, part in enumerate(parts):
        if not part.strip():
            continue
        block = fields(part, first=at == 0)
        if cut and at == len(parts) - 1:
            block = Block(block.instruction, block.input, block.output, "cut off")
        yield block


def fields(part: str, first: bool) -> Block:
    """A block whose three fields stand in order; the `first` one goes on from "Instruction:"."""
    found = _LABEL.split(part)
    if first and found[0].strip() and found[1:2] != ["Instruction"]:
        found = ["", "Instruction", *found]
    labels, texts = found[1::2], [text.strip() for text in found[2::2]]
    if labels != ["Instruction", "Input", "Output"]:
        return Block("", "", part.strip(), "not three fields")
    given = "" if texts[1].lower() == NO_INPUT else texts[1]
    return Block(texts[0], given, texts[2], "" if texts[2] else "no output")


def fault(instruction: str, blacklist: Sequence[str] = BLACKLIST) -> Drop | None:
    """Why an instruction is dropped."""
    size = len(instruction.split())
    if size < LEAST:
        return Drop("instruction too short", words=size)
    if size > MOST:
        return Drop("instruction too long", words=size)
    if phrase := next((phrase for phrase in blacklist if _WORD[phrase].search(instruction)), None):
        return Drop("beyond text", phrase=phrase)
    if instruction.startswith("Write a program"):
        return Drop("asks for a program")
    if instruction[0] in string.punctuation:
        return Drop("instruction starts with punctuation", character=instruction[0])
    if not instruction[0].isascii():
        return Drop("instruction is not English", character=instruction[0])
    return None


def read(answer: str, cut: bool, ask: Ask) -> Iterator[tuple[Block, Drop | None]]:
    """Every task of an answer, and why it is dropped."""
    for block in blocks(answer, cut):
        yield block, Drop(block.fault) if block.fault else fault(block.instruction)


READING = Reading("alpaca", prompt, lambda ask: STOP, read, per_request=NEW)
