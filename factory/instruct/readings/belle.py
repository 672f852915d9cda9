"""The BELLE reading (Ji et al. 2023): Alpaca in Chinese, ten tasks of nine named types, novelty by BM25.

What its prompt requires, its sampling and its filters are the published ones; its index of known instructions holds
the seeds alone, as published. BELLE cut words with BLOOMZ's tokenizer; here they are characters. The wording is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory import Drop, Message, assistant, user

from ..parsing import Block
from . import Ask, Reading
from .alpaca import STOP

TYPES = (
    "brainstorming", "open QA", "closed QA", "rewrite", "extract", "generation", "classification", "chat",
    "summarization",
)  # fmt: skip
BLACKLIST = (
    "图像", "图片", "照片", "文件", "图表", "图层", "曲线图", "折线图", "直线图", "柱形图", "饼状图", "链接", "http",
    "OpenAI", "chatgpt", "gpt-3", "gpt-3.5", "gpt-4",
)  # fmt: skip
LEAST = 4  # characters of an instruction
MOST, MOST_WITH_EXAMPLES = 99, 149  # characters of an instruction that has an input
EXAMPLES = ("示例", "例子")
NO_INPUT = "<无输入>"
NOVELTY = 18.0  # BM25
NEW = 10

ASK = """请写出{new}项互不相同的任务，交给一个语言模型去做，我们要看它做得怎么样。\
每项任务由指令、输入和输出组成，要求如下：
1. 各条指令所用的动词尽可能不重复，内容尽可能多样。
2. 说法要有变化，既有问句，也有祈使句。
3. 任务种类要多，例如{types}。
4. 必须是只会读写文字的模型做得到的事。它不能生成或查看图片、音频和视频，不能打开链接，\
也不能替人定闹钟、设提醒或做其他动作。
5. 指令用中文写，一到两句话，问句或祈使句均可。
6. 需要输入的指令，要配上合适的输入：用真实的资料给出具体的例子，不用占位符，内容充实，让任务有一定难度。
7. 不是每条指令都需要输入。比如问“尼罗河有多长”这样的常识时，指令本身已经完整，输入处写“<无输入>”。
8. 输出要切合指令和输入，是一个恰当的回答。

以下是这{new}项任务：
"""
# Words by which an instruction addresses the model instead of saying what to do. The longest are taken first.
ADDRESSES = tuple(
    sorted(
        {
            *(f"{head}GPT{kind}能够" for head in ("要求", "希望", "以便", "使得", "使") for kind in ("模型", "")),
            *(
                f"{head}GPT{kind}"
                for head in ("要求", "让", "使用", "请向", "请求", "请", "请让", "训练")
                for kind in ("模型", "")
            ),
            *(f"GPT{kind}{tail}" for kind in ("模型", "") for tail in ("应", "应该", "需要")),
            "需要GPT模型回答", "需要GPT回答", "由GPT模型", "使GPT模型",
        },
        key=lambda phrase: (-len(phrase), phrase),
    )
)  # fmt: skip
_LABEL = re.compile(r"(?:\d{1,3}\s*[.、．]\s*)?(指令|输入|输出)[:：]")
_NUMBER = re.compile(r"\d+[.、．]\s*\Z")


def prompt(ask: Ask) -> list[Message]:
    """The requirements, the tasks shown, and the beginning of the next."""
    blocks = [
        f"###\n{at}. 指令: {' '.join(instruction.split()).rstrip(':：')}\n{at}. 输入:\n{given or NO_INPUT}\n"
        f"{at}. 输出:\n{output}\n"
        for at, (instruction, given, output) in enumerate(ask.shown, 1)
    ]
    text = ASK.format(new=ask.new, types="、".join(TYPES)) + "".join(blocks)
    return user(text) + assistant(f"###\n{len(ask.shown) + 1}. 指令:")


def blocks(answer: str, cut: bool) -> Iterator[tuple[Block, str]]:
    """(task, what it was read from) of everything between rules; a task that another one is glued to ends there."""
    if not re.match(r".{0,7}指令[:：]", answer, re.DOTALL):
        answer = f"指令:{answer}"
    parts = answer.replace("\r\n", "\n").split("###")
    for at, part in enumerate(parts):
        if not part.strip():
            continue
        block = fields(part)
        if cut and at == len(parts) - 1:
            block = Block(block.instruction, block.input, block.output, "cut off")
        yield block, part


def fields(part: str) -> Block:
    """The first task in a part of an answer: an instruction, an input and an output, in this order."""
    found = _LABEL.split(part)
    labels, texts = found[1:7:2], [_NUMBER.sub("", text.strip()).strip() for text in found[2:7:2]]
    if labels != ["指令", "输入", "输出"] or not texts[0]:
        return Block("", "", part.strip(), "not three fields")
    given = "" if "无输入" in texts[1] else texts[1]
    return Block(without_address(texts[0]), given, texts[2], "" if texts[2] else "no output")


def without_address(instruction: str) -> str:
    """An instruction without the words that address a GPT model."""
    for phrase in ADDRESSES:
        instruction = instruction.replace(phrase, "")
    return instruction.strip()


def fault(block: Block, part: str) -> Drop | None:
    """Why a task is dropped; `part` is all of it as it stood in the answer."""
    if phrase := next((phrase for phrase in BLACKLIST if phrase in part), None):
        return Drop("beyond text", phrase=phrase)
    if block.fault:
        return Drop(block.fault)
    size = len(block.instruction)
    if size < LEAST:
        return Drop("instruction too short", characters=size)
    if "GPT" in block.instruction or "GPT" in block.input:
        return Drop("speaks of a GPT model")
    most = MOST_WITH_EXAMPLES if any(word in block.instruction for word in EXAMPLES) else MOST
    if block.input and size > most:
        return Drop("instruction too long", characters=size)
    return None


def read(answer: str, cut: bool, ask: Ask) -> Iterator[tuple[Block, Drop | None]]:
    """Every task of an answer, and why it is dropped."""
    for block, part in blocks(answer, cut):
        yield block, fault(block, part)


READING = Reading(
    "belle", prompt, lambda ask: STOP, read, per_request=NEW, likeness="bm25", novelty=NOVELTY, grows=False
)
