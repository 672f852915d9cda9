"""Parts of texts cut out, with what stood between them: lines, paragraphs or words. A kernel over their buffer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import APOSTROPHE, LETTER, MARK, UNSPACED_LETTER, characters
from .compiled import njit
from .segments import Segments, Texts
from .utf8 import class_of, code_point


class Cut(NamedTuple):
    """The texts that changed: text rows[i] is now data[offsets[i]:offsets[i + 1]], UTF-8."""

    rows: NDArray[np.int64]  # [changed]
    offsets: NDArray[np.int64]  # [changed + 1]
    data: NDArray[np.uint8]
    removed: NDArray[np.int64]  # [changed] code points that went


def cut(texts: Texts, parts: Segments, gone: NDArray[np.bool_]) -> Cut:
    """Texts without the marked parts; texts without a marked part are not among them.

    gone  [parts] of lines, paragraphs or words, as `factory.text.segments` finds them

    Where parts go between two that stay, one gap is left of the gaps around and between them: the one with the most
    line ends, so paragraphs stay apart, with the indent of the part that follows; without line ends the first one. Two
    words that would become one are parted by a blank. Parts that stay, and gaps where nothing went, stay as they are.
    A text of which all parts went is empty. Cost: each byte of a changed text is read twice and written once.
    """
    return Cut(*_cut(texts.data, texts.offsets, parts.rows, parts.start, parts.end, gone, characters().classes))


@njit(inline="always")
def _breaks(data: Any, start: Any, end: Any) -> Any:
    """(line ends, the first, behind the last) between two places; both are `end` where there is none."""
    count = 0
    first = behind = end
    for at in range(start, end):
        if data[at] == 10:
            if not count:
                first = at
            count += 1
            behind = at + 1
    return count, first, behind


@njit(inline="always")
def _without_blanks(data: Any, start: Any, end: Any) -> Any:
    """The end of what is left when ASCII blanks at the end are cut off."""
    while end > start and (data[end - 1] == 32 or (9 <= data[end - 1] <= 13)):
        end -= 1
    return end


@njit(inline="always")
def _copy(data: Any, start: Any, end: Any, out: Any, at: Any) -> Any:
    for byte in range(start, end):
        out[at] = data[byte]
        at += 1
    return at


@njit(inline="always")
def _merges(
    data: Any, last_start: Any, last_end: Any, gap_start: Any, gap_end: Any, next_start: Any, classes: Any
) -> Any:
    """Whether two words with no more than this gap between them would be read as one."""
    size = gap_end - gap_start
    if size > 3:
        return False
    if size:
        code, width = code_point(data, gap_start)
        if width != size or (code != APOSTROPHE and code != 0x2019):
            return False
    following = class_of(code_point(data, next_start)[0], classes)
    if following & MARK:
        return True
    at = last_end - 1
    while at > last_start and (data[at] & 0xC0) == 0x80:
        at -= 1
    before = class_of(code_point(data, at)[0], classes)
    return (following & LETTER) != 0 and before & (UNSPACED_LETTER | MARK) != UNSPACED_LETTER


@njit(cache=True, nogil=True)
def _joined(data: Any, start: Any, end: Any, run: Any, behind: Any, out: Any, at: Any, classes: Any) -> Any:
    """Write what stands between part run - 1 and part `behind`, when those from `run` to there are gone."""
    most = 0
    begin = until = 0
    for part in range(run, behind + 1):
        count, first, after = _breaks(data, end[part - 1], start[part])
        if count > most:
            most, begin, until = count, first, after
    head, stop = end[run - 1], start[run]
    if most == 0:
        at = _copy(data, head, stop, out, at)
        if _merges(data, start[run - 1], head, head, stop, start[behind], classes):
            out[at] = 32
            at += 1
        return at
    count, first, _ = _breaks(data, head, stop)
    at = _copy(data, head, first if count else _without_blanks(data, head, stop), out, at)
    at = _copy(data, begin, until, out, at)
    count, _, after = _breaks(data, end[behind - 1], start[behind])
    return _copy(data, after, start[behind], out, at) if count else at


@njit(cache=True, nogil=True)
def _cut(data: Any, offsets: Any, rows: Any, start: Any, end: Any, gone: Any, classes: Any) -> Any:
    texts = changed = size = 0
    for text in range(len(rows) - 1):
        for part in range(rows[text], rows[text + 1]):
            if gone[part]:
                changed += 1
                size += offsets[text + 1] - offsets[text]
                break
    which, starts = np.empty(changed, np.int64), np.zeros(changed + 1, np.int64)
    removed = np.empty(changed, np.int64)
    out = np.empty(size + changed, np.uint8)
    at = 0
    for text in range(len(rows) - 1):
        first, last = rows[text], rows[text + 1]
        run = first
        while run < last and not gone[run]:
            run += 1
        if run == last:
            continue
        begun = at
        copied = offsets[text]
        while run < last:
            behind = run
            while behind < last and gone[behind]:
                behind += 1
            if run > first:
                at = _copy(data, copied, end[run - 1], out, at)
            if behind == last:
                if run > first:
                    at = _copy(data, end[run - 1], _without_blanks(data, end[run - 1], start[run]), out, at)
                    stop = offsets[text + 1]
                    at = _copy(data, _without_blanks(data, end[last - 1], stop), stop, out, at)
                break
            if run > first:
                at = _joined(data, start, end, run, behind, out, at, classes)
            else:
                count, _, after = _breaks(data, end[behind - 1], start[behind])
                if count:
                    at = _copy(data, after, start[behind], out, at)
            copied = start[behind]
            run = behind
            while run < last and not gone[run]:
                run += 1
            if run == last:
                at = _copy(data, copied, offsets[text + 1], out, at)
        lost = 0
        for byte in range(offsets[text], offsets[text + 1]):
            lost += (data[byte] & 0xC0) != 0x80
        for byte in range(begun, at):
            lost -= (out[byte] & 0xC0) != 0x80
        which[texts], starts[texts + 1], removed[texts] = text, at, lost
        texts += 1
    return which, starts, out[:at], removed
