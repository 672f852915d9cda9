"""What judges answer, as it comes: read, or known to be unreadable."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from factory.models.grades import grade_in
from factory.models.verdicts import preferred

VERDICTS = [
    ("A", "first"),
    (" A", "first"),
    ("B.", "second"),
    ("**B**", "second"),
    ("(a)", "first"),
    ("[[A]]", "first"),
    ("[[C]]", "tie"),
    ("Verdict: A", "first"),
    ("Verdict: **Answer B**", "second"),
    ("My final verdict is: [[B>>A]]", "second"),
    ("[[A=B]]", "tie"),
    ("[[A>B]]", "first"),
    ("Answer A is better.", "first"),
    ("Response 2 is clearly better than Response 1 because it is correct.", "second"),
    ("The first answer is better.", "first"),
    ("The second one is better.", "second"),
    ("second", "second"),
    ("First", "first"),
    ("tie", "tie"),
    ("It's a tie.", "tie"),
    ("Both answers are equally good.", "tie"),
    ("A and B are equally good.", "tie"),
    ("both bad", "both_bad"),
    ("Both are bad.", "both_bad"),
    ("Neither answer is correct.", "both_bad"),
    ("Neither is better.", "tie"),
    ("Both good", "both_good"),
    ("Verdict: A or B", None),
    ("Verdict: A, B, tie, or both bad", None),
    ("", None),
    ("I cannot decide.", None),
    ("A list is a container.", None),
    ("First, I will look at the answers.", None),
    ("10", None),
    ("1", "first"),
    ("2", "second"),
    ("1.5", None),
    ("12", None),
    ('{"winner": "B"}', "second"),
    ('{"verdict": "tie", "reason": "A and B agree"}', "tie"),
    ("\\boxed{A}", "first"),
    ("Ａ", "first"),
    ("结论：Ｂ", "second"),
    ("回答A更好。", "first"),
    ("我认为第二个回答更好", "second"),
    ("平局", "tie"),
    ("两个回答都不好", "both_bad"),
    ("答案一明显更好", "first"),
    ("两者相当", "tie"),
    ("A is better in tone. B is more complete.\n\nVerdict: B", "second"),
    ("Answer A is better at style, but Answer B is better overall.", "second"),
    ("While A is better, it is wrong. B is better.", "second"),
    ("Verdict: A\n\nExplanation: B is better organised in places.", "first"),
    ("Verdict: A\nWait, no.\nVerdict: B", "second"),
    ("<think>A is better</think>\nB", "second"),
    ("<think>A is better", None),
    ("I don't think A is better.", None),
    ("A is not better than B", None),
    ("Verdict: A good answer should be short.", None),
    ("The winner is not A.", None),
    ("I prefer Answer B.", "second"),
    ("A, because it is more complete.", "first"),
    ("B - it answers the question", "second"),
    ("Answer: B", "second"),
    ("Assistant A wins", "first"),
    ("A better answer would be longer.", None),
    ("B is better than A.", "second"),
    ("Answer A: a list.\nAnswer B: a tuple.", None),
    ("Overall, Response A is the better response.", "first"),
    ("The better answer is B.", "second"),
    ("Winner: Response 1", "first"),
    ("Verdict: 2", "second"),
    ("Verdict: 10", None),
    ("Verdict: 1/10", None),
    ("1. Answer A explains.\n2. Answer B is short.\nVerdict: both bad", "both_bad"),
    ("Vitamin B is better than vitamin C.", None),
    ("选择：A", "first"),
    ("第一个", "first"),
    ("A。", "first"),
    ("Verdict: neither", None),
    ("I would choose the first one.", "first"),
    ("答案B的质量更好", "second"),
    ("A\n\nAnswer A is right; B is wrong.", "first"),
    ("**Verdict:** *B*", "second"),
    ("Final Verdict - B", "second"),
    ("### Verdict\nB", "second"),
    ("Verdict: Tie", "tie"),
    ("Both A and B are wrong.", "both_bad"),
    ("Answer A", "first"),
    ("A/B", None),
    ("A or B?", None),
    ("A B", None),
    ("Answer with one of: A, B, tie, both bad.", None),
    ("<verdict>A</verdict>", "first"),
    ("I think both are bad but B is better.", "second"),
    ("Answer A is more helpful.", "first"),
    ("After careful consideration, I believe that Response B is the better one.", "second"),
    ("Option A", "first"),
    ("Answer 1 is better than answer 2", "first"),
    ("Response A is better than Response B in terms of clarity.", "first"),
    ("The two answers are about the same quality.", None),
    ("Both responses are very good.", "both_good"),
    ("Verdict: B (slightly better)", "second"),
    ("Verdict: A is better", "first"),
    ("Verdict: Both are bad", "both_bad"),
    ("Verdict: both bad.", "both_bad"),
    ("both_bad", "both_bad"),
    ("Assistant B's answer is better.", None),
    ("I'd go with A", "first"),
    ("My choice is B", "second"),
    ("Better: A", "first"),
    ("A > B", "first"),
    ("B > A", "second"),
    ("A < B", "second"),
    ("A = B", "tie"),
    ("A≈B", "tie"),
    ("B>A because", "second"),
    ("Answer B wins.", "second"),
    ("Verdict: Response A\nConfidence: 2", "first"),
    ("1\n2\n", None),
    ("A\nB", None),
    ("no", None),
    ("Sure! Here is my verdict:\n\nA", "first"),
    ("这两个答案都很差。", "both_bad"),
    ("更好的回答是：B", "second"),
    ("我选择A", "first"),
    ("后者更好", "second"),
    ("裁决：平局", "tie"),
    ("回答二优于回答一", "second"),
    ("Ｂ", "second"),
    ("結論：引き分け", "tie"),
    ("Verdict: A.\n", "first"),
    ("Verdict:A", "first"),
    ("verdict: a", "first"),
    ("VERDICT: TIE", "tie"),
    ("Verdict: the first", "first"),
    ("Verdict - tie", "tie"),
    ("(B) is better", "second"),
    ('"A"', "first"),
    ("'B'.", "second"),
    ("Answer (A)", "first"),
    ("Answer [B]", "second"),
    ("The answer is 42.", None),
    ("Answer: 42", None),
    ("The result is a list.", None),
    ("The answer is B vitamins.", None),
    ("The verdict is a tie", "tie"),
    ("Answer A says the answer is B.", None),
    ("Final answer: B", "second"),
    ("答案：A", "first"),
]
OF_FIVE = [
    ("4", 4),
    (" 4", 4),
    ("4.", 4),
    ("**4**", 4),
    ("4/5", 4),
    ("4 / 5", 4),
    ("4 out of 5", 4),
    ("Rating: 4", 4),
    ("Rating: **4**", 4),
    ("rating is 3", 3),
    ("Score: 4/10", None),
    ("80%", None),
    ("Rating: 80%", None),
    ("10", None),
    ("Rating: 10", None),
    ("0", None),
    ("3-4", None),
    ("Rating: 3-4", None),
    ("Rating: 1 to 5", None),
    ("Rating: 4 or 5", None),
    ("1, 2, 3, 4, 5", None),
    ("４", 4),
    ("评分：４", 4),
    ("评分:4分", 4),
    ("我给4分。", 4),
    ("四分", 4),
    ("评分：五", 5),
    ("打３分", 3),
    ("这个回答十分好", None),
    ("★★★★☆", 4),
    ("⭐⭐⭐⭐", 4),
    ("4 stars", 4),
    ("4️⃣", 4),
    ("On a scale of 1 to 5, I would rate this a 4.", 4),
    ("I'd give it a 3 because it is short.", 3),
    ("four", 4),
    ("Rating: four out of five", 4),
    ("The answer names 3 birds.", None),
    ("", None),
    ("I cannot rate this.", None),
    ("GPT-4", None),
    ("4.5", 4.5),
    ("Rating: 4,5", None),
    ('{"score": 4, "reason": "ok"}', 4),
    ('{"reason": "2 of 3 are right", "rating": "3"}', 3),
    ("[[4]]", 4),
    ("Rating: [[2]]", 2),
    ("The answer has 2 mistakes. Rating: 3", 3),
    ("Rating: 2\nOn reflection it is better.\nFinal rating: 4", 4),
    ("Rating: 4\n\nThe answer is 100 words long.", 4),
    ("<think>Rating: 1</think>5", 5),
    ("4\n\nThe answer is good but has 2 mistakes.", 4),
    ("4 - good, but long", 4),
    ("4: good", 4),
    ("4. The answer is good.", 4),
    ("1. The answer is short.\n2. It is wrong.", None),
    ("1. The answer", None),
    ("Helpfulness: 4", 4),
    ("Helpfulness: 4\nHonesty: 2", None),
    ("Helpfulness: 4\nHonesty: 2\nOverall: 3", 3),
    ("Rating: -1", None),
    ("It deserves a 5.", 5),
    ("1/5/2024", None),
    ("The rating is 4.", 4),
    ("Overall score: 4.0", 4),
    ("My rating: (4)", 4),
    ("Rating (1-5): 4", 4),
    ("3.", 3),
    ("2 out of 10", None),
    ("Grade: B", None),
    ("Rating: 4\nRating: 11", None),
    ("I would say 4/5.", 4),
    ("Rating:\n4", 4),
    ("<rating>4</rating>", 4),
    ("Answer: 4", 4),
    ("one of the best answers", None),
    ("Rating: one", 1),
    ("5 stars out of 5", 5),
    ("该回答可以得4分，因为", 4),
    ("評価：3", 3),
]
OF_TEN = [
    ("10", 10),
    ("1", 1),
    ("10/10", 10),
    ("8/10", 8),
    ("Rating: 10", 10),
    ("Rating: 10/10.", 10),
    ("I'd rate it 10", 10),
    ("８／１０", 8),
    ("１０", 10),
    ("10分", 10),
    ("十分", 10),
    ("100", None),
    ("Rating: 1.0", 1),
    ("9.5/10", 9.5),
    ("10.", 10),
    ("[[10]]", 10),
    ("8/5", None),
    ("Rating: 10 out of 100", None),
]


@pytest.mark.parametrize(("said", "verdict"), VERDICTS)
def test_a_verdict_is_what_was_said(said: str, verdict: str | None) -> None:
    assert preferred(said) == verdict


@pytest.mark.parametrize(("said", "grade"), OF_FIVE)
def test_a_grade_from_one_to_five(said: str, grade: float | None) -> None:
    assert grade_in(said, 1, 5) == grade


@pytest.mark.parametrize(("said", "grade"), OF_TEN)
def test_a_grade_from_one_to_ten(said: str, grade: float | None) -> None:
    assert grade_in(said, 1, 10) == grade


@given(st.text())
@example("Verdict: ")
@example("\ue101\ue102")
def test_any_text_is_read_or_not(said: str) -> None:
    assert preferred(said) in ("first", "second", "tie", "both_good", "both_bad", None)
    grade = grade_in(said, 1, 5)
    assert grade is None or 1 <= grade <= 5


FORMS = ["{}", "**{}**", "Rating: {}", "{}/{top}", "Rating: {}/{top}.", "I would give it a {}.", "[[{}]]", "评分：{}分"]


@given(st.integers(0, 120), st.integers(2, 100), st.sampled_from(FORMS))
def test_a_whole_number_is_that_number_or_off_the_scale(number: int, top: int, form: str) -> None:
    expected = number if 1 <= number <= top else None
    assert grade_in(form.format(number, top=top), 1, top) == expected


SIDES = [("A", "B"), ("Answer A", "Answer B"), ("the first answer", "the second answer"), ("Response 1", "Response 2")]
CLAIMS = [
    "Verdict: {0}",
    "{0} is better than {1}.",
    "I prefer {0}.",
    "[[{0}]]",
    "The better answer is {0}.",
    "{0} > {1}",
]


@given(st.sampled_from(SIDES), st.sampled_from(CLAIMS), st.booleans())
def test_swapping_the_names_swaps_the_verdict(sides: tuple[str, str], claim: str, swap: bool) -> None:
    said = claim.format(*(sides[::-1] if swap else sides))
    assert preferred(said) == ("second" if swap else "first")


@given(st.sampled_from(CLAIMS[:5]), st.sampled_from(["A", "B"]), st.sampled_from(["A", "B"]))
def test_of_statements_of_a_kind_the_last_decides(claim: str, before: str, last: str) -> None:
    other = {"A": "B", "B": "A"}
    said = "\n".join(claim.format(one, other[one]) for one in (before, last))
    assert preferred(said) == {"A": "first", "B": "second"}[last]


@pytest.mark.parametrize(
    "unit", ["A ", "(", "A and B ", "1, ", "\n ", "Verdict: ", "both ", "is much ", "第一", "4 / ", "not "]
)
def test_long_answers_are_read_at_once(unit: str) -> None:
    began = time.process_time()
    preferred(unit * 4000)
    grade_in(unit * 4000, 1, 5)
    assert time.process_time() - began < 2
