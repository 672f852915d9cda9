"""From what a model said to an Answer: stop strings, and the ways in which an answer is none."""

from __future__ import annotations

from collections.abc import Sequence

from factory import Answer


def stop_at(text: str, stop: Sequence[str]) -> int | None:
    """Where the first of the stop strings begins in `text`, or None."""
    return min((place for word in stop if word and (place := text.find(word)) >= 0), default=None)


def answer_of(text: str, finish: str, stop: Sequence[str], prompt_tokens: int, completion_tokens: int) -> Answer:
    """The answer in `text`, cut before the first stop string; nothing but white space is a failed answer."""
    if (end := stop_at(text, stop)) is not None:
        text, finish = text[:end], "stop"
    if not text.strip():
        error = "empty answer" if finish == "stop" else f"empty answer ({finish})"
        return Answer("", "failed", error, prompt_tokens, completion_tokens)
    return Answer(text, finish, "", prompt_tokens, completion_tokens)
