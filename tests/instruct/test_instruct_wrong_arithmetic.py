"""Equations: what is surely wrong is found, and everything else is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import Drop, assistant, user
from factory.instruct.gates.wrong_arithmetic import wrong_arithmetic, wrong_equation

WRONG = [
    "12 × 7 = 83",
    "12 * 7 = 83.",
    "So 3 + 4 = 8 apples.",
    "The total is 15 + 27 = 43.",
    "15% of 80 is 11",
    "15% of 80 = 13.",
    "2/3 = 0.66",
    "(3 + 4) × 2 = 15",
    "3 + 4 × 2 = 14",
    "10 - 3 = 6, 2 + 2 = 4",
    "1,200 + 350 = 1,650",
    "$5 + $3 = $9",
    "**12 × 7 = 83**",
    "\\(12 \\times 7 = 83\\)",
    "2^10 = 1000",
    "12 x 7 = 83",
    "共有 3 + 4 = 8 个",
    "3×5＝16。",
    "5 + 3 = 8 = 2 × 3",
    "1/2 + 1/3 = 2/5",
    "7 / 2 = 5",
    "1. 3 + 4 = 8",
    "- 3 + 4 = 8",
    "Step 2: 3+4=8",
    "100 ÷ 8 = 12.4",
    "\\frac{1}{2} + \\frac{1}{4} = \\frac{2}{6}",
    "The area is 3.5 × 2 = 8",
    "In 2020, 30 + 4 = 35.",
    "(3 + 4 = 8)",
    "3 x (4 + 1) = 14",
    "20% × 50 = 11",
    "0.1 + 0.2 = 0.4",
    "-3 + 5 = 3",
    "5 - -3 = 2",
    "Total = 3 + 4 = 8",
    "x = 3 + 4 = 8",
    "8 = 3 + 4",
]
LEFT_ALONE = [
    "12 × 7 = 84",
    "So 3 + 4 = 7 apples.",
    "2/3 = 0.67",
    "22/7 = 3.14",
    "7 / 2 = 3",
    "1/2 ÷ 1/4 = 2",
    "3.33 × 3 = 10",
    "x + 3 = 7",
    "2x + 3 = 7",
    "x = 3",
    "17 mod 5 = 2",
    "17 ÷ 5 = 3 remainder 2",
    "5 km + 3 km = 9 km",
    "1 + 1 = 10 in binary",
    "sin 30 + 1 = 1.5",
    "log 100 = 2",
    "square root of 9 + 16 = 5",
    "3 + 4 = x",
    "3 + 4 = 2x",
    "a = 5, b = 3 + 2",
    "`3 + 4 = 8`",
    "10 ≈ 3 × 3.3",
    "5 apples - 3 = 2",
    "2 + 2 = 5 is wrong",
    "2024-01-02 = 1",
    "5 × 2 = 10 million",
    "3/20 × 100 = 15%",
    "50% = 1/2",
    "20 × 5% = 1",
    "2^10 = 1024",
    "5 ^ 3 = 6",
    "1,000 + 2,000 = 3,000",
    "3,5 + 2,5 = 6",
    "1.000 + 2.000 = 3.000",
    "3 + 4 = 7 = 14 / 2",
    "f(3) = 3 + 4",
    "P(A) = 0.3 + 0.2 = 0.5",
    "12 = 3 × 4",
    "y = 2 × 3 + 1 = 7",
    "10 choose 3 = 120",
    "5! = 120",
    "1/2 cup = 8 tablespoons",
    "3 + 4 == 8",
    "a[3] = 4",
    "60 × 1.5 = 90",
    "12% + 8% = 20%",
    "80 + 10% = 88",
    "I = 5 / 10 = 0.5 A",
    "F = 9/5 × 100 + 32 = 212",
    "5² + 12² = 13²",
    "(5 + 3) = 8",
    "The sum 1 + 2 + ... + 10 = 55",
    "1 + 2 + … + 10 = 55",
    "100 - 20 = 80%",
    "3 * 4 = 12",
    "4 × 25 = 100 cm",
    "25 × 4 = 100cm",
    "24/7 = always",
    "Age = 2020 - 1990 = 30",
    "9 x 9 = 81",
    "1 1/2 + 1/2 = 2",
    "120 km / 2 h = 60 km/h",
    "10 / 4 = 2.5",
    "0.5 × 0.5 = 0.25",
    "2 × 3.14 × 5 = 31.4",
    "3.14 × 5^2 = 78.5",
    "1/3 + 1/3 = 0.67",
    "1 000 + 2 000 = 3 000",
    "x^2 + 2 = 6",
    "-2 + 5 = 3",
    "5 - 8 = -3",
    "2 × -3 = -6",
    "3 + 4 = 7, 5 + 6 = 11",
    "A = π × 3^2 = 28.27",
    "E = mc^2",
    "8 bits = 1 byte",
    "width=100, height = 50 + 20",
    "3 + 5 = 8 (not 9)",
    "10:30 + 2 = 12:30",
    "v = 10 m/s + 5 = 15",
    "4 + 6i = 2",
    "2 + 3i + 4 = 6 + 3i",
    "Area = 5 m × 4 m = 20 m²",
    "H2 + 1 = 2",
    "\\sqrt{16} + 3 = 7",
    "4 + 4 = 8\n5 + 5 = 10",
    "Given 3x - 5 = 10, 3x = 15",
    "log2(8) = 3",
    "10 - 2 = 8 and a half",
    "100 / 3 = 33",
    "100 / 3 = 33.33",
    "100/3 = 33 1/3",
    "7 = 7",
    "1.5e3 + 2 = 1502",
    "Q1 = 4 + 2 = 6",
    "75 / 100 = 75%",
    "0.75 = 75%",
    "(0.2)(50) = 10",
    "2(3 + 4) = 14",
    "3 × (4) = 12",
    "9 − 4 = 5",
    "从 10 减去 3 = 7",
    "5 − 3 × 1 = 2",
]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_equations(text):
    assert wrong_equation(text)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_right_equations_and_what_is_none(text):
    assert wrong_equation(text) is None


def test_code_and_what_the_prompt_says_do_not_count():
    assert wrong_equation("```\n3 + 4 = 8\n```") is None
    assert wrong_equation("No: 2 + 2 = 5 was a joke.", "Is 2+2=5?") is None


def test_the_step_says_which_equation():
    record = {"id": "x", "prompt": user("What is 12 × 7?"), "completion": assistant("It is 12 × 7 = 83."), "meta": {}}
    with pytest.raises(Drop) as caught:
        wrong_arithmetic.function(record)
    assert caught.value == Drop("wrong arithmetic", equation="12 × 7 = 83")
    assert wrong_arithmetic.function({**record, "completion": assistant("It is 12 × 7 = 84.")})
    talk = [*user("a"), *assistant("fine"), *user("b"), *assistant("1 + 1 = 3")]
    with pytest.raises(Drop):
        wrong_arithmetic.function({"id": "x", "messages": talk, "meta": {}})


expressions = st.recursive(
    st.integers(0, 200).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda part: f"({' '.join(part)})"),
    max_leaves=6,
).filter(lambda text: "(" in text)


@given(expressions, st.integers(-3, 3))
def test_expressions_are_worked_out_as_python_does(text, off):
    value = eval(text) + off
    assert (wrong_equation(f"So {text} = {value}.") is None) == (off == 0)


@given(st.text(st.sampled_from("0123456789 +-×÷/^()=.,%x$a\n"), max_size=60))
def test_it_never_raises(text):
    wrong_equation(text)


@pytest.mark.parametrize(
    "text", ["9" * 9000 + " + 1 = 3", "9" * 9000 + "% of 3 = 4", "9^9^9^9 = 3", "1+" * 3000 + "1 = 4"]
)
def test_it_does_not_work_for_hours(text):
    assert wrong_equation(text) is None
