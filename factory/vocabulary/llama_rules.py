"""Whether llama.cpp can cut text as a tokenizer does: its names of pre-tokenizers, and what has no counterpart there.

llama.cpp knows pre-tokenizers only by the names of models, which are listed in `llm_tokenizer_bpe` of its
src/llama-vocab.cpp; here they are recognised by what they do.
"""

from __future__ import annotations

from typing import Any
from unicodedata import category

from factory import InputError

from .pieces import MARKER, Pieces

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|{WORDS}|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"{CONTRACTIONS}|{WORDS}|\p{{N}}|{REST}"
QWEN35 = (
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{SLASHED}"
)
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|{SLASHED}"

# (what parts text before the merges, whether a word that is a piece is taken whole) -> the name
NAMES: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    (("digits", GPT2), False): "smollm",
    ((LLAMA3,), True): "llama-bpe",
    ((LLAMA3,), False): "smaug-bpe",
    ((QWEN2,), False): "qwen2",
    ((QWEN35,), False): "qwen35",
    ((GPT4O,), False): "gpt-4o",
    ((TEKKEN,), True): "tekken",
}


def pre_tokenizer_name(pieces: Pieces) -> str:
    """What llama.cpp calls the pre-tokenizer of a byte-level BPE. Raises InputError for one that it does not know.

    NFC, as Qwen has it, is passed over as llama.cpp's own converter does: text that is not in NFC differs there.
    """
    if other := [one["type"] for one in pieces.normalizers if one["type"] != "NFC"]:
        raise InputError(f"llama.cpp does not normalise text for byte-level BPE, and this tokenizer does: {other[0]}")
    cuts = tuple(cut for one in pieces.pre_tokenizers for cut in _cuts(one))
    name = NAMES.get((cuts, bool(pieces.model.get("ignore_merges"))))
    if name is None:
        said = " then ".join(cuts) or "none"
        whole = ", taking words that are pieces whole" if pieces.model.get("ignore_merges") else ""
        known = ", ".join(NAMES.values())
        raise InputError(f"no pre-tokenizer that we know of llama.cpp ({known}) parts text by {said}{whole}")
    return name


def _cuts(part: dict[str, Any]) -> tuple[str, ...]:
    """The expressions by which a pre-tokenizer parts text; its own name where it is none of those that are known."""
    kind = part["type"]
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return (GPT2,) if part["use_regex"] else ()
    if kind == "Digits" and part["individual_digits"]:
        return ("digits",)
    if kind == "Split" and part["behavior"] in ("Isolated", "Removed") and "Regex" in part["pattern"]:
        inverted = part["behavior"] == "Removed"  # what matches is what stays: the same for expressions that match all
        if bool(part["invert"]) == inverted:
            return (str(part["pattern"]["Regex"]),)
    return (f"{kind} { ({key: value for key, value in part.items() if key != 'type'}) }",)


def space_prefix(pieces: Pieces) -> bool:
    """Whether a blank is put in front of a text, for SentencePiece tokenizers, as llama.cpp's `add_space_prefix` does.

    Raises InputError where text is parted or normalised in a way that has no counterpart. Metaspace adds no blank to
    a text that begins with one and llama.cpp does: such lines differ.
    """
    known = ("Prepend", "Replace")
    for one in pieces.normalizers:
        if one["type"] not in known or MARKER not in (one.get("prepend"), one.get("content")):
            raise InputError(f"llama.cpp does not normalise text for SentencePiece's BPE as this tokenizer does: {one}")
    prefixed = any(one["type"] == "Prepend" for one in pieces.normalizers)
    check_cuts(pieces)
    return prefixed or any(one.get("prepend_scheme", "never") != "never" for one in pieces.pre_tokenizers)


def check_cuts(pieces: Pieces) -> None:
    """Raise InputError where text is cut before the model sees it so that a piece is kept from being used.

    llama.cpp cuts no text before SentencePiece's models. Cuts at blanks (Metaspace) and around digits are no difference
    as long as no piece goes over one.
    """
    for one in pieces.pre_tokenizers:
        digits = one["type"] == "Digits" and one["individual_digits"]
        if not digits and one["type"] not in ("Metaspace", "WhitespaceSplit"):
            raise InputError(
                f"llama.cpp cuts no text before SentencePiece's models as this tokenizer does: {one['type']}"
            )
        if not one.get("split", True):
            continue
        for piece, token in pieces.vocabulary.items():
            crossing = (
                len(piece) > 1 and any(category(one)[0] == "N" for one in piece) if digits else MARKER in piece[1:]
            )
            if crossing and not _apart(pieces, piece) and pieces.names[token] == piece:
                where = "around digits" if digits else "at blanks"
                raise InputError(
                    f"llama.cpp cuts no text {where}, so it would use '{piece}', and this tokenizer does not"
                )


def scores_of_merges(pieces: Pieces) -> dict[str, float]:
    """Piece -> score by which llama.cpp joins neighbours in the order of the merges: -0, -1, -2 … by first merge.

    It joins any two neighbours that make a piece, as SentencePiece does. Raises InputError where the merges do not:
    each way to part a piece into two has to be one of them, and those of one piece stand together.
    """
    found: dict[str, float] = {}
    ways: dict[str, set[int]] = {}
    last = ""
    for left, right in pieces.model["merges"]:
        made = left + right
        if made != last and made in found:
            raise InputError(f"llama.cpp joins in another order: the merges that make '{made}' do not stand together")
        found.setdefault(made, -float(len(found)))
        ways.setdefault(made, set()).add(len(left))
        last = made
    held = pieces.model["vocab"]
    for piece in (piece for piece in held if not _apart(pieces, piece)):
        for at in range(1, len(piece)):
            parts = piece[:at], piece[at:]
            if at not in ways.get(piece, ()) and all(part in held or len(part) == 1 for part in parts):
                raise InputError(
                    f"llama.cpp would join '{parts[0]}' and '{parts[1]}' to the piece '{piece}', and no merge does; "
                    "SentencePiece has a merge for each way to part a piece"
                )
    return found


def _apart(pieces: Pieces, piece: str) -> bool:
    """Whether a piece is an added token or a fallback byte: nothing is joined to these."""
    token = pieces.vocabulary[piece]
    return token in pieces.added or (len(piece) == 6 and piece.startswith("<0x"))
