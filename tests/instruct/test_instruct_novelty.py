"""The novelty filter against comparing every prompt with every kept one, and against rouge_score."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from factory import Drop, assistant, user
from factory.instruct.novelty import compared, novel
from factory.text.overlap import rouge_l
from factory.text.words import rouge_words


def prompts(texts, name="r"):
    return [{"id": f"{name}{at}", "parents": [], "prompt": user(text), "meta": {}} for at, text in enumerate(texts)]


texts = st.lists(
    st.lists(st.sampled_from(["sort", "a", "list", "by", "don't", "排", "序", "список"]), max_size=8).map(" ".join),
    max_size=15,
)


@settings(deadline=None)  # kernels are compiled in the first example
@given(texts, texts, st.sampled_from([0.5, 0.7, 1.0]))
def test_it_decides_as_comparing_with_all(records, known, threshold):
    kept = [rouge_words(text) for text in known]
    expected = []
    for record in prompts(records):
        tokens = rouge_words(record["prompt"][0]["content"])
        if any(rouge_l(tokens, other) > threshold for other in kept):
            expected.append(record["id"])
        else:
            kept.append(tokens)
    assert list(novel.function(prompts(records), threshold, prompts(known, "k"))) == expected


WORDS = ["Sort", "sort", "a", "list,", "the_list", "3.5", "don't", "naïve", "by", "by.", "size!"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from(WORDS)), max_size=12))
def test_it_decides_as_rouge_score_on_latin_text(sentences):
    said, scorer = [" ".join(words) for words in sentences], RougeScorer(["rougeL"])
    kept, expected = [], []
    for at, text in enumerate(said):
        if any(scorer.score(other, text)["rougeL"].fmeasure > 0.7 for other in kept):
            expected.append(f"r{at}")
        else:
            kept.append(text)
    assert list(novel.function(prompts(said))) == expected


def test_a_drop_names_the_prompt_it_is_like():
    records = prompts(["Sort a list of numbers.", "Name a bird.", "Sort a list of all numbers."])
    assert novel.function(records) == {"r2": Drop("not novel", of="r0", rouge_l=0.9091)}
    assert novel.function(records[2:], against=records[:1])["r2"].details["of"] == "r0"


def test_it_knows_seeds_and_a_pool():
    seeds, pool = prompts(["Name a bird."], "s"), prompts(["Sort a list of numbers."], "p")
    found = novel.function(prompts(["Name a bird!", "sort a list of numbers", "Boil an egg."]), against=[seeds, pool])
    assert {name: drop.details["of"] for name, drop in found.items()} == {"r0": "s0", "r1": "p0"}


CHINESE = [
    "请写一首关于春天的诗",
    "解释什么是递归，并举一个例子。",
    "把下面的句子翻译成英文：今天天气很好。",
    "列出三种可以在家里做的运动。",
    "为什么天空是蓝色的？",
]
COPIES = [
    "请写一首关于夏天的诗",
    "解释一下什么是递归，并举一个例子",
    "把下面的句子翻译成英文：今天天气不好。",
    "列出五种可以在家里做的运动。",
    "为什么天空是蓝色的",
]


def test_it_is_not_blind_to_chinese():
    assert list(novel.function(prompts(CHINESE))) == []
    found = novel.function(prompts(COPIES), against=prompts(CHINESE, "k"))
    assert {name: drop.details["of"] for name, drop in found.items()} == {f"r{at}": f"k{at}" for at in range(5)}


@pytest.mark.parametrize(
    ("known", "copy", "other"),
    [
        ("Напиши короткое стихотворение о весне", "Напиши короткое стихотворение о зиме", "Назови три реки"),
        ("春についての短い詩を書いてください", "夏についての短い詩を書いてください", "空はなぜ青いのですか"),
        ("봄에 대한 짧은 시를 써 주세요", "봄에 대한 짧은 시를 써 줘", "강 이름 세 개를 말하세요"),
        ("اكتب قصيدة قصيرة عن الربيع", "اكتب قصيدة قصيرة عن الصيف", "اذكر ثلاثة أنهار"),
        ("เขียนบทกวีสั้นๆเกี่ยวกับฤดูใบไม้ผลิ", "เขียนบทกวีสั้นๆเกี่ยวกับฤดูร้อน", "บอกชื่อแม่น้ำสามสาย"),
    ],
)
def test_nor_to_other_scripts(known, copy, other):
    assert list(novel.function(prompts([known, copy, other]))) == ["r1"]


def test_what_is_compared():
    record = {"id": "x", "prompt": user("Sort it.\n\n3 1 2"), "completion": assistant("1 2 3"), "meta": {}}
    assert compared(record) == "Sort it.\n\n3 1 2"
    assert compared(record, "instruction") == "Sort it."
    assert compared({**record, "meta": {"instruction": "Sort."}}, "instruction") == "Sort."
    assert compared(record, "all") == "Sort it.\n\n3 1 2\n\n1 2 3"
    talk = [*user("Hello."), *assistant("Hi."), *user("Name a river.")]
    assert compared({"id": "x", "messages": talk}) == "Hello.\n\nName a river."
    same = prompts(["Sort it.\n\n3 1 2 9 8 7 6", "Sort it.\n\nb a c z x y"])
    assert list(novel.function(same)) == []
    assert list(novel.function(same, compare="instruction")) == ["r1"]


def test_evaluation_items_are_dropped():
    question = "Which planet of the solar system is the largest one by mass and also by volume"
    held_out = [{"id": "e1", "prompt": user(f"{question}?"), "meta": {}}]
    found = novel.function(prompts([f"Tell me: {question.lower()}, please", "Name a planet."]), evaluation=[held_out])
    assert {name: (drop.reason, drop.details["of"]) for name, drop in found.items()} == {
        "r0": ("in an evaluation set", "e1")
    }
