"""Gates over prose, each with what it must drop and something like it that it must not."""

import pytest

from factory import Drop, assistant, user
from factory.instruct.gates.answer_language import answer_language, strange
from factory.instruct.gates.contaminated import contaminated
from factory.instruct.gates.identity import identity_leaks, leak
from factory.instruct.gates.refusals import refusal, refusals
from factory.instruct.gates.repeated_text import loop, repeated_text
from factory.instruct.gates.turn_length import turn_length
from factory.instruct.gates.turns import fenced, turns

REFUSALS = [
    "I cannot do that.",
    "I'm sorry, but I can't.",
    "I’m sorry, but I can’t.",
    "抱歉，我无法回答。",
    "对不起，我不能提供这些信息。",
    "Well, as an AI language model I have no taste.",
    "I am unable to provide medical advice.",
    "Unfortunately, I don't have access to real-time data.",
    "Sorry, I can't help with that.",
    "I can't assist with that request.",
    "I apologize, but I cannot fulfill this request.",
    "As a large language model, I do not have feelings.",
    "I must decline to answer.",
    "我无法访问互联网。",
    "很抱歉，作为一个人工智能语言模型，我没有",
    "Es tut mir leid, aber ich kann das nicht tun.",
    "Je suis désolé, mais je ne peux pas",
    "Lo siento, pero no puedo ayudar",
    "Извините, но я не могу",
    "申し訳ございませんが",
    "I'm afraid I can't do that, Dave.",
    "I won't write that.",
    "I do not have enough information to answer.",
    "I'm just an AI and",
    '"I cannot do that."',
    "I'm sorry, I cannot see images.",
    "Thank you for your question, but I cannot answer it.",
    "Sorry, but this is not something",
    "I'm not able to browse the web",
    "죄송합니다",
    "I can't.",
]
ANSWERS = [
    'Say "I\'m sorry" and mean it.',
    "A person says: I cannot swim.",
    "I'm sorry to hear that your parcel was late. We will send",
    "I cannot recommend this book highly enough!",
    "I can't wait to see you!",
    "Sorry is a word used",
    "对不起是汉语里的道歉用语。",
    "You cannot divide by zero.",
    "I am a student of languages.",
    "Unfortunately, the train was late.",
    "As an airline pilot, you",
    "No, it is not.",
    "I do not like rain.",
    "No. I can swim.",
    "Dear Sam, I am sorry for the delay.",
    "Cannot find the file.",
    "An AI language is a",
    "无法无天是一个成语",
    "我不会游泳，所以",
    "Sorry! I was late because the bus broke down.",
]
LEAKS = [
    "I am ChatGPT, a large language model.",
    "I'm ChatGPT.",
    "I was developed by OpenAI to help.",
    "As an AI language model, I think",
    "我是通义千问，由阿里云开发的",
    "我是由OpenAI开发的人工智能助手",
    "I am Claude, an AI assistant made by Anthropic.",
    "As of my last update in 2021, ",
    "My training data does not include it.",
    "Hello! My name is Qwen.",
    "I'm a language model trained by Google.",
    "我是一个人工智能语言模型",
    "The answer is 4. I was trained on data up to 2021.",
    "I am an AI assistant created by Anthropic.",
    "我的训练数据截止到2021年",
]
NO_LEAKS = [
    "OpenAI was founded in 2015.",
    "I am Claude Monet, a painter.",
    "Claude is a French name.",
    "Gemini is a constellation.",
    "I work at Google as an engineer.",
    "ChatGPT is a chatbot developed by OpenAI.",
    "A llama is an animal; I like it.",
    "The model was trained by Google on text.",
    "She was created by God.",
    "I am a painter.",
    "Use the OpenAI API for this: import openai",
    "I bought my phone from Microsoft",
    "I am Phil.",
    "Anthropic makes Claude, an AI assistant.",
    "我在百度工作。",
    "As an artist, I paint.",
    "An AI model is a program that",
    "My programming skills are good",
]


def pair(prompt, answer):
    return {"id": "x", "parents": [], "prompt": user(prompt), "completion": assistant(answer), "meta": {}}


def reason(step, record, **options):
    try:
        return None if step.function(record, **options) else "False"
    except Drop as drop:
        return drop.reason


def test_turns_of_every_type():
    said = [*user("a"), *assistant("b"), *user("c"), *assistant("d")]
    assert turns({"messages": said}) == [("a", "b"), ("a\n\nb\n\nc", "d")]
    assert turns(pair("p", "a")) == [("p", "a")]
    assert turns({"prompt": user("p"), "chosen": assistant("c"), "rejected": assistant("r")}) == [("p", "c")]
    assert turns({"text": "t"}) == [("", "t")]
    assert turns({"prompt": user("p")}) == []


def test_fences():
    text = "A:\n```python\nx = 1\n```\nB\n~~~~ js\n```\n~~~\n~~~~\nC"
    assert fenced(text) == ([("python", "x = 1"), ("js", "```\n~~~")], "A:\nB\nC", False)
    assert fenced("  ```\n  x\n    y\n  ```") == ([("", "x\n  y")], "", False)
    assert fenced("```py\nx") == ([("py", "x")], "", True)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    assert refusal(text)
    assert reason(refusals, pair("Do it.", text)) == "refusal"


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_refusals(text):
    assert refusal(text) is None


