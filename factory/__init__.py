"""The dataset factory: from a pile of documents to a tuned model. This is what a plugin author imports."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.batch import Batch
    from .engine.budget import Budget
    from .engine.build import Result, build, stored
    from .engine.context import Context
    from .engine.dataset import Dataset, Shard
    from .engine.flat import Flat
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

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Batch",
    "Budget",
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
    "Flat",
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
    "stored",
    "text_of",
    "texts",
    "user",
]

# Names are loaded when they are first used: `factory --help` needs none of Arrow, pydantic and numpy behind them.
_HOMES = {
    "engine.batch": "Batch",
    "engine.budget": "Budget",
    "engine.build": "Result build stored",
    "engine.context": "Context",
    "engine.dataset": "Dataset Shard",
    "engine.flat": "Flat",
    "engine.model": "Answer CausalLM Classifier Index Model Request RewardModel Tokenizer",
    "engine.project": "hash_file hash_path place_of project_path project_root",
    "engine.records": (
        "Candidates Choice Conversation Drop Drops Message Metric Preference Prompt PromptCompletion Record Text "
        "Unpaired assistant derive digest text_of texts user"
    ),
    "engine.source": "Piece Row Source",
    "engine.step": "Step step",
    "errors": "FactoryError InputError ModelError Pending PluginError RecipeError StepError",
    "hookspecs": "hookimpl",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'factory' has no attribute '{name}'")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
