"""A Choice as a question that a model reads, and its choices as what may follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal

from factory import Choice, Drop, assistant, text_of, user
from factory.models.chat import encode_prompt
from factory.models.likelihood import Continuation, continuations_of
from factory.text.words import is_unspaced

from .shots import conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Form = Literal["continuation", "letter"]
ASKED = {False: "Answer:", True: "答案："}  # whether the question is in a script without spaces
BETWEEN = "\n\n"  # examples


def checked(record: Mapping[str, Any], form: Form) -> None:
    """Raises Drop for a question that cannot be put, or whose answer says nothing."""
    choices, answer = record["choices"], record["answer"]
    if len(choices) < 2:
        raise Drop("one choice" if choices else "no choices")
    if not 0 <= answer < len(choices):
        raise Drop("answer is none of the choices", answer=answer, choices=len(choices))
    if form == "letter" and len(choices) > len(ascii_uppercase):
        raise Drop("more choices than letters", choices=len(choices))
    if not all(choice.strip() for choice in choices):
        raise Drop("empty choice")
    if not text_of(record["prompt"]).strip():
        raise Drop("empty prompt")


def lettered(record: Mapping[str, Any], first: int = 0) -> Choice:
    """The question with its choices listed as A, B, C…, and these letters as its choices (MMLU, C-Eval).

    first  the choice that stands at A; the others follow it in a circle
    """
    choices, count = record["choices"], len(record["choices"])
    letters = list(ascii_uppercase[:count])
    asked = text_of(record["prompt"][-1])
    listed = [f"{letter}. {choices[(first + at) % count]}" for at, letter in enumerate(letters)]
    said = "\n".join([asked.strip(), *listed, ASKED[is_unspaced(asked)]])
    prompt = [*record["prompt"][:-1], *user(said)]
    return Choice(id=record["id"], prompt=prompt, choices=letters, answer=(record["answer"] - first) % count)


def continuations(
    tokenizer: PreTrainedTokenizerBase, record: Choice, shots: Sequence[Choice], delimiter: str, chat: bool
) -> list[Continuation]:
    """Each choice as a continuation of the question, behind solved examples.

    Plain text as lm-evaluation-harness writes it: question, delimiter, answer, a blank line between examples. As a chat
    the examples are turns, and a choice is what the assistant begins with, without a delimiter.
    """
    if chat:
        turns = [(shot["prompt"], assistant(shot["choices"][shot["answer"]])) for shot in shots]
        asked = conversation(turns, record["prompt"])
        before = encode_prompt(tokenizer, asked)
        found = []
        for choice in record["choices"]:
            whole = encode_prompt(tokenizer, [*asked, *assistant(choice)])
            joined = whole[: len(before)] == before and len(whole) > len(before)
            ids = whole[len(before) :] if joined else tokenizer(choice, add_special_tokens=False)["input_ids"]
            found.append(Continuation(before, ids))
        return found
    shown = "".join(text_of(s["prompt"]) + delimiter + s["choices"][s["answer"]] + BETWEEN for s in shots)
    context = shown + text_of(record["prompt"])
    return continuations_of(tokenizer, context, [delimiter + choice for choice in record["choices"]])
