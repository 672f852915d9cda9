"""Our own reading: a numbered list that the model continues, with the faults of the published ones repaired.

No stop string is a bare number, which may stand in any text; an answer that was cut never gives its last task; "no
input" is understood in all its spellings; tasks are read field by field, so a slip costs one task, not the rest;
novelty is measured in words of any script; and tasks of classification are written label first, since a model that
writes the input first writes the same label again and again (Wang et al. 2023, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from factory import Drop, Message, assistant, user
from factory.text.words import is_unspaced, words

from ..faults import fault_in_instruction, fault_in_output
from ..gates.repeated_text import repetition
from ..parsing import Block, parse_tasks, task_text
from . import Ask, Reading

LONGEST_LABEL = 3  # words; twice as many characters of unspaced scripts. One that is named may be longer

ASK = (
    "Below is a numbered list of {kind}{subject}. Each has an instruction, an input (or none, where the "
    "instruction says it all) and the correct output. Continue the list with {new}: unlike those above in topic, verb "
    "and form, short, and solvable with text alone.\n\n{shown}"
)
ASK_LABELS = (
    "Below is a numbered list of classification tasks{subject}. Each has an instruction that names the labels to "
    "choose from, one of these labels as the output, and then an input for which that label is right. Continue the "
    "list with {new}: unlike those above in topic and form, short, and solvable with text alone.\n\n{shown}"
)
MANY = (  # what a model that can write many at once can also heed
    "Every new task must differ from the others in what it asks for and how it is put: questions and requests, long "
    "and short, easy and hard, with inputs that are real text, data or code and no placeholders. Outputs are "
    "complete and correct. Write nothing but the list.\n\n"
)
ASK_CHINESE = (
    "下面是一份带编号的{kind}清单{subject}。每项任务包括指令、输入（指令本身已经完整时写“无”）和正确的输出。"
    "请续写{new}：主题、动词和形式都与上面的不同，简短，并且只靠文字就能完成。\n\n{shown}"
)
ASK_LABELS_CHINESE = (
    "下面是一份带编号的分类任务清单{subject}。每项任务包括写明可选类别的指令、作为输出的其中一个类别，"
    "以及与该类别相符的输入。请续写{new}：主题和形式都与上面的不同，简短，并且只靠文字就能完成。\n\n{shown}"
)
MANY_CHINESE = (
    "每项新任务在要求和措辞上都要有变化：有问句也有祈使句，有长有短，有难有易；输入要用真实的文字、数据或代码，"
    "不要用占位符；输出要完整、正确。除清单以外不要写别的内容。\n\n"
)
KINDS = {  # type -> what its tasks are called in a request
    "brainstorming": "tasks that ask for ideas",
    "open_qa": "questions of general knowledge",
    "closed_qa": "questions about a given text",
    "rewrite": "tasks that rewrite a given text",
    "extract": "tasks that extract something from a given text",
    "generation": "writing tasks",
    "classification": "classification tasks",
    "chat": "things people say or ask in a conversation",
    "summarization": "tasks that summarize a given text",
    "code": "programming tasks",
    "maths": "tasks of calculation and logic",
}
KINDS_CHINESE = {
    "brainstorming": "头脑风暴任务",
    "open_qa": "常识问答任务",
    "closed_qa": "根据给定材料回答问题的任务",
    "rewrite": "改写给定文字的任务",
    "extract": "从给定文字中提取信息的任务",
    "generation": "写作任务",
    "classification": "分类任务",
    "chat": "日常对话任务",
    "summarization": "概括给定文字的任务",
    "code": "编程任务",
    "maths": "计算与逻辑任务",
}


def reading(least: int, most: int, blacklist: Sequence[str]) -> Reading:
    """The default reading; `least` and `most` words of an instruction, and words that it must not have."""

    def read(answer: str, cut: bool, ask: Ask) -> Iterator[tuple[Block, Drop | None]]:
        outputs = [output for _, _, output in ask.shown]
        for block in parse_tasks(answer, cut):
            yield block, _fault(block, ask, outputs, least, most, blacklist)

    return Reading(
        "default", prompt, stop, read, shots=3, temperature=0.7, top_p=0.9, max_tokens=200,
        tokens_for_each=True, latin=False,
    )  # fmt: skip


def prompt(ask: Ask) -> list[Message]:
    """The list so far, and the beginning of its next task."""
    shown = "\n\n".join(
        task_text(at, *task, labels_first=ask.labels_first, chinese=ask.chinese) for at, task in enumerate(ask.shown, 1)
    )
    number = len(ask.shown) + 1
    if ask.chinese:
        kind = KINDS_CHINESE.get(ask.type, f"“{ask.type}”类任务" if ask.type else "各类任务")
        template = ASK_LABELS_CHINESE if ask.labels_first else ASK_CHINESE
        new, subject = f"{ask.new} 项新任务", f"，内容都与{ask.subject}有关" if ask.subject else ""
        many, begins = MANY_CHINESE, f"{number}. 指令："
    else:
        kind = KINDS.get(ask.type, f"tasks of type {ask.type}" if ask.type else "varied tasks")
        template = ASK_LABELS if ask.labels_first else ASK
        new = "one new task" if ask.new == 1 else f"{ask.new} new tasks"
        subject = f" about {ask.subject}" if ask.subject else ""
        many, begins = MANY, f"{number}. Instruction:"
    said = template.format(kind=kind, subject=subject, new=new, shown="")
    return user(said + (many if ask.new > 1 else "") + shown) + assistant(begins)


def stop(ask: Ask) -> tuple[str, ...]:
    """The head of a task beyond those asked for: its number alone may stand in any text."""
    return (f"\n{len(ask.shown) + ask.new + 1}. {'指令' if ask.chinese else 'Instruction'}",)


def _fault(block: Block, ask: Ask, outputs: list[str], least: int, most: int, blacklist: Sequence[str]) -> Drop | None:
    """Why a block is none to keep."""
    if block.fault:
        return Drop(block.fault)
    if (ask.labels_first or block.output_first) and not _is_label(block.output, block.instruction):
        return Drop("output is no label", output=block.output[:80])
    if share := repetition(block.instruction):
        return Drop("instruction repeats itself", share=round(share, 3))
    fault = fault_in_instruction(block.instruction, block.input, least, most, blacklist)
    return fault or fault_in_output(block.output, block.instruction, block.input, () if ask.labels_first else outputs)


def _is_label(output: str, instruction: str) -> bool:
    """Whether an output can be a label: it is short, or all of its words stand in the instruction."""
    tokens = words(output)
    longest = 2 * LONGEST_LABEL if is_unspaced(output) else LONGEST_LABEL
    return len(tokens) <= longest or set(tokens) <= set(words(instruction))
