"""Drop completions in which the model declines. Copy this file into your project's `plugins/` folder; that is all."""

import factory
from factory import Drop, PromptCompletion, text_of


@factory.step
def no_refusals(record: PromptCompletion, phrases: list[str] = ["I cannot", "As an AI"]) -> bool:
    """Keep completions that contain none of the phrases.

    phrases  looked for as they are written, anywhere in the completion
    """
    answer = text_of(record["completion"])  # messages → plain text
    if found := next((phrase for phrase in phrases if phrase in answer), None):
        raise Drop("refusal", phrase=found)  # a countable reason, and the details of this one
    return True


@factory.hookimpl
def register_steps() -> list[factory.Step]:
    return [no_refusals]
