"""Which record type a row is, by its columns, and the row as a record of that type.

text                                → Text
messages                            → Conversation
conversations [{from, value}]       → Conversation       ShareGPT
instruction, instances              → PromptCompletion   self-instruct seeds, one record an instance
instruction, output (input)         → PromptCompletion   Alpaca
prompt, chosen, rejected            → Preference
chosen, rejected (conversations)    → Preference         the prompt is what both begin with
prompt, completion, label           → Unpaired
prompt, completion                  → PromptCompletion
prompt, choices, answer             → Choice
prompt, completions, scores         → Candidates
prompt                              → Prompt
anything else                       → Record             every field in meta
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from factory import (
    Candidates,
    Choice,
    Conversation,
    Drop,
    Message,
    Preference,
    Prompt,
    PromptCompletion,
    Record,
    Text,
    Unpaired,
)

Fields = dict[str, Any]
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
LABELS = {True: True, False: False, "true": True, "false": False, "True": True, "False": False, "1": True, "0": False}
NO_INPUT = ("", "<noinput>")


class Unfit(ValueError):
    """A column holds what its type cannot."""


def kind_of(row: Mapping[str, Any]) -> Any:
    """The record type that a row's columns make it."""
    return _recognise(row)[0]


def convert(row: Mapping[str, Any], kind: Any) -> list[Fields] | Drop:
    """A row as fields of records of `kind`, usually one; fields that are no column are kept beside them."""
    if kind is Text and isinstance(row.get("text"), str) and not isinstance(row.get("meta"), str):
        return [dict(row)]  # most rows of a corpus
    row = dict(row)
    if isinstance(row.get("meta"), str):  # as `export` writes it to csv and parquet
        row["meta"] = _parsed_meta(row["meta"])
    if kind is Record:
        return [row]
    found, build = _recognise(row)
    if not set(kind.__annotations__) <= set(found.__annotations__):
        wanted = [name for name in kind.__annotations__ if name not in Record.__annotations__]
        missing = [name for name in wanted if row.get(name) is None]
        if 0 < len(missing) < len(wanted):
            return Drop("missing column", columns=missing)
        return Drop(f"not a {kind.__name__}", columns=sorted(map(str, row)))
    try:
        return build(row)
    except Unfit as error:
        return Drop(f"not a {kind.__name__}", error=str(error))


def _recognise(row: Mapping[str, Any]) -> tuple[Any, Callable[[Fields], list[Fields]]]:
    def has(*names: str) -> bool:
        return all(name in row for name in names)

    if has("text"):
        return Text, _text
    if has("messages"):
        return Conversation, _messages("messages")
    if has("conversations"):
        return Conversation, _sharegpt
    if has("instruction", "instances"):
        return PromptCompletion, _seed
    if has("instruction", "output"):
        return PromptCompletion, _alpaca
    if has("prompt", "chosen", "rejected"):
        return Preference, _preference
    if has("chosen", "rejected") and isinstance(row["chosen"], list) and isinstance(row["rejected"], list):
        return Preference, _shared_prefix
    if has("prompt", "completion"):
        if has("label") and isinstance(row["label"], str | int | bool) and row["label"] in LABELS:
            return Unpaired, lambda row: [{**_messages("prompt", "completion")(row)[0], "label": LABELS[row["label"]]}]
        return PromptCompletion, _messages("prompt", "completion")
    if has("prompt", "choices", "answer"):
        return Choice, _choice
    if has("prompt", "completions", "scores"):
        return Candidates, _candidates
    if has("prompt"):
        return Prompt, _messages("prompt")
    return Record, lambda row: [row]


def as_messages(value: Any, role: str) -> list[Message] | None:
    """A string as one message of `role`; messages as they are, roles in TRL's words. Raises Unfit."""
    if value is None:
        return None
    if isinstance(value, str):
        return [Message(role=role, content=value)]
    turns = [value] if isinstance(value, dict) else value
    if not isinstance(turns, list) or not turns:
        raise Unfit(f"expected a string or a list of messages, found {_shown(value)}")
    return [_message(turn) for turn in turns]


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise Unfit(f"expected a message with role and content, found {_shown(turn)}")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(content, list):  # OpenAI's content parts
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise Unfit("a message has parts that are not text")
        content = "".join(part["text"] for part in content)
    if not isinstance(role, str) or not isinstance(content, str):
        raise Unfit(f"expected a message with role and content, found {_shown(turn)}")
    return Message(role=ROLES.get(role, role), content=content)


