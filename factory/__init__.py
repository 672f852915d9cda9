"""The dataset factory: from a pile of documents to a tuned model. This is what a plugin author imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .engine.context import Context
from .engine.dataset import Batch, Dataset, Shard
from .engine.model import Answer, CausalLM, Classifier, Index, Model, Request, RewardModel, Tokenizer
from .engine.project import hash_file, hash_path, place_of, project_path, project_root
from .engine.records import (
    Candidates,
    Choice,
    Conversation,
    Drop,
    Drops,
    Message,
    Metric,
    Preference,
    Prompt,
    PromptCompletion,
    Record,
    Text,
    Unpaired,
    assistant,
    derive,
    digest,
    text_of,
    texts,
    user,
)
from .engine.source import Piece, Row, Source
from .engine.step import Step, step
from .errors import FactoryError, InputError, ModelError, Pending, PluginError, RecipeError, StepError
from .hookspecs import hookimpl

if TYPE_CHECKING:
    from .engine.build import Result, build

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Batch",
    "Candidates",
    "CausalLM",
    "Choice",
    "Classifier",
    "Context",
    "Conversation",
    "Dataset",
    "Drop",
    "Drops",
    "FactoryError",
    "Index",
    "InputError",
    "Message",
    "Metric",
    "Model",
    "ModelError",
    "Pending",
    "Piece",
    "PluginError",
    "Preference",
    "Prompt",
    "PromptCompletion",
    "RecipeError",
    "Record",
    "Request",
    "Result",
    "RewardModel",
    "Row",
    "Shard",
    "Source",
    "Step",
    "StepError",
    "Text",
    "Tokenizer",
    "Unpaired",
    "assistant",
    "build",
    "derive",
    "digest",
    "hash_file",
    "hash_path",
    "hookimpl",
    "place_of",
    "project_path",
    "project_root",
    "step",
    "text_of",
    "texts",
    "user",
]


def __getattr__(name: str) -> Any:
    if name in ("Result", "build"):
        from .engine import build as module

        return getattr(module, name)
    raise AttributeError(f"module 'factory' has no attribute '{name}'")
