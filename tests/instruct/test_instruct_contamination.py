"""Evaluation items: runs of 13 words, 26 characters, and short items as a whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from factory import assistant, user
from factory.instruct.contamination import CHARACTERS, REASON, WORDS, Evaluation
from factory.text.words import is_unspaced, ngrams, words

LONG = "A farmer has seventeen sheep, and all but nine of them run away; how many are left?"
CHINESE = "一个农夫有十七只羊，除了九只以外全都跑掉了，请问农夫现在还剩下多少只羊呢？"


def item(prompt, completion="", name="e"):
    return {"id": name, "prompt": user(prompt), "completion": assistant(completion), "meta": {}}


def test_thirteen_words_are_enough_and_twelve_are_not():
    evaluation = Evaluation([[item(LONG, "Nine.", "sheep")]])
    said = words(LONG)
    thirteen = " ".join(said[2:15]).upper()
    found = evaluation.hit(f"I heard that {thirteen} - really.")
    assert found is not None
    assert (found.reason, found.details["of"], found.details["set"]) == (REASON, "sheep", 1)
    assert words(found.details["shared"]) == said[2:15]
    assert evaluation.hit("I heard that " + " ".join(said[2:14]) + " or so") is None


def test_twenty_six_characters_where_a_script_has_no_spaces():
    evaluation = Evaluation([[item("Name a bird.")], [item(CHINESE, name="羊")]])
    said = "".join(words(CHINESE))
    assert len(said) > CHARACTERS
    found = evaluation.hit("有人问：" + said[3 : 3 + CHARACTERS] + "对吗")
    assert found is not None
    assert (found.details["of"], found.details["set"]) == ("羊", 2)
    assert evaluation.hit("有人问：" + said[3 : 2 + CHARACTERS] + "对吗") is None


def test_a_short_item_is_found_when_it_is_all_that_is_said():
    evaluation = Evaluation([[item("What is the capital of France?", "Paris", "france"), item("2+2=?", "4", "sum")]])
    assert evaluation.hit("what is the CAPITAL of france")
    assert evaluation.hit("What is the capital of France? And of Spain?") is None
    assert evaluation.hit("Paris") is None  # an answer alone is no item
    assert evaluation.hit("2 2")  # what is left of it without signs
    record = {"id": "r", "prompt": user("What is the capital of France?"), "completion": assistant("It is Paris.")}
    assert evaluation.hit_by({**record, "meta": {}}).details["of"] == "france"
    talk = {"id": "r", "messages": [*user("Hello!"), *assistant("Hello."), *user("2+2=?")], "meta": {}}
    assert evaluation.hit_by(talk).details["of"] == "sum"
    with_input = {"id": "r", "prompt": user("a\n\nb"), "meta": {"instruction": "What is the capital of France?"}}
    assert evaluation.hit_by(with_input).details["of"] == "france"


def test_nothing_held_out_hits_nothing():
    assert not Evaluation()
    assert Evaluation().hit(LONG) is None
    assert Evaluation([[]]).hit(LONG) is None
    assert Evaluation([[item("?!")]]).hit("?!") is None
    assert Evaluation([[item("a b")]]).hit("\ud800 a") is None


said = st.lists(st.sampled_from(["a", "b", "c", "猫", "狗"]), max_size=40).map(" ".join)


@settings(deadline=None)
@given(st.lists(said, max_size=4), said)
def test_it_decides_as_sets_of_ngrams_do(items, text):
    expected = False
    for each in items:
        size = CHARACTERS if is_unspaced(each) else WORDS
        tokens = words(each)
        if len(tokens) >= size:
            expected |= bool(set(ngrams(tokens, size)) & set(ngrams(words(text), size)))
        elif tokens:
            expected |= tokens == words(text)
    records = [{"id": str(at), "text": each, "meta": {}} for at, each in enumerate(items)]
    assert (Evaluation([records]).hit(text) is not None) == expected
