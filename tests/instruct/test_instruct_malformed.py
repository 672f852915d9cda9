"""What models really answer when a list is asked for, and what becomes of each task in it."""

import pytest

from factory.instruct.parsing import parse_tasks

A, B, C = ("Add them up.", "1, 2", "3"), ("Name a bird.", "", "The wren."), ("Is it a noun?", "run", "No.")
SECOND = "\n\n5. Instruction: Name a bird.\nInput: none\nOutput: The wren."
THIRD = "\n\n6. Instruction: Is it a noun?\nInput: run\nOutput: No."
FIRST = " Add them up.\nInput: 1, 2\nOutput: 3"

# name -> (answer, was it cut, the whole tasks in it, the faults of the others)
ANSWERS = {
    "a number twice": (FIRST + SECOND + THIRD.replace("6.", "5."), False, [A, B, C], []),
    "a number left out": (FIRST + SECOND.replace("5. ", "") + THIRD, False, [A, B, C], []),
    "numbers begin again": (FIRST + SECOND.replace("5.", "1.") + THIRD.replace("6.", "2."), False, [A, B, C], []),
    "number behind the label": (FIRST + SECOND.replace("5. Instruction:", "Instruction 5:"), False, [A, B], []),
    "Task 5": (FIRST + SECOND.replace("5.", "Task 5.") + THIRD, False, [A, B, C], []),
    "numbers on all fields": (
        FIRST.replace("\n", "\n4. ") + SECOND.replace("\nI", "\n5. I").replace("\nO", "\n5. O"), False, [A, B], []),
    "brackets for dots": (FIRST + SECOND.replace("5.", "5)") + THIRD.replace("6.", "(6)"), False, [A, B, C], []),
    "no blank lines": ((FIRST + SECOND + THIRD).replace("\n\n", "\n"), False, [A, B, C], []),
    "missing output": (FIRST + SECOND.replace("Output: The wren.", "") + THIRD, False, [A, C], ["no output"]),
    "missing output line": (FIRST + SECOND.replace("\nOutput: The wren.", "") + THIRD, False, [A, C], ["no output"]),
    "missing instruction": (FIRST + SECOND.replace("Name a bird.", "") + THIRD, False, [A, C], ["no instruction"]),
    "missing input line": (FIRST + SECOND.replace("\nInput: none", "") + THIRD, False, [A, B, C], []),
    "input: none": (FIRST + SECOND.replace("none", "None."), False, [A, B], []),
    "input: no input is needed": (FIRST + SECOND.replace("none", "(No input needed)"), False, [A, B], []),
    "input: <noinput>": (FIRST + SECOND.replace("none", "<noinput>"), False, [A, B], []),
    "input: N/A": (FIRST + SECOND.replace("none", "N/A"), False, [A, B], []),
    "all in a fence": (f"```\n4. Instruction:{FIRST}{SECOND}\n```", False, [A, B], []),
    "a fence with a language": (f"```markdown\n4. Instruction:{FIRST}{SECOND}\n```\n", False, [A, B], []),
    "a fence only closed": (f"{FIRST}{SECOND}\n```", False, [A, B], []),
    "a fence in an output": (FIRST.replace("3", "```\nx = 3\n```") + SECOND, False,
                             [("Add them up.", "1, 2", "```\nx = 3\n```"), B], []),
    "an open fence": (FIRST + SECOND.replace("The wren.", "```python\nx = 1"), False, [A], ["open code fence"]),
    "fields on one line": (" Add them up. Input: 1, 2 Output: 3" + SECOND, False, [A, B], []),
    "output on the input's line": (FIRST.replace("\nOutput", " Output") + SECOND, False, [A, B], []),
    "no input, on one line": (FIRST + "\n5. Instruction: Name a bird. Output: The wren." + THIRD, False, [A, B, C], []),
    "cut in an output": (FIRST + SECOND + THIRD[:-2], True, [A, B], ["cut off"]),
    "cut at the end of an output": (FIRST + SECOND, True, [A], ["cut off"]),
    "cut in an instruction": (FIRST + SECOND + THIRD[:20], True, [A, B], ["cut off"]),
    "full-width colons": (
        " 求和。\n输入：1和2\n输出：3\n\n5．指令：说出一种鸟。\n输入：无\n输出：鹪鹩。", False,
        [("求和。", "1和2", "3"), ("说出一种鸟。", "", "鹪鹩。")], []),
    "Chinese on one line": (" 求和。输入：1和2。输出：3", False, [("求和。", "1和2。", "3")], []),
    "Chinese with ASCII colons": (" 求和。\n输入: 1和2\n答案: 3", False, [("求和。", "1和2", "3")], []),
    "a JSON list": (
        '[{"instruction": "Add them up.", "input": "1, 2", "output": 3}, {"instruction": "Name a bird.", "input": '
        'null, "output": "The wren."}]', False, [A, B], []),
    "a JSON object in a fence": (
        '```json\n{"tasks": [{"Instruction": "Add them up.", "Input": "1, 2", "Output": "3"}]}\n```', False, [A], []),
    "JSON lines, one broken": (
        '{"instruction": "Add them up.", "input": "1, 2", "output": "3"}\n{"instruction": "Name a bird", "input: "", '
        '}\n{"instruction": "Is it a noun?", "input": "run", "output": "No."}', False, [A, C], ["broken JSON"]),
    "JSON that was cut": (
        '[{"instruction": "Add them up.", "input": "1, 2", "output": "3"}, {"instruction": "Name a', True, [A],
        ["cut off"]),
    "bold and headings": (
        "\n### Task 4\n**Instruction:** Add them up.\n**Input:** 1, 2\n**Output:** 3\n\n### Task 5\n**Instruction:** "
        "Name a bird.\n**Input:** *None*\n**Output:** The wren.", False, [A, B], []),
    "talk before and rules between": (
        "Of course! Here you are:\n\n---\n4. Instruction:" + FIRST + "\n\n---" + SECOND, False, [A, B], []),
    "the label first": (
        " Is it a noun?\nOutput: No.\nInput: run\n\n5. Instruction: Name a bird.\nOutput: The wren.",
        False, [C, B], []),
    "a refusal": ("I'm sorry, but I can't help with that.", False, [], ["no output"]),
    "a table": (
        "| Instruction | Input | Output |\n|---|---|---|\n| Add them up. | 1, 2 | 3 |", False, [], ["no output"]),
    "nothing but blank lines": ("\n \n", False, [], []),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_malformed_answers(name):
    answer, cut, whole, faults = ANSWERS[name]
    found = parse_tasks(answer, cut)
    assert [(block.instruction, block.input, block.output) for block in found if not block.fault] == whole
    assert [block.fault for block in found if block.fault] == faults


def test_there_are_thirty_of_them():
    assert len(ANSWERS) >= 30
