"""Dots and intervals: well-formed, in place, and nothing in them that a strict page would refuse."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.preference.bootstrap import Estimate
from factory.preference.drawing import WIDTH, Panel, draw, figure, shorten, spelled, ticks_between, width_of
from factory.preference.pictures import Section, as_json, as_markdown
from factory.report.markdown import clean_svg, render

NUMBERS = st.floats(-50, 50)
ESTIMATES = st.one_of(
    st.builds(lambda v: Estimate(v, v - 0.1, v + 0.3, 9), NUMBERS),
    st.builds(lambda v: Estimate(v, None, None, 1), NUMBERS),
    st.just(Estimate(None, None, None, 0, "no case")),
)


@given(st.lists(st.tuples(st.text(max_size=30), ESTIMATES), min_size=1, max_size=5), st.booleans())
def test_whatever_is_drawn_is_let_through_and_lies_within_the_picture(
    rows: list[tuple[str, Estimate]], percent: bool
) -> None:
    svg = draw("A <title>", [Panel("Panel & more", rows, mark=0, percent=percent)])
    if all(one.value is None for _, one in rows):
        assert svg == ""
        return
    clean_svg(svg)  # raises for what could do more than be looked at
    root = ElementTree.fromstring(svg)
    dots = [float(node.attrib["cx"]) for node in root.iter() if node.tag.endswith("circle")]
    assert len(dots) == sum(one.value is not None for _, one in rows)
    assert all(0 <= x <= WIDTH for x in dots)
    assert "style" not in {key for node in root.iter() for key in node.attrib}
    assert not re.search(r"#[0-9a-f]{3}|rgb", svg.replace("&#x27;", ""))  # its colour is the page's, light or dark


def test_dots_stand_in_the_order_of_their_values() -> None:
    rows = [(str(n), Estimate(n / 10, n / 10 - 0.05, n / 10 + 0.05, 9)) for n in range(1, 9)]
    dots = re.findall(r'cx="([\d.]+)"', draw("Order", [Panel("Values", rows, 0, 1)]))
    assert dots == sorted(dots, key=float)
    middle = draw("Half", [Panel("Values", [("a", Estimate(0.5, None, None, 1))], 0, 1, mark=0.5)])
    (x,) = re.findall(r'cx="([\d.]+)"', middle)
    assert re.search(rf'd="M{float(x):.1f} [^"]*" class="mark"', middle)


@given(st.floats(-100, 100), st.floats(1e-6, 1e6))
def test_ticks_enclose_what_is_drawn(away: float, span: float) -> None:
    low = away * span
    ticks = ticks_between(low, low + span)
    assert ticks[0] <= low + 1e-6 * span
    assert ticks[-1] >= low + span * (1 - 1e-6)
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(
    ("estimate", "percent", "words"),
    [
        (Estimate(0.614, 0.52, 0.7, 9), False, "0.61 (0.52 to 0.70)"),
        (Estimate(-0.051, -0.2, -0.001, 9), False, "−0.05 (−0.20 to 0.00)"),
        (Estimate(0.72, 0.61, 0.81, 90), True, "72 % (61 to 81 %)"),
        (Estimate(1.0, None, None, 1), False, "1.00"),
        (Estimate(None, None, None, 0, "no case"), True, "–"),
    ],
)
def test_values_in_words(estimate: Estimate, percent: bool, words: str) -> None:
    assert spelled(estimate, percent) == words
    assert figure(None) == "–"


@given(st.text(max_size=60), st.floats(20, 300))
def test_names_are_cut_to_the_room_there_is(name: str, most: float) -> None:
    cut = shorten(name, most)
    assert width_of(cut) <= max(most, width_of("…"))
    assert cut == name or cut.endswith("…")


def test_a_table_keeps_hostile_names_in_their_cells() -> None:
    section = Section("Raters", "Note.", ["name", "left"], [["a | <b>\n**c**", "–"], ["d", "72 %"]])
    page = render(as_markdown(section))
    assert page.count("<tr>") == 3
    assert "<b>" not in page
    assert '<td class="number">72 %</td>' in page
    assert as_json(section)["table"] == {"columns": section.columns, "rows": section.rows}
