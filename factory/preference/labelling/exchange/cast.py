"""What all forms of votes share: items as plain values, votes completed from what a file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from factory import Message, assistant, text_of, user

from ...comparisons import item_key
from ..items import Item

MEANT = {"left": "2", "right": "4", "first": "2", "second": "4", "tie": "3", "equal": "3", "both good": "both_good",
         "both bad": "both_bad", "neither": "both_bad"}  # fmt: skip


def item_from(prompt: Any, completions: Sequence[Any], gold: Any = None, models: Sequence[str] = ()) -> Item:
    """An item of messages or of plain texts. Raises ValueError when it is neither."""
    asked, answers = _messages(prompt, user), [_messages(answer, assistant) for answer in completions]
    return Item(item_key(asked, answers), asked, answers, gold=None if gold is None else str(gold), models=list(models))


def content_of(item: Item) -> dict[str, Any]:
    """An item as plain values, from which `item_of_content` makes it again."""
    content: dict[str, Any] = {"prompt": item.prompt, "completions": item.completions}
    return content | ({"models": item.models} if item.models else {}) | ({"gold": item.gold} if item.gold else {})


def item_of_content(content: Mapping[str, Any]) -> Item:
    if not isinstance(content.get("completions"), list):
        raise ValueError("an item has a prompt and completions")
    return item_from(content.get("prompt"), content["completions"], content.get("gold"), content.get("models") or ())


def shown_text(messages: Sequence[Message]) -> str:
    """Messages as one text for another tool's screen: roles are told where there are several."""
    if len(messages) == 1:
        return text_of(messages)
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def vote_from(said: Mapping[str, Any], unit: Sequence[int]) -> dict[str, Any]:
    """A vote in the form of `Labels.votes`, completed where the file says nothing. Raises ValueError for nonsense."""
    by = str(said.get("by") or "").strip()
    if not by:
        raise ValueError("a vote needs the name of whoever cast it")
    choice = str(said.get("choice") or "").strip()
    shown = list(said.get("shown") or unit)
    seconds = said.get("seconds") or 0.0
    return {
        "by": by,
        "shown": shown,
        "check": said.get("check") or "",
        "mode": said.get("mode") or ("rank" if choice == "rank" or len(shown) > 2 else "pair"),
        "choice": MEANT.get(choice.lower(), choice),
        "strength": said.get("strength"),
        "ranking": said.get("ranking"),
        "reason": said.get("reason") or ("skipped" if choice == "skip" else ""),
        "note": said.get("note") or "",
        "edit": said.get("edit"),
        "seconds": float(seconds),
        "at": _time(said.get("at")),
    }


def turned(choice: str) -> str:
    """A choice of the five as it reads with the sides turned round."""
    return str(6 - int(choice)) if choice in "12345" else choice


def _messages(value: Any, plain: Any) -> list[Message]:
    if isinstance(value, str):
        return list(plain(value))
    good = isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in value
    )
    if not good or not value:
        raise ValueError(f"a prompt or an answer is a text or a list of messages, not {str(value)[:60]!r}")
    return list(value)


def _time(value: Any) -> str:
    """ISO 8601 in UTC; 1970 for a vote whose time is not known, so that reading it twice is seen."""
    if not value:
        return "1970-01-01T00:00:00.000+00:00"
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"a time is written as 2026-01-31T12:00:00+00:00, not {str(value)!r}") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
