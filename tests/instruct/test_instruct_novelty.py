"""The novelty filter against comparing every prompt with every kept one."""

from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, user
from factory.instruct.novelty import novel
from factory.text.overlap import rouge_l
from factory.text.words import words


def prompts(texts, name="r"):
    return [{"id": f"{name}{at}", "parents": [], "prompt": user(text), "meta": {}} for at, text in enumerate(texts)]


texts = st.lists(
    st.lists(st.sampled_from(["sort", "a", "list", "by", "size", "排", "序"]), max_size=8).map(" ".join), max_size=15
)


@given(texts, texts, st.sampled_from([0.5, 0.7, 1.0]))
def test_it_decides_as_comparing_with_all(records, known, threshold):
    kept = [words(text) for text in known]
    expected = []
    for record in prompts(records):
        tokens = words(record["prompt"][0]["content"])
        if any(rouge_l(tokens, other) > threshold for other in kept):
            expected.append(record["id"])
        else:
            kept.append(tokens)
    assert list(novel.function(prompts(records), threshold, prompts(known, "k"))) == expected


def test_a_drop_names_the_prompt_it_is_like():
    records = prompts(["Sort a list of numbers.", "Name a bird.", "Sort a list of all numbers."])
    assert novel.function(records) == {"r2": Drop("not novel", of="r0", rouge_l=0.9091)}
    assert novel.function(records[2:], against=records[:1])["r2"].details["of"] == "r0"


def test_it_is_not_blind_to_chinese():
    assert list(novel.function(prompts(["请写一首关于春天的诗", "请写一首关于夏天的诗", "解释什么是递归"]))) == ["r1"]
