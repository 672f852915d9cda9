"""What two answers do not share, word by word."""

from __future__ import annotations

import re

# A word, one character of scripts that put no blanks between words, a run of blanks, or any other character.
PARTS = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u0e00-\u0eff]|\s+|[^\W_]+(?:['’][^\W_]+)*|.", re.DOTALL)
MOST = 20_000  # parts of each text that are compared: the table that is filled has their product in bits, 50 MB

Row = tuple[str, str, str]


def differences(left: str, right: str) -> list[Row]:
    """Rows (`equal`, `replace`, `delete` or `insert`, what the left text says, what the right one says).

    The left texts together are `left`, the right ones `right`. By a longest common subsequence of words; where a text
    has more than 20,000, of lines, and of more lines than that, all behind them is one replacement.
    """
    from rapidfuzz.distance import LCSseq

    one, other = PARTS.findall(left), PARTS.findall(right)
    if max(len(one), len(other)) > MOST:
        one, other = left.splitlines(keepends=True), right.splitlines(keepends=True)
    rest = ("".join(one[MOST:]), "".join(other[MOST:]))
    one, other = one[:MOST], other[:MOST]
    rows: list[Row] = []
    for step in LCSseq.opcodes(one, other):
        said = ("".join(one[step.src_start : step.src_end]), "".join(other[step.dest_start : step.dest_end]))
        _add(rows, step.tag == "equal", *said)
    if rest != ("", ""):
        _add(rows, rest[0] == rest[1], *rest)
    return rows


def _add(rows: list[Row], same: bool, left: str, right: str) -> None:
    """Take in another piece; neighbouring pieces that differ become one, as a reader sees them."""
    if rows and same == (rows[-1][0] == "equal"):
        left, right = rows[-1][1] + left, rows[-1][2] + right
        rows.pop()
    kind = "equal" if same else "replace" if left and right else "delete" if left else "insert"
    rows.append((kind, left, right))
