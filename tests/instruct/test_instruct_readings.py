"""The published readings: what their prompts require, how they are sampled, and each filter at its boundary."""

import string
from pathlib import Path

import pytest

from factory import Drop
from factory.instruct.parsing import Block
from factory.instruct.pool import ByBm25, ByRouge, latin_words
from factory.instruct.readings import Ask, alpaca, belle, default, reading_of
from factory.instruct.readings import self_instruct as wang

GOLDEN = Path(__file__).parent / "golden"
ENGLISH = (
    ("Name the planets that have rings.", "", "Jupiter, Saturn, Uranus and Neptune."),
    ("Translate the sentence into French:", "The bread is still warm.", "Le pain est encore chaud."),
    ("How many legs do three spiders have?", "", "24"),
)
LABELLED = (
    ("Is the review positive or negative?", "The soup was cold.", "negative"),
    ("Say whether the number is odd or even.", "18", "even"),
)
CHINESE = (
    ("列出有光环的行星。", "", "木星、土星、天王星和海王星。"),
    ("把句子翻译成英文：", "面包还是热的。", "The bread is still warm."),
    ("三只蜘蛛一共有几条腿？", "", "24条"),
)
ASKS = {
    "default": Ask(ENGLISH, 1, subject="kitchens"),
    "default_many": Ask(ENGLISH, 20, type="code"),
    "default_labels": Ask(LABELLED, 1, type="classification", labels_first=True),
    "default_chinese": Ask(CHINESE, 5, subject="厨房", type="open_qa", chinese=True),
    "default_chinese_labels": Ask(
        (("这句话是褒义还是贬义？", "汤是凉的。", "贬义"),), 1, type="classification", labels_first=True, chinese=True
    ),
    "alpaca": Ask(ENGLISH, 20),
    "belle": Ask(CHINESE, 10),
    "self_instruct": Ask(ENGLISH, 7),
}


def whole(messages):
    return "".join(f"[{message['role']}]\n{message['content']}\n" for message in messages)


@pytest.mark.parametrize("name", ASKS)
def test_the_whole_prompt(name):
    reading = reading_of(name.split("_")[0] if name.startswith("default") else name)
    told = f"{whole(reading.prompt(ASKS[name]))}[stop]\n{reading.stop(ASKS[name])!r}\n"
    assert told == (GOLDEN / f"{name}.txt").read_text()


SEEDS = [("Is the mail spam?", True), ("Name a river.", False)]
FURTHER = {
    "whether": lambda: wang.whether("Is the sentence true or false?", SEEDS),
    "instances": lambda: wang.instances("Name a lake.", False, [[ENGLISH[0]], [ENGLISH[1], ENGLISH[1]]]),
    "labels": lambda: wang.instances("Is it food or not?", True, [list(LABELLED)]),
}


@pytest.mark.parametrize("name", FURTHER)
def test_the_further_requests_of_self_instruct(name):
    assert whole(FURTHER[name]()) == (GOLDEN / f"self_instruct_{name}.txt").read_text()


@pytest.mark.parametrize(
    "fact",
    ["20 tasks", "hardly any verb", "questions", "commands", "classes", "editing", "pictures or sound", "cannot act",
     "reminders", "In English", "One or two sentences", "concrete example",
     "real data", "stand-in", "at most 100 words",
     '"<noinput>"', "fewer than 100 words"],
)  # fmt: skip
def test_what_alpaca_requires(fact):
    assert fact in whole(alpaca.prompt(ASKS["alpaca"]))


@pytest.mark.parametrize(
    "fact",
    ["10项", "动词尽可能不重复", "问句", "祈使句", *belle.TYPES, "图片、音频和视频", "打开链接", "闹钟", "提醒",
     "用中文写", "一到两句话", "真实的资料", "不用占位符", "内容充实", "“<无输入>”", "恰当的回答"],
)  # fmt: skip
def test_what_belle_requires(fact):
    assert fact in whole(belle.prompt(ASKS["belle"]))
    assert len(belle.TYPES) == 9


