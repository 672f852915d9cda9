"""Multiple choice against lm-evaluation-harness, item by item: equal records, equal model, `acc` and `acc_norm`.

It lives in an environment of its own, which has no factory:

    python -m venv peers && peers/bin/pip install lm-eval==0.4.13 accelerate
    python benchmarks/choices.py ours FOLDER [--model bundled:smollm2] [--items 200] [--shots 0] [--bos]
    peers/bin/python benchmarks/choices.py theirs FOLDER

`ours` writes the questions, the model (a tiny random one unless named) and what the step makes of them; `theirs` runs
the harness on both and prints what is not alike.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

WORDS = [
    *(
        "the",
        "of",
        "a",
        "small",
        "old",
        "quiet",
        "river",
        "market",
        "boat",
        "engine",
        "theorem",
        "city",
        "runs",
        "holds",
    ),
    *("follows", "before", "because", "seldom", "water", "iron", "paper", "north", "seven", "eleven", "3.14", "1,000"),
    *("naïve", "déjà", "河流", "市场", "发动机", "定理", "在", "的", "是", "很", "城市"),
]


def questions(count: int) -> list[dict[str, Any]]:
    """Choice records with two to six choices of unlike lengths; some questions end in white space, some are Chinese."""
    draw = random.Random(2024)

    def said(least: int, most: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))

    found = []
    for number in range(count):
        many = draw.randint(2, 6)
        asked = f"{said(4, 30)}?{draw.choice(['', ' ', chr(10), '  '])}"
        choices = list(dict.fromkeys(said(1, 9) for _ in range(many)))
        found.append({"question": asked, "choices": choices, "answer": draw.randrange(len(choices)), "number": number})
    return found


def ours(folder: Path, uri: str, items: int, shots: int, bos: bool) -> None:
    """Questions, model and the step's results, into `folder`."""
    from factory import CausalLM, user
    from factory.evaluate.choices import Asking, answered
    from factory.evaluate.shots import Shots
    from factory.models import open_model
    from factory.models.loading import resolve_folder

    folder.mkdir(parents=True, exist_ok=True)
    rows = questions(items + shots)
    for name, some in (("test", rows[shots:]), ("dev", rows[:shots])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    model = open_model(uri) if uri else tiny(folder / "model", bos)
    assert isinstance(model, CausalLM)
    records = [{"id": str(row["number"]), "prompt": user(row["question"]), **row} for row in rows]
    asking = Asking("continuation", 1, " ", False, {"ours": shots}, Shots("choices", records[:shots]))
    found = answered(records[shots:], asking, {"ours": model}, Quiet())["ours"]  # type: ignore[arg-type]
    said = [{"acc": one.right, "acc_norm": one.right_by_length} for one in found]
    path = str(resolve_folder(model))
    (folder / "ours.json").write_text(json.dumps({"model": path, "shots": shots, "items": said}))
    print(f"{len(said)} items: acc {mean(said, 'acc'):.4f}, acc_norm {mean(said, 'acc_norm'):.4f}")


class Quiet:
    """A context that says nothing."""

    threads = 2

    def progress(self, done: int, total: int, note: str = "") -> None: ...


def tiny(folder: Path, bos: bool) -> Any:
    """A random Llama of 85,000 weights with a byte-level tokenizer, which may begin every text with a bos token."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from factory.models import Local

    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [" ".join(WORDS)] * 9, trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>"], initial_alphabet=alphabet)
    )
    if bos:
        bpe.post_processor = processors.TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<eos>", bos_token="<eos>" if bos else None, pad_token="<eos>"
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=2048, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Local(str(folder), "tiny", folder)


def theirs(folder: Path) -> None:
    """The harness on the same questions; prints every item that is not alike."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    known = json.loads((folder / "ours.json").read_text())
    shots = known["shots"]
    files = {"test": str(folder / "test.jsonl"), **({"dev": str(folder / "dev.jsonl")} if shots else {})}
    task = {
        "task": "same_choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": lambda row: row["question"],
        "doc_to_choice": lambda row: row["choices"],
        "doc_to_target": lambda row: row["answer"],
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        **({"fewshot_split": "dev", "fewshot_config": {"sampler": "first_n"}} if shots else {}),
    }
    lm = HFLM(pretrained=known["model"], device="cpu", dtype="float32", batch_size=8)
    found = simple_evaluate(lm, tasks=[task], num_fewshot=shots, log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"]["same_choices"], key=lambda one: one["doc_id"])
    said = [{"acc": bool(one["acc"]), "acc_norm": bool(one["acc_norm"])} for one in samples]
    print(
        f"{len(said)} items: acc {mean(said, 'acc'):.4f}, acc_norm {mean(said, 'acc_norm'):.4f} (lm-evaluation-harness)"
    )
    unlike = [at for at, pair in enumerate(zip(known["items"], said, strict=True)) if pair[0] != pair[1]]
    print(f"{len(unlike)} of them unlike {unlike[:20]}")


def mean(items: list[dict[str, bool]], name: str) -> float:
    return sum(one[name] for one in items) / len(items)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whose", choices=["ours", "theirs"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--bos", action="store_true", help="the tiny model's tokenizer begins texts with a bos token")
    given = parser.parse_args()
    if given.whose == "ours":
        ours(given.folder, given.model, given.items, given.shots, given.bos)
    else:
        theirs(given.folder)
