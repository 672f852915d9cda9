"""A tiny random Llama, records to measure it on, and a context that really asks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory import Answer, Budget, CausalLM, Context, Dataset, Model, PromptCompletion, Request, Shard, assistant, user
from factory.engine.memo import Memo, write_memo
from factory.engine.records import columns
from factory.engine.schema import encode, schema_of, shape_record

sys.path.insert(0, str(Path(__file__).parent))  # for rote

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PAIRS = [
    ("What is a list?", "A list holds items in order."),
    ("Say hello in Chinese.", "你好，世界"),
    ("Count to three.", "1, 2, 3"),
    ("What is a set?", "A set holds each item once, whatever the order in which they were added to it."),
    ("Name a module.", "json"),
    ("Count to three.", "One, two, three."),
]


@dataclass
class Notebook:
    """The engine's side of a context: it asks one request after another and writes down what a step says."""

    folder: Path
    dropped: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
    told: list[tuple[int, int]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    def memos(self, function: Callable[..., Any], items: Iterable[Any], *args: Any) -> list[Memo]:
        found = []
        for at, item in enumerate(items):
            path = self.folder / f"{function.__name__}-{at}.memo"
            write_memo(path, function(item, *args))
            found.append(Memo(str(path), path.stem))
        return found

    def ask(
        self, model: Model, requests: Iterable[Request], ahead: int | None, budget: Budget | None = None
    ) -> Iterator[Answer]:
        session = model.open(1)
        for request in requests:
            self.asked.append(request)
            yield session.submit([request]).result()[0]
        session.close()

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason, details))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        raise AssertionError("nothing is trained here")

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append(says)

    def tell(self, done: int, total: int, note: str) -> None:
        self.told.append((done, total))


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


@pytest.fixture
def context(tmp_path: Path, notebook: Notebook) -> Context:
    return Context("evaluate", 7, 1, tmp_path / "work", tmp_path / "model", notebook)


@pytest.fixture
def records() -> list[dict[str, Any]]:
    return [{"id": f"{at:04x}", "prompt": user(q), "completion": assistant(a)} for at, (q, a) in enumerate(PAIRS)]


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Dataset[Any]]:
    """Records as a stored dataset of shards of `size`."""
    import pyarrow.parquet as pq

    written = itertools.count()

    def write(records: list[dict[str, Any]], kind: Any = PromptCompletion, size: int = 1000) -> Dataset[Any]:
        schema, shards = schema_of(kind), []
        for start in range(0, max(1, len(records)), size):
            path = tmp_path / f"records-{next(written)}.parquet"
            some = [shape_record(record, columns(kind)) for record in records[start : start + size]]
            pq.write_table(encode(some, schema), path)
            shards.append(Shard(str(path), path.stem))
        return Dataset(shards, kind)

    return write


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CausalLM]:
    """A random Llama with a byte-level tokenizer of `vocabulary` entries."""

    def make(seed: int = 0, vocabulary: int = 300) -> CausalLM:
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        from factory.models import Local

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator([text for pair in PAIRS for text in pair], trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|im_end|>")
        tokenizer.chat_template = CHATML
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=1,
            initializer_range=0.3,
        )
        folder = tmp_path_factory.mktemp("tiny")
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return Local(str(folder), f"tiny {seed} {vocabulary}", folder)

    return make
