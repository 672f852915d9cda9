"""A corpus with all that goes wrong in real ones builds: what is bad is dropped with its place, the rest is there."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import subprocess
import time
from collections import Counter
from typing import Any

import pytest

RECIPE = """
name: odd
targets:
  corpus:
    from: ./corpus
    steps:
      - normalize
      - language: {keep: [en], min_score: 0.3}
      - dedup_exact
      - dedup_minhash
  again:
    from: [corpus, corpus]
    steps: [dedup_exact]
"""
SENTENCES = [
    "The old library keeps its maps in a drawer that nobody has opened for years.",
    "Water boils at a lower temperature on a mountain than it does by the sea.",
    "She wrote the letter twice because the first one said more than she wanted.",
    "Every morning the baker counts the loaves and gives the last one to the birds.",
    "A compiler reads a program once and then forgets what its author meant.",
    "Trains in that valley are late in winter, when snow lies on the northern line.",
    "Children learn the names of colours before they can tell them apart in the dark.",
    "The committee agreed on a date, though not on what should happen then.",
    "Rust spreads fastest where the paint was scratched and nobody looked again.",
    "His garden has three kinds of apple and one that he refuses to name.",
]
BIG = 50_000_000


def json_line(number: int, **fields: Any) -> bytes:
    return json.dumps({"text": SENTENCES[number], **fields}).encode()


@pytest.fixture
def odd(project: Any) -> Any:
    """A project whose corpus has a bad file or line of every kind; sentence n is in one good record each."""
    corpus = project.root / "corpus"
    corpus.mkdir()
    (project.root / "recipe.yaml").write_text(RECIPE)
    (corpus / "good.txt").write_text(SENTENCES[0] + "\n")
    (corpus / "broken.txt").write_bytes(b"A first line.\nCaf\xe9 au lait.\n")
    (corpus / "nul.txt").write_bytes(b"One.\nTwo.\nThr\0ee.\n")
    (corpus / "empty.txt").write_bytes(b"")
    (corpus / "blank.jsonl").write_bytes(b"\n \n")
    rows = [
        json_line(1, id="a"),
        b'{"text": "Caf\xe9 au lait."}',
        b'{"text": "a quote that does not end}',
        b'["a", "list"]',
        json_line(2, id="twice"),
        json_line(3, id="twice"),
        b'{"title": "no text at all"}',
        b'{"text": "half a pair \\ud800 here"}',
        json_line(4, serial=2**70),
        b'{"text": null}',
        b'{"text": "a nul \0 byte"}',
        b'{"text": 17}',
        b"",
        json_line(5, meta="not a mapping", nested={"deep": [1, {"er": None}]}),
    ]
    (corpus / "rows.jsonl").write_bytes(b"\n".join(rows))
    packed = gzip.compress(b"".join(json_line(n) + b"\n" for n in (6, 7)) + os.urandom(90_000).hex().encode())
    (corpus / "cut.jsonl.gz").write_bytes(packed[:-40_000])
    return project


BAD = {  # place -> reason, line
    "corpus/broken.txt": ("broken utf-8", 2),
    "corpus/nul.txt": ("nul byte", 3),
    "corpus/empty.txt": ("empty file", None),
    "corpus/blank.jsonl": ("empty file", None),
    "corpus/cut.jsonl.gz#3": ("truncated gzip", 3),
    "corpus/rows.jsonl#2": ("broken utf-8", 2),
    "corpus/rows.jsonl#3": ("malformed json", 3),
    "corpus/rows.jsonl#4": ("not a json object", 4),
    "corpus/rows.jsonl#7": ("not a Text", None),
    "corpus/rows.jsonl#8": ("malformed json", 8),
    "corpus/rows.jsonl#10": ("missing column", None),
    "corpus/rows.jsonl#11": ("nul byte", 11),
    "corpus/rows.jsonl#12": ("not a Text", None),
}
GOOD = {
    "corpus/good.txt": 0,
    "corpus/rows.jsonl#1": 1,
    "corpus/rows.jsonl#5": 2,
    "corpus/rows.jsonl#6": 3,
    "corpus/rows.jsonl#9": 4,
    "corpus/rows.jsonl#14": 5,
    "corpus/cut.jsonl.gz#1": 6,
    "corpus/cut.jsonl.gz#2": 7,
}


@pytest.mark.builds
def test_bad_files_and_lines_are_dropped_with_place_and_reason(odd: Any, checks: Any) -> None:
    odd.build("--executor", "local:2")
    shown = json.loads(odd.do("show", "recipe.yaml", "corpus", "--json", "--dropped", "-n", "100"))
    found = {row["parents"][0]: (row["reason"], row["details"].get("line")) for row in shown["sample"]}
    assert found == BAD
    assert {row["parents"][0]: row["reason"] for row in odd.dropped("corpus")} == {p: r for p, (r, _) in BAD.items()}
    kept = {row["parents"][0]: row for row in odd.rows("corpus")}
    assert {place: row["text"] for place, row in kept.items()} == {place: SENTENCES[n] for place, n in GOOD.items()}
    assert kept["corpus/rows.jsonl#1"]["meta"]["id"] == "a"
    assert [kept[f"corpus/rows.jsonl#{line}"]["meta"]["id"] for line in (5, 6)] == ["twice", "twice"]
    assert kept["corpus/rows.jsonl#9"]["meta"]["serial"] == 2**70
    assert kept["corpus/rows.jsonl#14"]["meta"]["nested"] == {"deep": [1, {"er": None}]}
    checks.accounts(odd)
    assert shown["funnel"][0] == {
        "stage": shown["funnel"][0]["stage"], "step": "read", "in": len(BAD) + len(GOOD), "out": len(GOOD), "made": 0,
        "parted": 0, "reasons": Counter(reason for reason, _ in BAD.values()),
    }  # fmt: skip
    # A target that comes in through two branches: the second is renumbered, known by its parent, and a duplicate.
    assert {row["id"] for row in odd.rows("again")} == {row["id"] for row in kept.values()}
    twice = [row for row in odd.dropped("again") if row["reason"] == "duplicate"]
    assert {row["parents"][0] for row in twice} == {row["id"] for row in kept.values()}


@pytest.mark.model
def test_a_mended_file_is_all_that_is_read_again(odd: Any) -> None:
    odd.build()
    (odd.root / "corpus/nul.txt").write_text(SENTENCES[8])
    stages = json.loads(odd.do("plan", "recipe.yaml", "--json"))
    assert (stages[0]["tasks"] - stages[0]["tasks_stored"], stages[0]["state"]) == (1, "resumes")
    odd.build()
    assert SENTENCES[8] in {row["text"] for row in odd.rows("corpus")}
    assert "corpus/nul.txt" not in {row["parents"][0] for row in odd.dropped("corpus")}


ODD_SOURCE = '''
"""A source that hands over whatever its format had."""
import datetime
import factory
from factory import Drop, Piece, Source, Text, derive

ROWS = [
    {"text": "plain"},
    {"text": "half a pair \\ud800"},
    {"text": "half a pair beside", "title": "\\udfff"},
    {"text": "a long number", "serial": 2**70},
    {"text": "bytes", "raw": b"\\xff"},
    {"text": "a day", "day": datetime.date(2026, 1, 2)},
    {"text": "no number", "score": float("nan")},
    {"text": ["not", "text"]},
    {"text": "keys", "odd": {1: "one", None: "none"}},
]


class Rows(Source):
    kind = Text

    def pieces(self):
        return [Piece("1", ("odd",))]

    def rows(self, piece):
        for number, row in enumerate(ROWS, 1):
            yield f"odd#{number}", row
        yield "odd#10", Drop("unreadable", why="\\udc80")


@factory.step
def twist(record: Text) -> "factory.Record":
    """A map that spoils some."""
    if record["text"] == "plain":
        return {**record, "text": "spoilt \\ud801"}
    return record


@factory.hookimpl
def open_dataset(uri):
    return Rows(uri) if uri == "odd:rows" else None


@factory.hookimpl
def register_steps():
    return [twist, parted]


from collections.abc import Iterator

@factory.step
def parted(record: Text) -> Iterator[Text]:
    """A flat map whose children may be spoilt."""
    yield derive(record, text=record["text"] + " one")
    if record["text"] == "a day":
        yield derive(record, text="two \\ud802")
'''


@pytest.mark.builds
def test_what_cannot_be_stored_is_dropped_wherever_it_appears(project: Any, checks: Any) -> None:
    (project.root / "plugins").mkdir()
    (project.root / "plugins/odd.py").write_text(ODD_SOURCE)
    (project.root / "recipe.yaml").write_text(
        "name: odd\ntargets:\n  read: {from: 'odd:rows', steps: [twist]}\n  parts: {from: read, steps: [parted]}\n"
    )
    project.build()
    checks.accounts(project)
    kept = {row["parents"][0]: row for row in project.rows("read")}
    dropped = {row["parents"][0]: row["reason"] for row in project.dropped("read")}
    assert not set(kept) & set(dropped)
    assert set(kept) | set(dropped) == {f"odd#{number}" for number in range(1, 11)}
    assert {place: dropped[place] for place in ("odd#1", "odd#2", "odd#3", "odd#8", "odd#10")} == {
        "odd#1": "cannot be encoded", "odd#2": "cannot be encoded", "odd#3": "cannot be encoded",
        "odd#8": "cannot be encoded", "odd#10": "unreadable",
    }  # fmt: skip
    assert {"odd#6", "odd#7", "odd#9"} <= set(kept)
    assert [row["text"] for row in project.rows("parts") if "day" in row["text"]] == ["a day one"]
    assert [row["reason"] for row in project.dropped("parts")] == ["cannot be encoded"]


def peak_until_it_ends(process: subprocess.Popen[Any]) -> int:
    """Bytes of memory at the most, of a process or of one of its children, looked at every 5 ms.

    Not ru_maxrss: that of a new process begins with what its parent, here all the tests before, had.
    """
    import psutil

    peak, watched = 0, psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, *(one.memory_info().rss for one in (watched, *watched.children(recursive=True))))
        time.sleep(0.005)
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line.txt", "rows.jsonl"])
def test_fifty_megabytes_on_one_line(name: str, project: Any, checks: Any) -> None:
    corpus = project.root / "corpus"
    corpus.mkdir()
    (project.root / "recipe.yaml").write_text(RECIPE)
    words = " ".join(SENTENCES).lower().replace(".", "").replace(",", "").split()
    text = " ".join([*SENTENCES, *random.Random(50).choices(words, k=BIG // 5)])[:BIG].strip()
    assert len(text) > BIG - 20
    rows = [json_line(1), json.dumps({"text": text}).encode(), json_line(2), b'{"text": "' + b"x" * BIG]
    (corpus / name).write_bytes(text.encode() if name == "line.txt" else b"\n".join(rows))
    run = project.start_build()
    peak = peak_until_it_ends(run.process)
    assert run.process.returncode == 0, run.stderr
    print(f"{name}: peak memory {peak / 1e9:.2f} GB")
    kept = {row["parents"][0]: row["text"] for row in project.rows("corpus")}
    lost = [(row["parents"], row["reason"], row["details"]["line"]) for row in project.dropped("corpus")]
    if name == "line.txt":
        assert (kept, lost) == ({"corpus/line.txt": text}, [])
    else:
        assert kept == {f"corpus/{name}#{n}": said for n, said in ((1, SENTENCES[1]), (2, text), (3, SENTENCES[2]))}
        assert lost == [([f"corpus/{name}#4"], "malformed json", 4)]
    checks.accounts(project)
    assert peak < 1.5e9