def test_how_they_are_sampled():
    found = {
        name: (
            one.shots, one.machine_shots, one.per_request, one.temperature, one.top_p, one.presence_penalty,
            one.max_tokens, one.likeness, one.novelty, one.latin, one.grows,
        )
        for name, one in ((name, reading_of(name)) for name in ("alpaca", "belle", "self_instruct"))
    }  # fmt: skip
    assert found == {
        "alpaca": (3, 0, 20, 1.0, 1.0, 0.0, 3072, "rouge_l", 0.7, True, True),
        "belle": (3, 0, 10, 1.0, 1.0, 0.0, 3072, "bm25", 18.0, True, False),
        "self_instruct": (6, 2, 7, 0.7, 0.5, 2.0, 1024, "rouge_l", 0.7, True, True),
    }
    assert (wang.WHETHER["temperature"], wang.WHETHER["max_tokens"]) == (0, 3)
    assert (wang.INSTANCES["temperature"], wang.INSTANCES["presence_penalty"]) == (0, 1.5)
    assert (wang.INSTANCE_TOKENS, wang.LABEL_TOKENS, wang.MOST_INSTANCES) == (350, 300, 5)
    assert reading_of("alpaca").stop(ASKS["alpaca"]) == ("\n20", "20.")
    assert reading_of("self_instruct").stop(ASKS["self_instruct"]) == ("\n\n", "\n16", "16.", "16 .")


def test_no_stop_of_ours_is_a_number():
    for name, ask in ASKS.items():
        if name.startswith("default"):
            assert all(word.rstrip("0123456789. \n") for word in default.stop(ask))


def reason(fault):
    return fault.reason if fault is not None else None


WORDS = "Sort " + "apples " * 148


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Sort the apples", "instruction too short"),
        ("Sort the red apples", None),
        (f"{WORDS}now", None),
        (f"{WORDS}now then", "instruction too long"),
        ("Write a program that sorts", "asks for a program"),
        ("Write a programme that sorts", "asks for a program"),
        ("write a program that sorts", None),
        ("Now write a program that sorts", None),
        ("'Sort the red apples'", "instruction starts with punctuation"),
        ("$5 is how much?", "instruction starts with punctuation"),
        ("5 dollars is how much?", None),
        ("Éclairs are made how?", "instruction is not English"),
        ("Eclairs are made how, café?", None),
    ],
)
def test_filters_of_alpaca_at_their_bounds(instruction, expected):
    assert reason(alpaca.fault(instruction)) == expected
    assert reason(alpaca.fault(instruction, wang.BLACKLIST)) == expected


@pytest.mark.parametrize("mark", string.punctuation)
def test_every_mark_of_punctuation_at_the_beginning(mark):
    assert reason(alpaca.fault(f"{mark}sort the red apples")) == "instruction starts with punctuation"


@pytest.mark.parametrize("word", alpaca.BLACKLIST)
def test_the_blacklist_of_alpaca_is_of_whole_words(word):
    assert alpaca.fault(f"Please {word.upper()} the red apples") == Drop("beyond text", phrase=word)
    assert alpaca.fault(f"Please x{word} the red apples") is None
    assert alpaca.fault(f"Please {word}x the red apples") is None
    assert reason(alpaca.fault(f"Please {word} the apples", wang.BLACKLIST)) == (
        "beyond text" if word in wang.BLACKLIST else None
    )


def test_the_blacklists_have_their_published_sizes():
    assert (len(alpaca.BLACKLIST), len(wang.BLACKLIST), len(belle.BLACKLIST)) == (18, 13, 18)


def judged(instruction, given="", output="好"):
    return reason(belle.fault(Block(instruction, given, output), f"{instruction}{given}{output}"))


@pytest.mark.parametrize(
    ("instruction", "given", "expected"),
    [
        ("写首诗", "", "instruction too short"),
        ("写一首诗", "", None),
        ("写" * 99, "春天", None),
        ("写" * 100, "春天", "instruction too long"),
        ("写" * 100, "", None),
        ("示例" + "写" * 147, "春天", None),
        ("示例" + "写" * 148, "春天", "instruction too long"),
        ("例子" + "写" * 147, "春天", None),
        ("说说GPT的历史", "", "speaks of a GPT model"),
        ("概括这段文字", "GPT是什么", "speaks of a GPT model"),
        ("说说gpt的历史", "", None),
    ],
)
def test_filters_of_belle_at_their_bounds(instruction, given, expected):
    assert judged(instruction, given) == expected


@pytest.mark.parametrize("phrase", belle.BLACKLIST)
def test_the_blacklist_of_belle_is_of_parts_of_the_whole_example(phrase):
    assert judged(f"说说{phrase}的历史") == "beyond text"
    assert judged("说说它的历史", phrase) == "beyond text"
    assert judged("说说它的历史", "", f"这是x{phrase}x") == "beyond text"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("要求GPT模型能够写一首诗", "写一首诗"),
        ("要求GPT写一首诗", "写一首诗"),
        ("请让GPT模型写一首诗", "写一首诗"),
        ("让GPT写一首诗", "写一首诗"),
        ("GPT应该写一首诗", "写一首诗"),
        ("GPT模型需要写一首诗", "写一首诗"),
        ("训练GPT模型写一首诗", "写一首诗"),
        ("以便GPT能够写一首诗", "写一首诗"),
        ("由GPT模型写一首诗", "写一首诗"),
        ("需要GPT模型回答的问题", "的问题"),
        ("说说GPT的历史", "说说GPT的历史"),
    ],
)
def test_belle_takes_away_words_that_address_a_model(said, kept):
    assert belle.without_address(said) == kept
    ((block, _),) = belle.blocks(f" {said}\n输入: <无输入>\n输出: 好", False)
    assert block.instruction == kept


