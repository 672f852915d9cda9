"""Plan, funnel and curves as SVG: well-formed, no overlap, right at zero and one."""

from __future__ import annotations

import itertools
import math
import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.report import curves, dag, funnel, markup


def read(picture: str) -> list[ElementTree.Element]:
    """The SVGs of a picture; every number in a coordinate is finite."""
    found = list(ElementTree.fromstring(f"<all>{picture}</all>"))
    assert found
    assert not re.search(r'="[^"]*\b(nan|inf)\b', picture)
    for node in found:
        for rect in node.iter("rect"):
            assert float(rect.attrib["width"]) >= 0
            assert float(rect.attrib["height"]) >= 0
    return found


def boxes(placed: dag.Layout) -> list[tuple[float, float, float, float]]:
    return [(n.x, n.y - n.height / 2, n.x + n.width, n.y + n.height / 2) for n in placed.nodes.values() if n.kind]


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def graph(number: int, seed: int, fan: int = 3) -> tuple[list[dag.Node], list[dag.Edge]]:
    draw = random.Random(seed)
    kinds = ["dataset", "dataset", "model", "source"]
    nodes = [dag.Node(f"target_{n}", "9,812 records", kinds[n % 4] if n > 3 else "source") for n in range(number)]
    edges = [
        dag.Edge(f"target_{draw.randrange(n)}", f"target_{n}", draw.random() < 0.7)
        for n in range(1, number)
        if nodes[n].kind != "source"
        for _ in range(draw.randint(1, fan))
    ]
    return nodes, edges


