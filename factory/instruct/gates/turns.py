"""What a gate looks at: every answer of a record, with what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from factory import text_of

FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)$", re.MULTILINE)


def turns(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(prompt, answer) pairs: one of a PromptCompletion or a Preference (its chosen answer), one for each answer of a
    Conversation, whose prompt is all that was said before. A Text is an answer to nothing; a Prompt has none.
    """
    if "messages" in record:
        messages = record["messages"]
        return [
            (text_of(messages[:at]), turn["content"]) for at, turn in enumerate(messages) if turn["role"] == "assistant"
        ]
    prompt = text_of(record.get("prompt") or "")
    if answer := record.get("completion") or record.get("chosen"):
        return [(prompt, text_of(answer))]
    return [("", record["text"])] if record.get("text") else []


def fenced(text: str) -> tuple[list[tuple[str, str]], str, bool]:
    """The code blocks of a text as (info string, code), the text without them, and whether the last was left open.

    Blocks are those of CommonMark (section 4.5): a closing fence is as long as the opening one, or longer, and alone
    in its line. The indentation of the opening fence is taken off the lines.
    """
    blocks: list[tuple[str, str]] = []
    prose: list[str] = []
    code: list[str] = []
    opened: re.Match[str] | None = None
    for line in text.split("\n"):
        found = FENCE.fullmatch(line)
        if opened is None:
            if found:
                opened, code = found, []
            else:
                prose.append(line)
        elif found and not found["info"].strip() and found["mark"].startswith(opened["mark"]):
            blocks.append((opened["info"].strip(), "\n".join(code)))
            opened = None
        else:
            code.append(line.removeprefix(opened["indent"]))
    if opened is not None:
        blocks.append((opened["info"].strip(), "\n".join(code)))
    return blocks, "\n".join(prose), opened is not None
