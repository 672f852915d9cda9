"""What most rules look at, found in two quick passes: words and symbols in one, lines in the other.

They find what `factory.text.segments` and `factory.text.counts` find, but for where words stand; lines hash otherwise.
Cost: half of what the single passes take. A branch that depends on a byte is guessed wrong at every end of a word,
which costs 20 cycles; so in ASCII words begin and end without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .characters import ALPHA, APOSTROPHE, DECIMAL, LETTER, MARK, SPACE, TABLE, UNSPACED_LETTER, characters
from .compiled import njit
from .counts import ELLIPSIS, Symbols, symbols
from .segments import ALONE, BASE, ELIDED, MARKED, OUTSIDE, Segments, folds_to_marks, room
from .utf8 import SEED, before_blanks, behind_blanks, bytes_hash, class_of, code_point, roll, roll_folded, stir

if TYPE_CHECKING:
    from .column import TextColumn

IN_WORD, IS_BLANK, IS_ALPHA, IS_RARE = 1, 2, 4, 8


class Words(NamedTuple):
    """Words of texts without where they stand: those of text i are rows[i] to rows[i + 1]."""

    rows: NDArray[np.int64]  # [texts + 1]
    chars: NDArray[np.int32]  # [words], code points
    hash: NDArray[np.uint64]  # [words], of the case-folded characters, those of `segments.words`


def words_of(texts: TextColumn) -> tuple[Words, Symbols]:
    """Words and symbols of a column, in one pass; found once, then kept with it."""
    kept = vars(texts)
    if "words_of" not in kept:
        held = texts.texts
        rows, chars, hashes, numbers = _words(held.data, held.offsets, *characters(), BYTE_KINDS)
        kept["words_of"] = Words(rows, chars, hashes), Symbols(*numbers)
    found: tuple[Words, Symbols] = kept["words_of"]
    return found


def symbols_of(texts: TextColumn) -> Symbols:
    """Symbols of a column, without its words unless they are found already."""
    return words_of(texts)[1] if "words_of" in vars(texts) else symbols(texts.texts)


def lines_of(texts: TextColumn) -> Segments:
    """The lines that are not blank, parted at newlines and stripped of blanks at both ends; found once."""
    kept = vars(texts)
    if "lines_of" not in kept:
        data, offsets = texts.texts
        newlines = np.flatnonzero(data[offsets[0] : offsets[-1]] == 10) + offsets[0]
        plain = texts.chars == np.diff(offsets)
        kept["lines_of"] = Segments(*_lines(data, offsets, newlines, plain, characters().classes))
    found: Segments = kept["lines_of"]
    return found


def _byte_kinds() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for code in range(0x80):
        one = chr(code)
        table[code] = IN_WORD * one.isalnum() | IS_BLANK * one.isspace() | IS_ALPHA * one.isalpha()
        table[code] |= IS_RARE * (one in "\n.#'")
    table[0x80:] = IS_RARE
    return table


BYTE_KINDS = _byte_kinds()


@njit(cache=True, nogil=True)
def _words(data: Any, offsets: Any, classes: Any, fold: Any, expansions: Any, kinds: Any) -> Any:
    # One function, and the rule of `segments.words` over again: the counters must stay in registers. With the body of
    # the outer loop as a function of its own it took 9 % longer, inlined 16 %; and with the rule shared 45 %.
    texts = len(offsets) - 1
    most = (offsets[-1] - offsets[0]) // 2 + 2 * texts + 1
    chars, hashes = np.empty(most, np.int32), np.empty(most, np.uint64)
    rows = np.zeros(texts + 1, np.int64)
    numbers = np.zeros((7, texts), np.int64)
    found = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        h = SEED
        state: Any = OUTSIDE
        inside: Any = 0
        letter: Any = 0
        size: Any = 0
        words: Any = 0
        lettered: Any = 0
        empty: Any = 0
        signs = ellipses = breaks = alone = dots = 0
        dotted = at - 2
        while at < stop:
            while state <= BASE and at < stop:
                kind = np.int64(kinds[data[at]])
                if kind >= IS_RARE:
                    break
                chars[found], hashes[found] = size, h
                word = kind & IN_WORD
                found += state & (1 - word)
                h = roll(h if state else SEED, fold[data[at]])
                size = size * state + 1
                state = word
                blank = (kind >> 1) & 1
                words += inside & blank
                lettered += letter & blank
                empty += blank
                inside = 1 - blank
                letter = (letter | (kind >> 2)) & inside
                at += 1
            if at == stop:
                break
            code, width = code_point(data, at)
            bits = class_of(code, classes)
            at += width
            alone += bits & UNSPACED_LETTER != 0 and bits & MARK == 0
            ellipses += code == ELLIPSIS
            breaks += code == 10
            signs += code == 35
            if code == 46:
                dots = dots + 1 if dotted == at - 2 else 1
                dotted = at - 1
                if dots == 3:
                    ellipses += 1
                    dots = 0
            into = OUTSIDE  # from here as in `segments.words`
            ends = True
            if bits & MARK and state != OUTSIDE:
                into, ends = MARKED if state == ELIDED else state, False
            elif bits & UNSPACED_LETTER:
                into = ALONE
            elif bits & LETTER:
                into = BASE
                if state == ELIDED and not bits & DECIMAL:
                    into = MARKED if folds_to_marks(code, classes, fold, expansions) else ELIDED
                elif state == MARKED:
                    into = MARKED
                ends = state == ALONE or (state == ELIDED and into == BASE)
            elif (code == APOSTROPHE or code == 0x2019) and OUTSIDE != state != ALONE and at < stop:
                following = class_of(code_point(data, at)[0], classes)
                if following & LETTER and not following & DECIMAL:
                    into, ends = ELIDED, False
            if state != OUTSIDE and ends:
                chars[found], hashes[found] = size, h
                found += 1
                state = OUTSIDE
            if into != OUTSIDE:
                if state == OUTSIDE:
                    h, size = SEED, 0
                h = roll_folded(h, code, fold, expansions)
                size += 1
            state = into
            blank = np.int64(bits & SPACE != 0)
            words += inside & blank
            lettered += letter & blank
            empty += blank
            inside = 1 - blank
            letter = (letter | np.int64(bits & ALPHA != 0 or (code >= TABLE and bits != 0))) & inside
        if state != OUTSIDE:
            chars[found], hashes[found] = size, h
            found += 1
        rows[text + 1] = found
        numbers[0, text], numbers[1, text], numbers[2, text] = words + inside, lettered + letter, empty
        numbers[3, text], numbers[4, text], numbers[5, text], numbers[6, text] = signs, ellipses, breaks, alone
    for place in range(found):
        hashes[place] = stir(hashes[place])
    return rows, chars[:found], hashes[:found], numbers


@njit(cache=True, nogil=True)
def _lines(data: Any, offsets: Any, newlines: Any, plain: Any, classes: Any) -> Any:
    texts = len(offsets) - 1
    rows, start, end, chars, hashes = room(texts, len(newlines) + texts)
    found = line = 0
    for text in range(texts):
        at, stop = offsets[text], offsets[text + 1]
        while at < stop:
            behind = stop
            if line < len(newlines) and newlines[line] < stop:
                behind = newlines[line]
                line += 1
            following = behind + 1
            while at < behind and data[at] < 0x80 and classes[data[at]] & SPACE:
                at += 1
            while behind > at and data[behind - 1] < 0x80 and classes[data[behind - 1]] & SPACE:
                behind -= 1
            if behind > at and (data[at] >= 0x80 or data[behind - 1] >= 0x80):
                at = behind_blanks(data, at, behind, classes)
                behind = before_blanks(data, at, behind, classes)
            if behind > at:
                size: Any = behind - at
                if not plain[text]:
                    for byte in range(at, behind):
                        size -= (data[byte] & 0xC0) == 0x80
                start[found], end[found], chars[found], hashes[found] = at, behind, size, bytes_hash(data, at, behind)
                found += 1
            at = following
        rows[text + 1] = found
    return rows, start[:found], end[:found], chars[:found], hashes[:found]


__all__ = ["Words", "lines_of", "symbols_of", "words_of"]