@given(st.integers(0, 40), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_node_overlaps_another_and_edges_go_right(number: int, seed: int) -> None:
    nodes, edges = graph(number, seed)
    placed = dag.lay_out(nodes, edges)
    assert not any(overlap(a, b) for a, b in itertools.combinations(boxes(placed), 2))
    for edge in edges:
        if edge.start != edge.end:
            assert placed.nodes[edge.start].x + placed.nodes[edge.start].width < placed.nodes[edge.end].x
    for left, top, right, bottom in boxes(placed):
        assert 0 <= left < right <= placed.width
        assert 0 <= top < bottom <= placed.height


def test_forty_targets_draw(request: pytest.FixtureRequest) -> None:
    nodes, edges = graph(40, 7)
    picture = dag.draw(nodes, edges)
    (root,) = read(picture)
    for node in nodes:
        assert f">{node.name}<" in picture
    assert sum("edge" in path.attrib.get("class", "") for path in root.iter("path")) == len(set(edges))


def test_a_chain_is_straight() -> None:
    names = [f"t{n}" for n in range(6)]
    placed = dag.lay_out([dag.Node(n) for n in names], [dag.Edge(a, b) for a, b in itertools.pairwise(names)])
    assert len({round(placed.nodes[name].y, 6) for name in names}) == 1


def test_models_and_waiting_targets_look_different() -> None:
    nodes = [dag.Node("data"), dag.Node("model", "CausalLM", "model", "waiting"), dag.Node("./x", "", "source")]
    picture = dag.draw(
        nodes, [dag.Edge("./x", "data"), dag.Edge("data", "model", whole=False), dag.Edge("gone", "data")]
    )
    read(picture)
    for cls in ("node dataset done", "node model waiting", "node source done", "edge asks"):
        assert f'class="{cls}"' in picture


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=12), st.data())
def test_spread_keeps_order_and_gaps(wanted: list[float], data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.floats(0, 100), min_size=len(wanted) - 1, max_size=len(wanted) - 1))
    places = dag.spread(wanted, gaps)
    for a, b, gap in zip(places, places[1:], gaps, strict=False):
        assert b - a >= gap - 1e-6
    assert sum(places) == pytest.approx(sum(wanted), abs=1e-4)  # pooled means keep the sum


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [funnel.Row("read", 0, 0)],
        [funnel.Row("read", 1, 1)],
        [funnel.Row("read", 1, 0, reasons={"empty": 1})],
        [funnel.Row("self_instruct", 0, 0, made=0), funnel.Row("novel", 0, 0)],
        [funnel.Row("from_documents", 10, 0, made=3, reasons={"malformed": 3}), funnel.Row("novel", 0, 0)],
        [funnel.Row("x", 10**9, 1, reasons={str(n): (10**9 - 1) // 50 for n in range(50)})],
    ],
)
def test_funnels_at_the_edges(rows: list[funnel.Row]) -> None:
    assert len(read(funnel.draw(rows, "corpus"))) == 2


counts = st.integers(0, 10**7)
reasons = st.dictionaries(st.text(max_size=40), counts, max_size=9)
some_rows = st.lists(st.builds(funnel.Row, st.text(max_size=40), counts, counts, counts, reasons), max_size=6)


@given(some_rows)
@settings(max_examples=60, deadline=None)
def test_any_funnel_is_well_formed_and_within_its_width(rows: list[funnel.Row]) -> None:
    wide, narrow = read(funnel.draw(rows, "corpus"))
    for root, room in ((wide, funnel.REASONS_X), (narrow, funnel.NARROW + 30)):
        for rect in root.iter("rect"):
            if rect.attrib["height"] != "9":
                assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= room


def test_every_reason_is_counted() -> None:
    row = funnel.Row("x", 100, 10, reasons={f"r{n}": n + 1 for n in range(9)} | {"never": 0})
    ranked = row.ranked()
    assert len(ranked) == funnel.MOST_REASONS
    assert sum(number for _, number in ranked) == row.dropped
    assert ranked[-1][0] == "4 other reasons"
    assert "never" not in dict(ranked)


def test_rows_of_manifests_tell_filters_generators_and_training_apart() -> None:
    entries = [
        {"step": "keep", "in": 10, "out": 8, "made": 0, "parted": 0, "reasons": {"short": 2}},
        {"step": "ask", "in": 8, "out": 20, "made": 25, "parted": 8, "reasons": {"bad": 5}},
        {"step": "sft", "in": 20, "out": 0, "made": 0, "parted": 19, "reasons": {"long": 1}},
    ]
    rows = funnel.rows_of([{"funnel": entries[:2]}, {"funnel": entries[2:]}, {}])
    assert [(row.handled, row.left, row.same) for row in rows] == [(10, 8, True), (25, 20, False), (20, 19, True)]


def test_train_and_eval_share_a_chart() -> None:
    metrics = {n: {"loss": 2.0 / n, "eval_loss": 3.0 / n, "learning_rate": 1e-4} for n in range(1, 30)}
    loss, rate = read(curves.charts(metrics))
    assert {"line s0", "line s1"} <= {path.attrib.get("class") for path in loss.iter("path")}
    assert "eval" in "".join(loss.itertext())
    assert "learning_rate" in "".join(rate.itertext())


def test_parts_of_a_metric_share_a_chart() -> None:
    metrics = {n: {"loss/wiki": 2.0, "loss/books/en": 1.0, "eval_loss/wiki": 3.0, "reward": 0.5} for n in range(3)}
    names = ["loss by source", "eval loss by source", "reward"]
    drawn = read(curves.charts(metrics))
    assert [chart[0].text for chart in drawn] == [f"{name} by training step" for name in names]
    assert {"wiki 2", "books/en 1"} <= {"".join(text.itertext()) for text in drawn[0].iter("text")}


@given(st.integers(1, 40), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_legends_of_many_lines_stay_inside_the_chart(lines: int, letters: int) -> None:
    series = {f"{'x' * letters}{n}": [(0.0, 1.0), (1.0, float(n))] for n in range(lines)}
    (drawn,) = read(curves.chart("loss by source", series))
    legends = [text for text in drawn.iter("text") if text.attrib["class"] == "legend"]
    assert len(legends) == min(lines, curves.MOST_LINES)
    shown = {"".join(text.itertext()).split()[0] for text in legends}
    assert {f"{'x' * letters}{n}" for n in range(max(0, lines - curves.MOST_LINES), lines)} == shown, "the highest stay"
    floor = float(drawn.attrib["height"]) - curves.BOTTOM
    tops = [
        float(path.attrib["d"].split()[1].split("H")[0])
        for path in drawn.iter("path")
        if path.attrib["class"] == "grid"
    ]
    for text in drawn.iter("text"):
        if text.attrib["class"] in ("legend", "note"):
            assert float(text.attrib["y"]) < min(tops)
            wide = markup.width_of("".join(text.itertext()), 12)
            assert float(text.attrib["x"]) + wide <= curves.WIDTH + 1 or float(text.attrib["x"]) == 17
    assert max(tops) <= floor + 0.01
    styles = [path.attrib["class"] for path in drawn.iter("path") if path.attrib["class"].startswith("line")]
    assert len(set(styles)) == len(legends), "every line has its own look"


values = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-10, 10)


@given(
    st.dictionaries(
        st.integers(0, 10**6), st.dictionaries(st.sampled_from(["loss", "eval_loss", "x"]), values), max_size=30
    )
)
@settings(max_examples=40, deadline=None)
def test_any_metrics_draw(metrics: dict[int, dict[str, float]]) -> None:
    drawn = curves.charts(metrics)
    if any(metrics.values()):
        read(drawn)
    else:
        assert drawn == ""


def test_a_point_alone_and_a_constant() -> None:
    read(curves.charts({3: {"loss": 1.5}}))
    read(curves.charts({n: {"loss": 0.0} for n in range(5)}))


def test_a_spike_survives_thinning() -> None:
    points = [(float(n), 1.0) for n in range(50_000)]
    points[31_234] = (31_234.0, 99.0)
    thinned = curves.thin(points)
    assert len(thinned) <= curves.MOST_POINTS + 2
    assert (31_234.0, 99.0) in thinned
    assert thinned == sorted(thinned)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_and_are_few(low: float, span: float) -> None:
    found = curves.ticks(low, low + span, 4)
    step = found[1] - found[0]
    assert found[0] <= low + 1e-6 * step + 1e-9
    assert found[-1] >= low + span - 1e-6 * step - 1e-9
    assert 2 <= len(found) <= 8


def test_read_metrics_last_value_wins_and_torn_lines_pass() -> None:
    lines = ['{"step": 2, "loss": 3}', '{"step": 1, "loss": 4, "note": "x"}', '{"step": 2, "loss": 2}', "[1]", '{"ste']
    assert curves.read_metrics(lines) == {1: {"loss": 4.0}, 2: {"loss": 2.0}}


@given(st.text())
def test_text_is_always_well_formed(words: str) -> None:
    node = ElementTree.fromstring(markup.element("p", markup.escape(words), title=words))
    assert "\x00" not in (node.text or "")


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "–"), (0, 5, "0 %"), (1, 10**6, "<0.1 %"), (999_999, 10**6, ">99.9 %"), (1, 3, "33 %"), (1, 40, "2.5 %")],
)
def test_shares(part: int, whole: int, said: str) -> None:
    assert markup.share(part, whole) == said


def test_figures() -> None:
    said = [markup.figure(value) for value in (0.0, 12.3456, 1e-5, 18402.0, 1.5e9, math.nan, -0.5)]
    assert said == ["0", "12.35", "1e-05", "18,402", "1.5e+09", "nan", "-0.5"]
    assert [markup.size(n) for n in (0, 999, 1_500, 2_500_000)] == ["0 B", "999 B", "1.5 kB", "2.5 MB"]
    assert [markup.duration(s) for s in (0.04, 59.7, 90, 7_260)] == ["0.0 s", "1 min 00 s", "1 min 30 s", "2 h 01 min"]
