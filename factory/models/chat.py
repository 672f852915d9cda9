"""Messages as token ids, by the tokenizer's chat template: a prompt to answer, or turns to learn from."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from factory import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# For tokenizers that bring no template. The eos token closes an answer, so that a model learns to stop.
PLAIN = (
    "{{ bos_token if bos_token is defined and bos_token else '' }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ': ' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' and eos_token is defined else '' }}"
    "{{ '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
MARK = "\ue000"  # a private-use character: stands for an answer to see what a template writes behind one
SEAM = "\ue001"  # stands inside a control token that a message spells out: there it is cut, and becomes plain text


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], turn: str = "assistant") -> str:
    """The text an answer continues. A last message of the role whose turn it is, is a beginning: the answer goes on.

    turn   `user` stops where the user's words would stand, so that the model writes them
    """
    return "".join(_pieces_at_seams(tokenizer, _prompt(tokenizer, messages, turn)))


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], turn: str = "assistant"
) -> list[int]:
    """The token ids of `prompt_text`; the template writes the special tokens, the tokenizer adds none.

    Only the template can: `<|im_end|>` in a message is encoded as the characters it is written with, and ends nothing.
    """
    return _encode(tokenizer, _prompt(tokenizer, messages, turn))


def _prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], turn: str) -> str:
    beginning = ""
    if messages and messages[-1]["role"] == turn:
        beginning = _sealed(tokenizer, messages[-1]["content"])
        messages = messages[:-1]
    if turn == "assistant":
        return _render(tokenizer, messages, True) + beginning
    begun = _render(tokenizer, [*messages, Message(role=turn, content=MARK)], False)
    return begun.rpartition(MARK)[0] + beginning


def encode_turns(
    tokenizer: PreTrainedTokenizerBase,
    prompt_messages: Sequence[Message],
    completion_messages: Sequence[Message],
    max_length: int | None = None,
) -> tuple[list[int], list[int]]:
    """(input_ids, completion_mask) of a prompt and what it should be answered with, cut on the right at `max_length`.

    The mask is 1 on the tokens of the completion's assistant turns, their end-of-turn token included; not on what a
    template writes after it (SmolLM2's newline), nor on other roles' turns. The ids before the first 1 are exactly
    `encode_prompt(prompt_messages)`, so a model is trained on what it will be asked. Without an assistant's turn in the
    completion the mask is all 0.
    """
    pieces = _pieces(tokenizer, prompt_messages, completion_messages)
    ids, ends = _tokenise(tokenizer, pieces)
    mask: list[int] = []
    for (_, learned), end in zip(pieces, ends, strict=True):
        mask += [learned] * (end - len(mask))
    return ids[:max_length], mask[:max_length]


def split_text(
    tokenizer: PreTrainedTokenizerBase, prompt_messages: Sequence[Message], completion_messages: Sequence[Message]
) -> tuple[str, str]:
    """(text before the first learned token of `encode_turns`, text from there to the last), for tools that read text.

    A control token that a message spells out cannot be told from one that the template writes.
    """
    pieces = _pieces(tokenizer, prompt_messages, completion_messages)
    first, *others = ("".join(_pieces_at_seams(tokenizer, text)) for text, _ in pieces)
    return first, "".join(others)


def _pieces(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], completion: Sequence[Message]
) -> list[tuple[str, int]]:
    """The conversation's text in order, each piece with whether it is learned."""
    answers = [place for place, message in enumerate(completion) if message["role"] == "assistant"]
    if not answers:
        return [(_render(tokenizer, [*prompt, *completion], False), 0)]
    spans: list[tuple[str, str]] = []  # (text before an answer, text up to its end)
    for place in answers:
        context = [*prompt, *completion[:place]]
        before = _render(tokenizer, context, True)
        spans.append((before, _answered(tokenizer, context, before, completion[place])))
    steady = all(later.startswith(ended) for (_, ended), (later, _) in itertools.pairwise(spans))
    if not steady:
        spans = spans[-1:]  # a template that rewrites earlier turns (drops their reasoning): learn the last one
    pieces, done = [], 0
    for before, ended in spans:
        pieces += [(before[done:], 0), (ended[len(before) :], 1)]
        done = len(ended)
    return pieces


def _answered(tokenizer: PreTrainedTokenizerBase, context: Sequence[Message], before: str, answer: Message) -> str:
    """`before` with the answer and its end-of-turn token, without the white space a template writes behind it."""
    after = _render(tokenizer, [*context, answer], False)
    marked = _render(tokenizer, [*context, Message(role="assistant", content=MARK)], False)
    _, found, tail = marked.rpartition(MARK)
    if not found:
        tail = tokenizer.eos_token or ""
    if not after.startswith(before):  # the template writes something before an answer that it leaves out when asking
        after = before + _sealed(tokenizer, answer["content"]) + tail
    return after.rstrip() if tail.strip() else after


def _tokenise(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[tuple[str, int]]) -> tuple[list[int], list[int]]:
    """(ids of the whole text, where each piece ends in them).

    The whole is tokenised at once when every cut falls between two tokens; where one falls inside (an answer that
    begins with a newline after the template's newline), each piece on its own, as it happens when a model answers.
    """
    text, ends = "", []
    whole = _encode(tokenizer, "".join(piece for piece, _ in pieces))
    for piece, _ in pieces:
        text += piece
        ids = _encode(tokenizer, text)
        if whole[: len(ids)] != ids:
            break
        ends.append(len(ids))
    else:
        return whole, ends
    whole, ends = [], []
    for piece, _ in pieces:
        whole += _encode(tokenizer, piece) if piece else []
        ends.append(len(whole))
    return whole, ends


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], asking: bool) -> str:
    """What the template makes of messages, with a seam in every control token that is not of its making."""
    plain = None if tokenizer.chat_template else PLAIN
    turns = [{**message, "content": _sealed(tokenizer, message["content"])} for message in messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asking, chat_template=plain))


def _sealed(tokenizer: PreTrainedTokenizerBase, content: str) -> str:
    """A message's text with a seam behind the first character of every control token in it."""
    control = _control(tokenizer, len(tokenizer))
    return control[0].sub(lambda found: found[0][0] + SEAM + found[0][1:], content) if control else content


def _pieces_at_seams(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    control = _control(tokenizer, len(tokenizer)) if SEAM in text else None
    return control[1].split(text) if control else [text]


@functools.lru_cache(maxsize=8)
def _control(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
    """Expressions for the tokenizer's special tokens and for the seams in them; `size` grows with these tokens."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    found = sorted((token for token in special if len(token) > 1), key=len, reverse=True)
    seams = (f"(?<={re.escape(token[0])}){SEAM}(?={re.escape(token[1:])})" for token in found)
    return (re.compile("|".join(map(re.escape, found))), re.compile("|".join(seams))) if found else None


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = []
    for piece in _pieces_at_seams(tokenizer, text):
        ids += tokenizer(piece, add_special_tokens=False)["input_ids"]
    return ids