def test_novelty_of_alpaca_at_its_bound():
    known = ByRouge(0.7, latin_words)
    known.add("seed", "a b c d e f g x y z")
    assert known.fault("a b c d e f g h i j") is None  # 7 of 10 and 10: .7
    assert reason(known.fault("a b c d e f g h i")) == "not novel"  # 14 / 19
    assert known.fault("说出一个质数") is None
    known.add("chinese", "说出一个质数")
    assert known.fault("说出一个质数") is None  # as published: the filter is off for what is not Latin


def test_novelty_of_belle_at_its_bound():
    known = ByBm25(0.0, grows=False)
    for number in range(40):
        known.add(f"seed {number}", f"第{number}个任务是关于动物的" if number else "列出三种会飞的鱼")
    _, score = known.index.best(list("列出三种会飞的鱼"))
    assert 18 < score < 40
    known.threshold = score
    assert known.fault("列出三种会飞的鱼") is None  # no more than the threshold
    known.threshold = score - 1e-9
    assert known.fault("列出三种会飞的鱼") == Drop("not novel", of="seed 0", bm25=round(score, 2))
    known.grow("more", "画出五条河流")
    assert len(known.index) == 40


ALPACA = {
    "well formed": (
        " Name a prime.\n4. Input:\n<noinput>\n4. Output:\nSeven.\n###\n5. Instruction: Add them.\n5. Input:\n1, 2\n"
        "5. Output:\n3\n",
        [("Name a prime.", "", "Seven.", ""), ("Add them.", "1, 2", "3", "")],
    ),
    "numbers slip": (
        " A.\n4. Input:\nx\n4. Output:\na\n###\n4. Instruction: B.\n6. Input:\nx\n7. Output:\nb\n###\nInstruction: C.\n"
        "Input: x\nOutput: c",
        [("A.", "x", "a", ""), ("B.", "x", "b", ""), ("C.", "x", "c", "")],
    ),
    "said again": (
        "###\n4. Instruction: A.\n4. Input:\nx\n4. Output:\na",
        [("A.", "x", "a", "")],
    ),
    "talk before": (
        "Sure!\n4. Instruction: A.\n4. Input:\nx\n4. Output:\na",
        [("A.", "x", "a", "")],
    ),
    "no input field": (
        " A.\n4. Output:\na\n###\n5. Instruction: B.\n5. Input:\n<NOINPUT>\n5. Output:\nb",
        [("", "", "A.\n4. Output:\na", "not three fields"), ("B.", "", "b", "")],
    ),
    "a field twice": (
        " A.\n4. Input:\nx\n4. Output:\na\n4. Output:\nb",
        [("", "", "A.\n4. Input:\nx\n4. Output:\na\n4. Output:\nb", "not three fields")],
    ),
    "wrong order": (
        " A.\n4. Output:\na\n4. Input:\nx",
        [("", "", "A.\n4. Output:\na\n4. Input:\nx", "not three fields")]),
    "no input otherwise": (" A.\n4. Input:\nnone\n4. Output:\na", [("A.", "none", "a", "")]),  # as published
    "heading inside": (
        " A.\n4. Input:\nx\n4. Output:\n### Title\ntext",
        [("A.", "x", "### Title\ntext", "")],
    ),
    "empty output": (" A.\n4. Input:\nx\n4. Output:\n\n###\n", [("A.", "x", "", "no output")]),
    "nothing": ("", []),
}  # fmt: skip


@pytest.mark.parametrize("name", ALPACA)
def test_answers_to_alpaca(name):
    answer, expected = ALPACA[name]
    found = list(alpaca.blocks(answer, False))
    assert [(block.instruction, block.input, block.output, block.fault) for block in found] == expected


def test_a_cut_answer_to_alpaca_loses_its_last_block():
    answer = ALPACA["well formed"][0]
    assert [block.fault for block in alpaca.blocks(answer, True)] == ["", "cut off"]


