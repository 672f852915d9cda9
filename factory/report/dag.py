"""The plan as a picture: targets from left to right by depth, laid out after Sugiyama, Tagawa and Toda (1981)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .markup import coordinate, escape, label, shorten, svg, tag, width_of

HEIGHTS = {"dataset": 48.0, "model": 48.0, "source": 28.0, "": 4.0}  # "" is a bend: where a long edge crosses a column
GAP_X, GAP_Y, MARGIN = 56.0, 16.0, 12.0
LONGEST = 24  # characters of a name that are drawn; the whole name is in the tooltip
SWEEPS = 8


@dataclass
class Node:
    """A target or a source. `note` is its second line; `state` is done or waiting."""

    name: str
    note: str = ""
    kind: str = "dataset"  # dataset, model or source
    state: str = "done"
    link: str | None = None
    layer: int = 0
    x: float = 0.0
    y: float = 0.0  # centre
    width: float = 0.0

    @property
    def height(self) -> float:
        return HEIGHTS[self.kind]


@dataclass(frozen=True)
class Edge:
    """`start` goes into `end`; not `whole` when it is only referred to by an option (a model asked, say)."""

    start: str
    end: str
    whole: bool = True


@dataclass
class Layout:
    """Nodes and bends with their places. `routes` are the nodes each edge passes, both ends included."""

    nodes: dict[str, Node]
    layers: list[list[str]]
    routes: dict[Edge, list[str]]
    width: float = 0.0
    height: float = 0.0
    before: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    after: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def draw(nodes: Sequence[Node], edges: Sequence[Edge]) -> str:
    """The graph as SVG. Edges must not form a cycle; those to unknown nodes are left out."""
    placed = lay_out(nodes, edges)
    lines = [_edge(placed, edge) for edge in placed.routes]
    boxes = [_box(node) for node in placed.nodes.values() if node.kind]
    return svg(placed.width, placed.height, "The plan of this build", *lines, *boxes, cls="dag")


def lay_out(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """Layers by longest path, order by barycentres, heights by least squares without overlap."""
    by_name = {node.name: node for node in nodes}
    edges = [e for e in dict.fromkeys(edges) if e.start in by_name and e.end in by_name and e.start != e.end]
    _set_layers(by_name, edges)
    placed = _with_bends(by_name, edges)
    _order(placed)
    _set_columns(placed)
    _set_heights(placed)
    return placed


def _set_layers(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> None:
    """A node lies one column right of the last node it needs; a source lies just left of its first use."""
    for _ in nodes:
        moved = False
        for edge in edges:
            if nodes[edge.end].layer <= nodes[edge.start].layer:
                nodes[edge.end].layer = nodes[edge.start].layer + 1
                moved = True
        if not moved:
            break
    for node in nodes.values():
        uses = [nodes[edge.end].layer for edge in edges if edge.start == node.name]
        if node.kind == "source" and uses:
            node.layer = min(uses) - 1


def _with_bends(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> Layout:
    """Give every edge that spans several columns a bend in each, so that it keeps clear of the nodes there."""
    placed = Layout(dict(nodes), [], {})
    for number, edge in enumerate(edges):
        route = [edge.start]
        for layer in range(nodes[edge.start].layer + 1, nodes[edge.end].layer):
            name = f"{number} {layer}"  # no target's name holds a space
            placed.nodes[name] = Node(name, kind="", layer=layer)
            route.append(name)
        placed.routes[edge] = [*route, edge.end]
        for left, right in pairwise(placed.routes[edge]):
            placed.after[left].append(right)
            placed.before[right].append(left)
    placed.layers = [[] for _ in range(max((node.layer for node in placed.nodes.values()), default=0) + 1)]
    for node in placed.nodes.values():
        placed.layers[node.layer].append(node.name)
    return placed


def _order(placed: Layout) -> None:
    """Sort each column by the mean place of its neighbours, back and forth; the order with fewest crossings stays."""
    best, fewest = [list(layer) for layer in placed.layers], _crossings(placed)
    for sweep in range(SWEEPS):
        columns = list(range(len(placed.layers)))
        forward = sweep % 2 == 0
        near = placed.before if forward else placed.after
        for column in columns[1:] if forward else columns[-2::-1]:
            beside = placed.layers[column - 1 if forward else column + 1]
            place = {name: index for index, name in enumerate(beside)}
            own = {name: index for index, name in enumerate(placed.layers[column])}

            def centre(name: str, near: Mapping[str, list[str]] = near, place: Mapping[str, int] = place,
                       own: Mapping[str, int] = own) -> float:  # fmt: skip
                found = [place[other] for other in near.get(name, ()) if other in place]
                return sum(found) / len(found) if found else own[name]

            placed.layers[column].sort(key=centre)
        crossings = _crossings(placed)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in placed.layers], crossings
    placed.layers = best


def _crossings(placed: Layout) -> int:
    """How many pairs of edges cross between neighbouring columns; quadratic in the edges of a column."""
    total = 0
    for left, right in pairwise(placed.layers):
        place = {name: index for index, name in enumerate(right)}
        ends = [sorted(place[other] for other in placed.after.get(name, ())) for name in left]
        seen: list[int] = []
        for group in ends:
            total += sum(1 for end in group for other in seen if other > end)
            seen += group
    return total


def _set_columns(placed: Layout) -> None:
    x = MARGIN
    for layer in placed.layers:
        nodes = [placed.nodes[name] for name in layer]
        width = max((_wanted_width(node) for node in nodes), default=0.0)
        for node in nodes:
            node.x, node.width = x, width
        x += width + GAP_X
    placed.width = x - GAP_X + MARGIN


def _wanted_width(node: Node) -> float:
    if not node.kind:
        return 0.0
    text = max(width_of(shorten(node.name, LONGEST), 13, mono=True), width_of(node.note, 12))
    return max(92.0, text + (40 if node.kind == "model" else 28))


def _set_heights(placed: Layout) -> None:
    """Pull every node to the mean height of its neighbours, column by column, back and forth."""
    for layer in placed.layers:
        y = 0.0
        for name in layer:
            node = placed.nodes[name]
            node.y = y + node.height / 2
            y += node.height + GAP_Y
    columns = range(len(placed.layers))
    for sweep in range(2 * SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            nodes = [placed.nodes[name] for name in placed.layers[column]]
            wanted = []
            for node in nodes:
                # Both sides pull, the side the sweep comes from first, so that chains end up straight.
                first, second = (placed.before, placed.after) if sweep % 2 == 0 else (placed.after, placed.before)
                near = first.get(node.name) or second.get(node.name) or []
                wanted.append(sum(placed.nodes[name].y for name in near) / len(near) if near else node.y)
            gaps = [(a.height + b.height) / 2 + GAP_Y for a, b in pairwise(nodes)]
            for node, y in zip(nodes, spread(wanted, gaps), strict=True):
                node.y = y
    top = min((node.y - node.height / 2 for node in placed.nodes.values()), default=0.0)
    for node in placed.nodes.values():
        node.y += MARGIN - top
    placed.height = max((node.y + node.height / 2 for node in placed.nodes.values()), default=0.0) + MARGIN


def spread(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Places nearest to `wanted` in least squares that keep the order and the gaps: isotonic regression (PAV)."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    blocks: list[tuple[float, int]] = []  # (mean, how many)
    for value in (want - offset for want, offset in zip(wanted, offsets, strict=False)):
        mean, size = value, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


def _edge(placed: Layout, edge: Edge) -> str:
    """A smooth line: level through every column it crosses, an S between two, a small arrowhead at its end."""
    route = [placed.nodes[name] for name in placed.routes[edge]]
    start, end = route[0], route[-1]
    x, y = start.x + start.width, start.y + _port(placed.after[start.name], route[1].name, placed, start.height)
    path = [f"M{coordinate(x)} {coordinate(y)}"]
    for node in route[1:]:
        to_x, to_y = node.x, node.y
        if node is end:
            to_x, to_y = node.x - 6, node.y + _port(placed.before[end.name], route[-2].name, placed, end.height)
        bend = (to_x - x) / 2
        path.append(
            f"C{coordinate(x + bend)} {coordinate(y)} {coordinate(to_x - bend)} {coordinate(to_y)} "
            f"{coordinate(to_x)} {coordinate(to_y)}"
        )
        x, y = to_x, to_y
        if node is not end:
            x += node.width
            path.append(f"H{coordinate(x)}")
    cls = "edge" if edge.whole else "edge asks"
    head = f"M{coordinate(x)} {coordinate(y - 3.5)}l6 3.5l-6 3.5z"
    return tag("path", d="".join(path), cls=cls) + tag("path", d=head, cls="head")


def _port(beside: Sequence[str], name: str, placed: Layout, height: float) -> float:
    """Edges on one side of a node leave apart, in the order of where they go."""
    if len(beside) < 2:
        return 0.0
    order = sorted(beside, key=lambda other: placed.nodes[other].y)
    step = min(9.0, (height - 16) / (len(order) - 1))
    return step * (order.index(name) - (len(order) - 1) / 2)


def _box(node: Node) -> str:
    y, h = node.y - node.height / 2, node.height
    shape = {"x": node.x, "y": y, "width": node.width, "height": h, "cls": "box"}
    middle = node.x + node.width / 2
    drawn = [tag("title", escape(f"{node.name} {node.note}".strip()))]
    if node.kind == "source":
        drawn += [tag("rect", **shape, rx=4.0), label(middle, node.y + 4, _name(node), "name", "middle")]
    else:
        if node.kind == "dataset":  # a pile of sheets: two edges look out from behind
            drawn.append(tag("rect", **{**shape, "x": node.x + 4, "y": y + 4, "cls": "box under"}, rx=5.0))
        drawn.append(tag("rect", **shape, rx=h / 2 if node.kind == "model" else 5.0))
        drawn.append(label(middle, node.y - 3, _name(node), "name", "middle"))
        drawn.append(label(middle, node.y + 14, node.note, "note", "middle"))
    group = tag("g", *drawn, cls=f"node {node.kind} {node.state}")
    return tag("a", group, href=node.link) if node.link else group


def _name(node: Node) -> str:
    return shorten(node.name, LONGEST)