def _shown(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, dict) else "{" + ", ".join(map(str, value)) + "}"


def _text(row: Fields) -> list[Fields]:
    if row["text"] is not None and not isinstance(row["text"], str):
        raise Unfit(f"expected text to be a string, found {_shown(row['text'])}")
    return [row]


def _messages(*names: str) -> Callable[[Fields], list[Fields]]:
    def build(row: Fields) -> list[Fields]:
        return [{**row, **{name: as_messages(row[name], _role(name)) for name in names}}]

    return build


def _role(column: str) -> str:
    return "user" if column in ("prompt", "messages") else "assistant"


def _sharegpt(row: Fields) -> list[Fields]:
    rest = {name: value for name, value in row.items() if name != "conversations"}
    return [{**rest, "messages": as_messages(row["conversations"], "user")}]


def join_input(instruction: str, given: Any) -> str:
    """The prompt of an Alpaca row: the instruction, a blank line, the input if there is one."""
    if given is None or str(given).strip() in NO_INPUT:
        return instruction
    return f"{instruction}\n\n{given}"


def _alpaca(row: Fields) -> list[Fields]:
    instruction, output = row["instruction"], row["output"]
    if not isinstance(instruction, str) or not isinstance(output, str):
        raise Unfit("expected instruction and output to be strings")
    rest = {name: value for name, value in row.items() if name != "output"}
    prompt = as_messages(join_input(instruction, row.get("input")), "user")
    return [{**rest, "prompt": prompt, "completion": as_messages(output, "assistant")}]


def _seed(row: Fields) -> list[Fields]:
    instances = row["instances"]
    if not isinstance(instances, list) or not instances or not all(isinstance(one, dict) for one in instances):
        raise Unfit("expected instances to be a list of {input, output}")
    rest = {name: value for name, value in row.items() if name != "instances"}
    return [
        made
        for one in instances
        for made in _alpaca({**rest, "input": one.get("input", ""), "output": one.get("output")})
    ]


def _preference(row: Fields) -> list[Fields]:
    """Some sets repeat the prompt at the head of both answers; it is taken off there."""
    made = _messages("prompt", "chosen", "rejected")(row)[0]
    prompt, chosen, rejected = made["prompt"], made["chosen"], made["rejected"]
    if None not in (prompt, chosen, rejected):
        size = len(prompt)
        if len(chosen) > size and len(rejected) > size and chosen[:size] == rejected[:size] == prompt:
            made["chosen"], made["rejected"] = chosen[size:], rejected[size:]
    return [made]


def _shared_prefix(row: Fields) -> list[Fields]:
    chosen, rejected = as_messages(row["chosen"], "assistant"), as_messages(row["rejected"], "assistant")
    assert chosen is not None
    assert rejected is not None
    size = 0
    while size < min(len(chosen), len(rejected)) and chosen[size] == rejected[size]:
        size += 1
    if size in (0, len(chosen), len(rejected)):
        raise Unfit("chosen and rejected must begin with one prompt and end differently")
    return [{**row, "prompt": chosen[:size], "chosen": chosen[size:], "rejected": rejected[size:]}]


def _choice(row: Fields) -> list[Fields]:
    choices, answer = row["choices"], row["answer"]
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
        raise Unfit("expected choices to be a list of strings")
    if not str(answer).isdigit() or int(answer) >= len(choices):
        raise Unfit("expected answer to be the index of a choice")
    return [{**row, "prompt": as_messages(row["prompt"], "user"), "answer": int(answer)}]


def _candidates(row: Fields) -> list[Fields]:
    if not isinstance(row["completions"], list) or not isinstance(row["scores"], list):
        raise Unfit("expected completions and scores to be lists")
    completions = [as_messages(one, "assistant") for one in row["completions"]]
    return [{**row, "prompt": as_messages(row["prompt"], "user"), "completions": completions}]


def _parsed_meta(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    return value if isinstance(value, dict) else {"meta": value}