BELLE = {
    "well formed": (
        " 说出一个质数。\n4. 输入:\n<无输入>\n4. 输出:\n七\n###\n5. 指令: 求和。\n5. 输入:\n1, 2\n5. 输出:\n3",
        [("说出一个质数。", "", "七", ""), ("求和。", "1, 2", "3", "")],
    ),
    "full-width colons": (
        "4. 指令：甲乙丙丁\n4. 输入：无输入\n4. 输出：好",
        [("甲乙丙丁", "", "好", "")],
    ),
    "numbers slip": (
        " 甲。\n9. 输入:\n子\n输出:\n好\n###\n1. 指令: 乙。\n1. 输入:\n丑\n3. 输出:\n行",
        [("甲。", "子", "好", ""), ("乙。", "丑", "行", "")],
    ),
    "glued": (
        " 甲。\n4. 输入:\n子\n4. 输出:\n好\n5. 指令: 乙。\n5. 输入:\n丑\n5. 输出:\n行",
        [("甲。", "子", "好", "")],
    ),
    "no input field": (
        " 甲。\n4. 输出:\n好\n###\n5. 指令: 乙。\n5. 输入:\n丑\n5. 输出:\n行",
        [("", "", "指令: 甲。\n4. 输出:\n好", "not three fields"), ("乙。", "丑", "行", "")],
    ),
    "empty output": (" 甲。\n4. 输入:\n子\n4. 输出:\n", [("甲。", "子", "", "no output")]),
}


@pytest.mark.parametrize("name", BELLE)
def test_answers_to_belle(name):
    answer, expected = BELLE[name]
    found = [block for block, _ in belle.blocks(answer, False)]
    assert [(block.instruction, block.input, block.output.strip(), block.fault) for block in found] == expected


def test_a_cut_answer_to_belle_loses_its_last_block():
    assert [block.fault for block, _ in belle.blocks(BELLE["well formed"][0], True)] == ["", "cut off"]


def instructions(answer, cut=False):
    return [(block.instruction, reason(fault)) for block, fault in wang.read(answer, cut, ASKS["self_instruct"])]


def test_answers_to_self_instruct():
    both = [("Name a river of Asia.", None), ("Sort these three words.", None)]
    assert instructions(" Name a river of Asia.\n10. Sort these three words.\n") == both
    assert instructions("9. Name a river of Asia.\n9. Sort these  three\nwords.") == both
    assert instructions("9) Name a river of Asia.\n10) Sort these three words.") == both
    assert instructions(" Name a river of Asia.\n10. Sort it.")[1] == ("Sort it.", "instruction too short")
    assert instructions(" Name a river of Asia.\n10. Sort", cut=True)[0] == ("Name a river of Asia.", "cut off")
    assert instructions("") == []
    assert [wang.says_yes(said) for said in (" Yes", "yes.", "YES", "No", "", "I think yes")] == [True] * 3 + [
        False
    ] * 3


def found(answer, labels=False, cut=False):
    return [
        (block.input, block.output, reason(fault))
        for block, fault in wang.read_instances(answer, cut, "Do it.", labels)
    ]


def test_instances_input_first():
    assert found("Example 1\nInput: a\nOutput: b\n\nExample 2\nInput: c\nOutput: d") == [
        ("a", "b", None),
        ("c", "d", None),
    ]
    assert found("Output: b") == [("", "b", None)]
    assert found("Input: a\nOutput: b\nInput: c\nOutput: d") == [("a", "b", None)]
    assert found("b") == []
    assert found("Example 1\nb") == [("", "b", None)]
    assert found("Example 1\nInput: a\nOutput: b\nExample 2\nInput: c\nOutput: d", cut=True)[1][2] == "cut off"
    assert found("Input: a\nOutput: a")[0][2] == "output is its input"
    assert found("Input: a\nOutput:")[0][2] == "no output"
    assert found("Input: a\nOutput: b:")[0][2] == "unfinished"


def test_instances_label_first():
    answer = "Class label: good\nInput: I liked it.\nClass label: bad\nI did not.\nIt was\ncold."
    assert found(answer, labels=True) == [("I liked it.", "good", None), ("I did not.\nIt was\ncold.", "bad", None)]
    assert found("good\nI liked it.", labels=True) == []
    assert found("Class label: good\nx\nClass label: bad\nx", labels=True) == [
        ("x", "good", "one input, two outputs"),
        ("x", "bad", "one input, two outputs"),
    ]
    assert [fault for *_, fault in found("Class label: a\nx\nClass label: a\nx", labels=True)] == [
        None,
        "an instance twice",
    ]


def test_at_most_five_instances():
    answer = "\n".join(f"Example {n}\nInput: {n}\nOutput: x{n}" for n in range(1, 7))
    assert [fault for *_, fault in found(answer)] == [None] * 5 + ["more instances than asked for"]