def test_a_refusal_is_looked_for_at_the_beginning_and_in_every_turn():
    assert refusal("The cat is fine. " * 30 + "I cannot help.") is None
    assert refusal("The cat is fine. " * 30 + "As an AI, I") is None
    talk = {"id": "x", "messages": [*user("a"), *assistant("Fine."), *user("b"), *assistant("I can't help with that.")]}
    assert reason(refusals, talk) == "refusal"


@pytest.mark.parametrize("text", LEAKS)
def test_leaks(text):
    assert leak(text)
    assert reason(identity_leaks, pair("Hello!", text)) == "identity leak"


@pytest.mark.parametrize("text", NO_LEAKS)
def test_what_only_names_a_model_is_no_leak(text):
    assert leak(text) is None


def test_own_names_may_be_said():
    own = {"own_names": ["Wren", "Acme"]}
    assert reason(identity_leaks, pair("Who are you?", "I am Wren, an AI assistant made by Acme."), **own) is None
    assert reason(identity_leaks, pair("Who are you?", "I am Wren, made by OpenAI."), **own) == "identity leak"
    assert reason(identity_leaks, pair("Who are you?", "I am an AI assistant."), **own) == "identity leak"
    assert leak("I am Wren.", names=["Wren"]) == "I am Wren"
    assert leak("“As an AI language model” is what models say.", "Explain: as an AI language model") is None


def test_repeated_text():
    assert reason(repeated_text, pair("q", "2 + 2 = 4, " * 10)) == "repeats itself"
    assert reason(repeated_text, pair("q", "我喜欢春天，" * 10)) == "repeats itself"
    story = " ".join(f"word{at}" for at in range(200))
    assert reason(repeated_text, pair("q", story)) is None
    assert reason(repeated_text, pair("q", f"{story} {'and so on ' * 6}")) == "a phrase in a row"
    assert reason(repeated_text, pair("q", f"{story} {'and so on ' * 6}"), max_in_a_row=6) is None
    assert reason(repeated_text, pair("q", f"{story} {'0 0 0 0 ' * 6}")) is None
    assert reason(repeated_text, pair("q", "Ha ha ha ha ha, very funny.")) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a b c", None),
        ("x " + "go on " * 6 + "y", (["go", "on"], 6)),
        ("no " * 12, (["no"], 12)),
        ("no " * 11, None),
        ("a b c d e f g a b c d e f g", None),
    ],
)
def test_loops(text, found):
    assert loop(text.split(), 4) == found


def test_turn_length():
    bounds = {"min_prompt": 2, "max_prompt": 4, "min_answer": 1, "max_answer": 5}
    assert reason(turn_length, pair("Why?", "So."), **bounds) == "prompt too short"
    assert reason(turn_length, pair("Why is it so now?", "So."), **bounds) == "prompt too long"
    assert reason(turn_length, pair("Why not?", " "), **bounds) == "answer too short"
    assert reason(turn_length, pair("Why not?", "+"), **bounds) is None
    assert reason(turn_length, pair("Why not?", "一二三四五六"), **bounds) == "answer too long"
    assert reason(turn_length, pair("Why not?", "一二三四五"), **bounds) is None
    assert reason(turn_length, {"id": "x", "text": "some words"}, **bounds) is None


FRENCH = "La capitale est une grande ville au bord du fleuve, et son histoire est très longue."
ENGLISH = "The capital of France is Paris because it is the centre of politics and culture."
CHINESE = "法国的首都是巴黎，因为它是政治和文化的中心，历史悠久。"


@pytest.mark.parametrize(
    ("prompt", "answer", "found"),
    [
        ("What is the capital of France and why is it so?", CHINESE, ("zh", "en")),
        ("法国的首都是哪里？为什么是这座城市？", ENGLISH, ("en", "zh")),
        ("What is the capital of the country and why is it so?", FRENCH, ("fr", "en")),
        ("What is the capital of the country and why is it so?", ENGLISH, None),
        ("Translate it: The capital of France is Paris.", CHINESE, None),
        ("Tell me in French about a capital that you have seen.", FRENCH, None),
        ("把这句话翻译成英文：法国的首都是巴黎。", ENGLISH, None),
        (f"Summarize the text:\n\n{CHINESE}", CHINESE, None),
        (f"Summarize the text:\n\n{CHINESE}", ENGLISH, None),
        ("法国的首都是哪里？为什么是这座城市？", "Paris", None),
        (
            "写一个把两个数相加的函数，不要解释。",
            "```python\ndef add(first, second):\n    return first + second\n```",
            None,
        ),
        ("", ENGLISH, None),
    ],
)
def test_languages(prompt, answer, found):
    assert strange(prompt, answer, 0.6, 8) == found
    assert reason(answer_language, pair(prompt, answer)) == ("answer in another language" if found else None)


def test_contaminated():
    item = {"id": "e", "prompt": user("What is the capital of France?"), "completion": assistant("Paris"), "meta": {}}
    rows = [pair("What is the capital of France?", "It is Paris."), pair("Name a river.", "The Rhine.")]
    rows[1]["id"] = "y"
    found = contaminated.function(rows, evaluation=[[item]])
    assert {name: drop.reason for name, drop in found.items()} == {"x": "in an evaluation set"}
    assert contaminated.function(rows) == {}
