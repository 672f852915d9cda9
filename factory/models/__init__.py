"""Models by URI: `openai:NAME`, `bundled:smollm2`, `replay:FILE`, a folder in Hugging Face form, `owner/name` (hub)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import factory
from factory import (
    CausalLM,
    Classifier,
    Index,
    InputError,
    Model,
    ModelError,
    RewardModel,
    Tokenizer,
    digest,
    hash_file,
    project_path,
)
from factory.errors import did_you_mean

if TYPE_CHECKING:
    from .local import LocalSession

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
# Files that answers depend on; a model card, a training log or an optimizer's state change nothing.
MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "*.py", "*.npy")
NOT_MODEL_FILES = ("trainer_state.json", "training_args.bin", "optimizer.bin", "scheduler.bin", "README.txt")
CLASSIFIER = "classifier.json"  # classifiers.py writes it beside the weights
INDEX = "minhash.json"  # of a deduplication index: what its sketches were made with


@dataclass(frozen=True)
class Local(CausalLM):
    """A language model that answers inside this process."""

    ahead = 1024  # its answers come one batch after the other: more would only put off the first

    def open(self, threads: int = 2) -> LocalSession:
        from .local import LocalSession

        return LocalSession(self, threads)


@factory.hookimpl
def open_model(uri: str) -> Model | None:
    """The model a URI means; nothing is loaded or downloaded. Raises InputError or ModelError where there is none."""
    if uri.startswith("openai:"):
        from .openai_api import OpenAI

        return OpenAI.from_uri(uri)
    if uri.startswith("replay:"):
        from .replay import Replay

        return Replay.from_uri(uri)
    if uri.startswith("bundled:"):
        from . import bundled

        if uri != bundled.URI:
            raise ModelError(f"'{uri}': {did_you_mean(uri, [bundled.URI])}")
        return Local(uri, bundled.identity())
    folder = project_path(uri)
    named_as_folder = uri.startswith((".", "/", "~"))
    if folder.is_dir() and (named_as_folder or _is_model(folder)):
        return _open_folder(uri, folder)
    if named_as_folder:
        raise InputError(f"model '{uri}': there is no folder {folder}")
    if HUB_ID.fullmatch(uri):
        return Local(uri, _hub_identity(uri))
    return None


@factory.hookimpl
def save_model(model: Model, uri: str) -> str | None:
    """A folder: all of the model, an adapter merged into its base. An ending of letters or `name:` is another form."""
    if Path(uri).suffix[1:].isalpha() or re.match(r"\w\w+:", uri):
        return None
    from .merging import save_alone

    return save_alone(model, Path(uri))


def _is_model(folder: Path) -> bool:
    names = ("config.json", "adapter_config.json", "tokenizer_config.json", CLASSIFIER, INDEX)
    return any((folder / name).is_file() for name in names)


def _open_folder(uri: str, folder: Path) -> Model:
    """A folder in Hugging Face form, or of a classifier, as the kind of model its files say it is."""
    if not _is_model(folder):
        raise ModelError(f"model '{uri}': {folder} holds neither config.json, adapter_config.json nor a tokenizer")
    adapter, config = (_read_json(folder / name) for name in ("adapter_config.json", "config.json"))
    identity = _folder_identity(folder, adapter)
    if (folder / INDEX).is_file():
        return Index(uri, identity, folder)
    if adapter is None and config is None:
        return (Classifier if (folder / CLASSIFIER).is_file() else Tokenizer)(uri, identity, folder)
    heads = " ".join((config or {}).get("architectures") or [])
    if (adapter or {}).get("task_type") == "SEQ_CLS" or "ForSequenceClassification" in heads:
        return RewardModel(uri, identity, folder)
    return Local(uri, identity, folder)


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when there is no such file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path} is no JSON file: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds {type(found).__name__}; expected an object")
    return found


def _folder_identity(folder: Path, adapter: dict[str, Any] | None) -> str:
    """A hash over the folder's own model files (checkpoints below it do not count) and over an adapter's base."""
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    content: list[Any] = [[path.name, hash_file(path)] for path in files if path.name not in NOT_MODEL_FILES]
    if adapter is not None:
        from .loading import adapter_base

        base = adapter_base(folder, adapter)
        content.append(_open_folder(base.uri, base.path).identity if base.path else base.identity)
    return f"folder {digest(content, 16)}"


def _hub_identity(uri: str) -> str:
    """`owner/name@commit` where the hub cache knows what the revision means, else what the recipe says."""
    name, _, revision = uri.partition("@")
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    reference = cache / f"models--{name.replace('/', '--')}" / "refs" / (revision or "main")
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
    return f"{name}@{revision}" if revision else name
