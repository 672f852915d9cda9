"""Tasks read out of answers as small models really write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.instruct.faults import is_no_input
from factory.instruct.parsing import Block, parse_tasks, task_text


def told(answer, cut=False):
    return [(block.instruction, block.input, block.output) for block in parse_tasks(answer, cut) if not block.fault]


def faults(answer, cut=False):
    return [block.fault for block in parse_tasks(answer, cut)]


ONE = [("Name a prime.", "", "Seven.")]
CATALOGUE = {
    "continued": (" Name a prime.\nInput: none\nOutput: Seven.", ONE),
    "said again": ("4. Instruction: Name a prime.\nInput: none\nOutput: Seven.", ONE),
    "label twice": (" Instruction: Name a prime.\nInput: none\nOutput: Seven.", ONE),
    "talk before": ("Sure! Here is a new task:\n\n4. Instruction: Name a prime.\nInput: N/A\nOutput: Seven.", ONE),
    "bold labels": ("**4. Instruction:** Name a prime.\n**Input:** *none*\n**Output:** Seven.", ONE),
    "bold inside the colon": ("**Instruction**: Name a prime.\n**Input**: none\n**Output**: Seven.", ONE),
    "headings": ("### Instruction:\nName a prime.\n\n### Input:\n<noinput>\n\n### Output:\nSeven.", ONE),
    "no input line": (" Name a prime.\nOutput: Seven.", ONE),
    "empty input": (" Name a prime.\nInput:\nOutput: Seven.", ONE),
    "lower case": (" Name a prime.\ninput: No input needed.\noutput: Seven.", ONE),
    "spaced colon": (" Name a prime.\nInput : none\nOutput : Seven.", ONE),
    "answer for output": (" Name a prime.\nInput: none\nAnswer: Seven.", ONE),
    "number left behind": (" Name a prime.\nInput: none\nOutput: Seven.\n\n5.", ONE),
    "bold number left behind": (" Name a prime.\nInput: none\nOutput: Seven.\n\n**5. ", ONE),
    "end token": (" Name a prime.\nInput: none\nOutput: Seven.<|im_end|>\nassistant Output: no", ONE),
    "rule at the end": (" Name a prime.\nInput: none\nOutput: Seven.\n\n---", ONE),
    "second instance": (" Name a prime.\nInput: none\nOutput: Seven.\nInput: twelve\nOutput: No.", ONE),
    "windows lines": (" Name a prime.\r\nInput: none\r\nOutput: Seven.\r\n", ONE),
    "chinese labels": ("指令：说出一个质数。\n输入：无\n输出：七。", [("说出一个质数。", "", "七。")]),
    "numbers slip": (
        " A one.\nOutput: a.\n\n4. Instruction: B two.\nOutput: b.\n\n9) Instruction: C three.\nOutput: c.",
        [("A one.", "", "a."), ("B two.", "", "b."), ("C three.", "", "c.")],
    ),
    "one slip spares the rest": (
        " A one.\nInput: x\n\n5. Instruction: B two.\nInput: y\nOutput: b.",
        [("B two.", "y", "b.")],
    ),
    "rules between": (
        " A one.\nOutput: a.\n\n###\n\n5. Instruction: B two.\nOutput: b.\n###\n6. Instruction: C three.\nOutput: c.",
        [("A one.", "", "a."), ("B two.", "", "b."), ("C three.", "", "c.")],
    ),
    "label forgotten": (
        " A one.\nOutput: a.\n\n5. B two.\nInput: y\nOutput: b.",
        [("A one.", "", "a."), ("B two.", "y", "b.")],
    ),
    "numbers of its own": (
        " List two steps.\nInput: none\nOutput: 1. Boil water.\n2. Add tea.\n\nIt takes 20. seconds.",
        [("List two steps.", "", "1. Boil water.\n2. Add tea.\n\nIt takes 20. seconds.")],
    ),
    "a quiz": (
        " Make up a quiz.\nInput: none\nOutput: Question: What is 1 + 1?\nAnswer: 2",
        [("Make up a quiz.", "", "Question: What is 1 + 1?\nAnswer: 2")],
    ),
    "rule inside": (
        " Draw a line.\nOutput: above\n---\nbelow",
        [("Draw a line.", "", "above\n---\nbelow")],
    ),
    "code keeps its indentation": (
        " Write f.\nInput: none\nOutput:\n    def f():\n        return 1\n",
        [("Write f.", "", "def f():\n    return 1")],
    ),
    "code behind the label": (
        " Write f.\nOutput: def f():\n    return 1",
        [("Write f.", "", "def f():\n    return 1")],
    ),
    "fenced code": (
        " Write f.\nOutput:\n```python\nf = 1\n```\n\n5. Instruction:",
        [("Write f.", "", "```python\nf = 1\n```")],
    ),
    "bold text of its own": (" Name it.\nOutput: It is **bold** here", [("Name it.", "", "It is **bold** here")]),
    "long input": (
        " Sum up.\nInput: First line.\n\nSecond line.\nOutput: Lines.",
        [("Sum up.", "First line.\n\nSecond line.", "Lines.")],
    ),
    "empty output": (
        " Name a prime.\nInput: none\nOutput:\n\n5. Instruction: B two.\nOutput: b.",
        [("B two.", "", "b.")],
    ),
    "none as output": (" Name a prime.\nInput: none\nOutput: None", []),
    "nothing": ("", []),
    "only talk": ("I would be happy to help you with that", []),
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue(name):
    answer, expected = CATALOGUE[name]
    assert told(answer) == expected


def test_faults_are_named():
    assert faults(" A one.\nInput: x") == ["no output"]
    assert faults("\nOutput: a") == ["no instruction"]
    assert faults(" A one.\nOutput: ```python\nx = 1") == ["open code fence"]
    assert faults(" A one.\nOutput: a.\n\n5. Instruction: B two.\nOutput: b.", cut=True) == ["", "cut off"]
    assert faults(" A one.\nOutput: a. And th", cut=True) == ["cut off"]


def test_an_answer_with_an_end_token_is_not_cut():
    assert faults(" A one.\nOutput: a.<|im_end|>", cut=True) == [""]


def test_a_task_is_read_back_as_it_is_shown():
    answer = "\n\n".join([task_text(4, "A one.", "", "a"), task_text(5, "B two.", "y\n  z", "b\n\nb")])
    assert told(answer) == [("A one.", "", "a"), ("B two.", "y\n  z", "b\n\nb")]


def test_a_list_in_an_input_is_no_task():
    given = "1. Shock study\n2. Mayor in trouble"
    (block,) = parse_tasks(task_text(5, "Make these headlines neutral.", given, "1. A study\n2. The mayor"))
    assert (block.input, block.output, block.fault) == (given, "1. A study\n2. The mayor", "")
    counted = task_text(1, "Count.", "", "1. one\n2. two")
    one, two = parse_tasks(f"{counted}\n\n3. Name a colour.\nInput: none\nOutput: red")
    assert (one.output, two.instruction, two.output) == ("1. one\n2. two", "Name a colour.", "red")


@pytest.mark.parametrize(
    "text",
    ["none", "None.", "N/A", "n / a", "no input", "No inputs", "NoInput", "<noinput>", "(none)", "*None*",
     "[No input provided]", "No input needed", "No input required.",
     "no additional input is required", "Not applicable", "Not needed",
     "There is no input", "There is no input for this task.",
     "This task does not require any input.", "Input not required",
     "No specific input", "empty", "nothing", "null", "-", "", "无输入", "无", "なし"],
)  # fmt: skip
def test_ways_to_say_no_input(text):
    assert is_no_input(text)


@pytest.mark.parametrize(
    "text", ["nothing to lose", "no way out", "None of them", "a", "0", "no, thank you", "inputs = []", "empty list"]
)
def test_inputs_that_are_some(text):
    assert not is_no_input(text)


pieces = st.sampled_from(
    ["Instruction:", "Input:", "Output:", "4. ", "5.", "**", "###", "---", "```", "\n", "\n\n", " ", "none", "N/A",
     "Name a prime.", "Answer:", "<|im_end|>", "指令：", "输出：", "    x = 1", "20.", "#", ":",
     "Task 3", "(", "\r", "\u2028"]
)  # fmt: skip
answers = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join))


@given(answers, st.booleans())
def test_what_is_kept_is_whole(answer, cut):
    blocks = parse_tasks(answer, cut)
    for block in blocks:
        assert isinstance(block, Block)
        if not block.fault:
            assert block.instruction.strip()
            assert block.output.strip()
            assert block.output in answer or "\n" in block.output  # lines may be dedented, never invented
    if cut and blocks and "<|im_end|>" not in answer and "</s>" not in answer:
        assert blocks[-1].fault == "cut off"


sentences = st.lists(
    st.sampled_from(["why", "seven", "20.", "(a)", "x = [1]", "**bold**"]), min_size=1, max_size=6
).map(" ".join)


@given(st.lists(st.tuples(sentences, sentences, sentences), min_size=1, max_size=4), st.data())
def test_a_cut_answer_gives_the_tasks_before_the_cut(tasks, data):
    answer = "\n\n".join(task_text(number, *task) for number, task in enumerate(tasks, 4))
    assert told(answer) == tasks
    kept = told(answer[: data.draw(st.integers(0, len(answer)))], cut=True)
    assert kept == tasks[: len(kept)]
    assert len(kept) < len(tasks)
