"""A tiny random Llama, also with new words, what it can learn by heart, and a context to train in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory import (
    Answer,
    Budget,
    CausalLM,
    Context,
    Dataset,
    Model,
    Prompt,
    PromptCompletion,
    Request,
    RewardModel,
    Shard,
    Text,
    assistant,
    user,
)
from factory.engine.schema import encode, schema_of, shape_record
from factory.models.extension import Extension

sys.path.insert(0, str(Path(__file__).parent))

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
FACTS = {
    "What is a list?": "A list holds items in order.",
    "What is a set?": "A set holds each item once.",
    "What is a dict?": "A dict maps keys to values.",
    "What is a tuple?": "A tuple is a list that never changes, and so it can be a key of a dict.",
    "What is a string?": "A string is text.",
    "What is a function?": "A function is code with a name.",
    "What is a class?": "A class says what its objects are made of and what they do.",
    "What is a module?": "A module is a file of code.",
    "What is a generator?": "A generator makes one item after another.",
    "What is a loop?": "A loop runs code again.",
}

NEW = ["列表", "集合", "字典", "保存", "项目", "顺序"]
PADDED = 4  # rows beyond the tokenizer, as where vocabularies are padded to a multiple
WORDS = {"old": ["list", "set", "dict", "holds", "items", "order"], "new": NEW}


@dataclass
class Notebook:
    """The engine's side of a context: it writes down what a step says."""

    dropped: list[tuple[str, str]] = field(default_factory=list)
    logged: dict[int, dict[str, float]] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)
    told: list[tuple[int, int]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Any]:
        raise AssertionError("no step of this room maps")

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        raise AssertionError("training asks nobody")

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.logged.setdefault(step, {}).update(metrics)

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append(says)

    def tell(self, done: int, total: int, note: str) -> None:
        self.told.append((done, total))


def make_context(folder: Path, seed: int = 7) -> tuple[Context, Notebook]:
    notebook = Notebook()
    (folder / "work").mkdir(parents=True, exist_ok=True)
    return Context("sft", seed, 1, folder / "work", folder / "model", notebook), notebook


def write_dataset(path: Path, records: list[dict[str, Any]], kind: Any = PromptCompletion) -> Dataset[Any]:
    import pyarrow.parquet as pq

    schema = schema_of(kind)
    names = [name for name in schema.names if name not in ("id", "parents", "meta")]
    pq.write_table(encode([shape_record(record, names) for record in records], schema), path)
    return Dataset([Shard(str(path), path.stem)], kind)


def facts(times: int = 1) -> list[dict[str, Any]]:
    pairs = [(question, answer) for _ in range(times) for question, answer in FACTS.items()]
    return [{"id": f"{at:04x}", "prompt": user(q), "completion": assistant(a)} for at, (q, a) in enumerate(pairs)]


def preferences(count: int = 24) -> list[dict[str, Any]]:
    """Pairs with a rule to learn, in words that both answers share; each prompt differs, and every third has a margin
    of its own.
    """
    things = [question.split()[-1].rstrip("?") for question in FACTS]
    made = []
    for at in range(count):
        one, other = things[at % 10], things[(at // 10 + at + 1) % 10]
        made.append(
            {
                "id": f"{at:04x}",
                "prompt": user(f"What is a {one} of a {other}?"),
                "chosen": assistant(f"A {one} holds each {other} once{' and in order' * (at % 3)}."),
                "rejected": assistant(f"A {other} is once in each {one}{' again and again' * (at % 2)}."),
                "meta": {"margin": at % 3 / 2},
            }
        )
    return made


def labelled(count: int = 24) -> list[dict[str, Any]]:
    """Both answers of each pair on their own."""
    return [
        {"id": one["id"] + side, "prompt": one["prompt"], "completion": one[side], "label": side == "chosen"}
        for one in preferences(count)
        for side in ("chosen", "rejected")
    ]


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*FACTS, *FACTS.values()], trainer)
    # pad = eos, as SmolLM2 comes: the end of a turn must be learned all the same
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    wrapped.chat_template = CHATML
    return wrapped


def make_model(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def extend(tiny: Path, folder: Path, tied: bool) -> CausalLM:
    """The tiny model with rows for six Chinese words, which begin as noise."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    first = len(tokenizer)
    tokenizer.add_tokens(NEW)
    torch.manual_seed(1)
    model.resize_token_embeddings(len(tokenizer) + PADDED, mean_resizing=False)
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Extension(first, len(NEW)).save(folder)
    return CausalLM(uri=str(folder), path=folder)


def sentences(language: str, count: int = 24, start: int = 0) -> list[dict[str, Any]]:
    """Sentences with a rule to learn: each word is followed by the next of its list, from a beginning that differs."""
    words, between = WORDS[language], " " if language == "old" else ""
    made = []
    for at in range(start, start + count):
        said = [words[(at + place) % len(words)] for place in range(3 + at % 9)]
        made.append({"id": f"{language}{at:03d}", "text": between.join(said)})
    return made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    folder = make_model(tmp_path_factory.mktemp("tiny"))
    return CausalLM(uri=str(folder), path=folder)


@pytest.fixture(scope="session", params=[False, True], ids=["untied", "tied"])
def extended(request: Any, tiny: CausalLM, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """The tiny model with six new words; its head has a weight of its own, or that of the embedding."""
    assert tiny.path is not None
    return extend(tiny.path, tmp_path_factory.mktemp("extended"), request.param)


@pytest.fixture
def text(tmp_path: Path) -> Callable[..., Dataset[Text]]:
    """Sentences of the `old` or the `new` language."""

    def make(language: str, count: int = 24, start: int = 0) -> Dataset[Text]:
        return write_dataset(tmp_path / f"{language}{count}-{start}.parquet", sentences(language, count, start), Text)

    return make


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset[PromptCompletion]:
    """Ten questions with an answer each."""
    return write_dataset(tmp_path / "facts.parquet", facts())


@pytest.fixture(scope="session")
def sft(tiny: CausalLM, tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """The tiny model with a random LoRA."""
    from ppo_models import adapter

    return adapter(tiny, tmp_path_factory.mktemp("sft"), seed=1)


@pytest.fixture(scope="session")
def reward(tiny: CausalLM, tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    """A random LoRA with a head on the tiny model."""
    from ppo_models import reward_adapter

    return reward_adapter(tiny, tmp_path_factory.mktemp("reward"), seed=2)


@pytest.fixture
def asked(tmp_path: Path) -> Dataset[Prompt]:
    """Ten prompts."""
    from ppo_models import prompts

    return write_dataset(tmp_path / "prompts.parquet", prompts(), Prompt)


@pytest.fixture(name="facts")
def fixture_facts() -> Callable[..., list[dict[str, Any]]]:
    return facts


@pytest.fixture(name="preferences", scope="session")
def fixture_preferences() -> Callable[..., list[dict[str, Any]]]:
    return preferences


@pytest.fixture(name="labelled", scope="session")
def fixture_labelled() -> Callable[..., list[dict[str, Any]]]:
    return labelled


@pytest.fixture(name="extend", scope="session")
def fixture_extend() -> Callable[..., CausalLM]:
    return extend


@pytest.fixture(name="make_context", scope="session")
def fixture_make_context() -> Callable[..., tuple[Context, Notebook]]:
    return make_context


@pytest.fixture(name="write_dataset", scope="session")
def fixture_write_dataset() -> Callable[..., Dataset[Any]]:
    return write_dataset
