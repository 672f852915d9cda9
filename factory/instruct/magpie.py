"""Tasks that a model makes up by itself: shown its chat template up to the user's turn, it writes what users write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

import factory
from factory import (
    Budget,
    CausalLM,
    Context,
    Dataset,
    Drop,
    Message,
    PromptCompletion,
    Request,
    StepError,
    Text,
    digest,
)

from .generation import Generation, Novelty
from .passages import beginning
from .writing import Bounds, Draw, most_draws, written

_ASSISTANT = re.compile(
    r"(?:sure|certainly|absolutely|of course)[,!.]|here(?:'s| is| are) (?:a|an|the|some|your)\b|as an ai\b|welcome to\b"
    r"|当然|好的",
    re.I,
)
_OFFERS = re.compile(r"\b(?:how (?:can|may) i (?:help|assist) you|i(?:'d| would) be happy to help)\b", re.I)
_EARLIER = re.compile(
    r"\b(?:you (?:said|mentioned|told me|wrote|just)|(?:as )?(?:mentioned|discussed|said) (?:earlier|before|above)"
    r"|your (?:last|previous|earlier) (?:answer|message|reply|response))\b|你刚才|你之前",
    re.I,
)
_INSTRUCTS = re.compile(r"you are (?:an? )?(?:\w+ )?(?:ai|assistant|chatbot|language model)\b", re.I)


def most_requests(records: int, count: int = 100, max_draws: int | None = None, **_: Any) -> int:
    """How many requests the step may make: an instruction and its answer each draw."""
    return 2 * most_draws(count, max_draws)


@factory.step(requests=most_requests)
def magpie(
    dataset: Dataset[Text],
    ctx: Context,
    model: CausalLM,
    count: Annotated[int, Field(ge=1)] = 100,
    keep_system: bool = False,
    max_chars: Annotated[int, Field(ge=20)] = 2000,
    novelty: Annotated[float, Field(ge=0, le=1)] = 0.7,
    evaluation: list[Dataset[Any]] = [],
    budget: Budget | None = None,
    lookahead: Annotated[int, Field(ge=1)] = 32,
    max_draws: Annotated[int, Field(ge=1)] | None = None,
    min_yield: Annotated[float, Field(ge=0, lt=1)] = 0.04,
    temperature: Annotated[float, Field(ge=0)] = 0.9,
    answer_temperature: Annotated[float, Field(ge=0)] = 0.7,
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9,
    instruction_tokens: Annotated[int, Field(ge=1)] = 128,
    answer_tokens: Annotated[int, Field(ge=1)] = 512,
    min_words: Annotated[int, Field(ge=1)] = 3,
    max_words: Annotated[int, Field(ge=1)] = 200,
) -> Iterator[PromptCompletion]:
    """Let a model write the user's turn of a conversation, then answer it; the given texts are the system messages.

    Each draw has the next text as its system message, which sets what the conversation is about: "You help people who
    learn Python.", say. One text alone serves all draws.

    count        tasks to accept; raising it asks the model only for more
    keep_system  whether the system message is part of the record's prompt; if not, the task is also answered without
    max_chars    of a text; a longer one is cut at the end of a sentence
    novelty      ROUGE-L F above which a task is too like one that was drawn before it
    evaluation   datasets whose items must not be among the tasks
    budget       bounds on requests, tokens and cost; the step ends with what there is
    lookahead    draws are asked for this far ahead of the answers
    max_draws    tasks drawn at most; 8 for every one to accept by default
    min_yield    the share of candidates that must get through; when fewer do, the run ends with a diagnosis
    temperature  of tasks, which should differ; answer_temperature: of their answers
    instruction_tokens, answer_tokens  at most; what is cut off there is never kept
    min_words, max_words               of a task

    The model must run in this process: a chat completions endpoint cannot write the user's turn. Base models and
    models that were not tuned on conversations write anything. Raises StepError when there is no text, or when next
    to nothing is accepted. Xu et al. 2024 (Magpie, section 2).
    """
    scenes = [record for record in dataset if record["text"].strip()]
    for record in dataset:
        if not record["text"].strip():
            ctx.drop(record, "no words")
    if not scenes:
        raise StepError("magpie: there is no text to begin from; one such as 'You are a helpful assistant.' is enough")
    gen = Generation(ctx, model, budget, evaluation, count)
    sampling = {"temperature": temperature, "top_p": top_p, "max_tokens": instruction_tokens}
    answering = {"temperature": answer_temperature, "top_p": top_p, "max_tokens": answer_tokens}
    most = most_draws(count, max_draws)
    bounds = Bounds(count, most, lookahead, min_yield, min_words, max_words, answering)
    drawn = draws(scenes, most, max_chars, keep_system, sampling)
    yield from written(gen, "magpie", drawn, Novelty(novelty), bounds, fault_of=wrong_voice)
    gen.report("Magpie", "A task and its answer are two requests.")


def draws(scenes: list[Any], most: int, max_chars: int, keep: bool, sampling: dict[str, Any]) -> Iterator[Draw]:
    """The system messages in turn; one that comes again has another index, so it is another draw."""
    asked: Counter[str] = Counter()
    for number in range(most):
        scene = scenes[number % len(scenes)]
        text = beginning(scene["text"], max_chars)
        system = [Message(role="system", content=text)]
        index = asked[digest(text)]
        asked[digest(text)] += 1
        request = Request(system, index=index, turn="user", about={"id": scene["id"]}, **sampling)
        yield Draw(number, [scene], request, {}, system if keep else [])


def wrong_voice(draw: Draw) -> Drop | None:
    """What small models write where a user should speak: the assistant, or somebody in the middle of a conversation."""
    said = draw.instruction.replace("’", "'")
    if _ASSISTANT.match(said) or _OFFERS.search(said):
        return Drop("speaks as the assistant")
    if _INSTRUCTS.match(said):
        return Drop("is a system message")
    if found := _EARLIER.search(said):
        return Drop("speaks of an earlier turn", phrase=found[0])
    return None
