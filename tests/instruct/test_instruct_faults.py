"""Each rule with something it must reject and something like it that it must not."""

import pytest

from factory.instruct.faults import fault_in_instruction, fault_in_output, is_no_input
from factory.instruct.gates.refusals import refusal
from factory.instruct.gates.repeated_text import repetition


def instruction_fault(instruction, given=""):
    fault = fault_in_instruction(instruction, given, 3, 150)
    return fault and fault.reason


def output_fault(output, instruction="What is it?", given="", shown=()):
    fault = fault_in_output(output, instruction, given, shown)
    return fault and fault.reason


@pytest.mark.parametrize(
    ("instruction", "given", "reason"),
    [
        ("Sort it.", "", "instruction too short"),
        ("word " * 151, "", "instruction too long"),
        ("- Sort the list.", "", "instruction starts with punctuation"),
        ("'is' or '==': which compares values?", "", None),
        ("Describe the attached file to me.", "", "beyond text"),
        ("Read a file with pathlib and map its lines.", "", None),
        ("描述这张图片的内容。", "", "beyond text"),
        ("描述春天的天气。", "", None),
        ("Summarize the following paragraph.", "", "input is missing"),
        ("Summarize the following paragraph.", "A paragraph.", None),
        ("Name the type of the following: 7 / 2", "", None),
        ("What does this code print? `print(1)`", "", None),
        ("List all files below a folder.", "", None),
        ("Sort the words below.", "", "input is missing"),
        ("Explain this function", "", "input is missing"),
        ("Write to [Your Name] about it.", "", "placeholder"),
        ("给【你的名字】写一封信。", "", "placeholder"),
        ("总结以下文章的主要内容。", "", "input is missing"),
        ("总结以下文章的主要内容。", "一篇文章。", None),
        ("把下面这两个句子翻译成英文", "", "input is missing"),
        ("把下面的句子翻译成英文：今天很好。", "", None),
        ("给定一个列表，写一个函数返回最大值。", "", None),
        ("次の文章を要約してください。", "", "input is missing"),
        ("¿Qué es un río largo?", "", None),
        ("What does items[name] return?", "", None),
        ("Is [name] a list with one element?", "", None),
        ("What is a list[str] for?", "", None),
    ],
)
def test_instructions(instruction, given, reason):
    assert instruction_fault(instruction, given) == reason


@pytest.mark.parametrize(
    ("output", "instruction", "given", "reason"),
    [
        ("...", "What is it?", "", "empty output"),
        ("+", "Which operator adds?", "", None),
        ("I'm sorry, but I can't.", "What is it?", "", "refusal"),
        ("I’m sorry, but I can’t.", "What is it?", "", "refusal"),
        ('Say "I\'m sorry" and mean it.', "How do I apologise?", "", None),
        ("抱歉，我无法回答。", "这是什么？", "", "refusal"),
        ("今天天气怎么样呢", "今天天气怎么样？", "", "echoes its question"),
        ("The answer to it is this:", "What is it?", "", "unfinished"),
        ("结果有这些：", "有哪些？", "", "unfinished"),
        (":", "Which character ends a def line?", "", "empty output"),
        ("Dear [Insert name here], hello.", "Write a letter.", "", "placeholder"),
        ("What is it?", "What is it?", "", "echoes its question"),
        ("a = 1", "Rename the variable.", "a = 1", "echoes its question"),
        (
            "def area(width: float) -> float: ...",
            "Add type hints to it.",
            "def area(width): ...",
            None,
        ),
        ("The capital of France is Paris.", "What is the capital of France?", "", None),
    ],
)
def test_outputs(output, instruction, given, reason):
    assert output_fault(output, instruction, given) == reason


def test_a_copy_of_an_example():
    shown = ["It keeps its order.", "No."]
    assert output_fault("it keeps its order", shown=shown) == "copies an example"
    assert output_fault("No.", shown=shown) is None  # short answers may agree


def test_refusals_are_looked_for_at_the_beginning():
    assert refusal('"I cannot do that."') == "i cannot do that"
    assert refusal("Well, as an AI language model I have no taste.") == "as an ai"
    assert refusal("The cat is fine. " * 30 + "I cannot") is None
    assert refusal("A person says: I cannot swim.") is None


def test_repetition():
    assert repetition("2 + 2 = 4, " * 10) > 0.4
    assert repetition("我喜欢春天，" * 10) > 0.4
    assert repetition("for row in rows:\n    print(row)\nfor cell in row:\n    print(cell)") == 0
    assert repetition("yes yes yes") == 0
    assert repetition("111111111") == 0


@pytest.mark.parametrize(
    "text",
    ["none", "None.", "N/A", "n / a", "NA", "no input", "No inputs", "NoInput", "<noinput>", "<no_input>", "(none)",
     "*None*", "[No input provided]", "No input needed", "No input required.", "no additional input is required",
     "Not applicable", "Not needed", "There is no input for this task.", "This task does not require any input.",
     "This instruction doesn't need input.", "Input not required", "Input: none", "empty", "blank", "nothing", "null",
     "-", "", "无", "无输入", "<无输入>", "（无）", "没有输入", "无需输入", "不需要输入", "无需额外输入",
     "此任务不需要任何输入。", "没有提供输入", "未提供输入", "输入为空", "不适用", "無輸入",
     "なし", "入力なし", "없음", "keine", "нет"],
)  # fmt: skip
def test_ways_to_say_no_input(text):
    assert is_no_input(text)


@pytest.mark.parametrize(
    "text",
    ["nothing to lose", "no way out", "None of them", "a", "0", "no, thank you", "inputs = []", "empty list", "无穷大",
     "没有人知道", "不需要翻译的句子", "nada mal", "none = 1", "北京", "输入法", "The input is 3."],
)  # fmt: skip
def test_inputs_that_are_some(text):
    assert not is_no_input(text)
