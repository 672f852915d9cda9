"""Texts of other people inside a prompt of ours: shown whole, between marks they do not hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from factory import Message

# What chat templates write between turns. A local model never sees such a token in a message as one (models/chat.py);
# a server may, and would take the rest of a document for another turn.
_CONTROL = re.compile(
    r"<(?=\|[\w-]{1,40}\|>|[/]?(?:s|start_of_turn|end_of_turn)>|<SYS>>|</SYS>>|｜)|\[(?=/?(?:INST|SYSTEM_PROMPT)\])"
)


def framed(text: str, name: str = "text") -> str:
    """A text between the lines `<name>` and `</name>`; the name gets a number when the text holds these itself."""
    number, tag, held = 1, name, text.casefold()
    while f"<{tag}>" in held or f"</{tag}>" in held:
        number += 1
        tag = f"{name}-{number}"
    return f"<{tag}>\n{defused(text)}\n</{tag}>"


def framed_request(prompt: Sequence[Message]) -> str:
    """What was asked, a system message and earlier turns included: they are what an answer has to follow."""
    if len(prompt) == 1:
        return framed(prompt[0]["content"], "request")
    return "\n".join(framed(message["content"], message["role"]) for message in prompt)


def framed_turns(messages: Iterable[Message]) -> str:
    """A conversation, each turn in a frame named by its role; system messages are left out."""
    return "\n".join(framed(m["content"], m["role"]) for m in messages if m["role"] != "system")


def defused(text: str) -> str:
    """A text as it may stand in a prompt: control tokens of chat templates get a blank, so that none is one."""
    return _CONTROL.sub(lambda found: f"{found[0]} ", text)
