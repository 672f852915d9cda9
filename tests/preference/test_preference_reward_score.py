"""Rewards by a random sequence classifier made on the spot: the same whatever is scored beside."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from factory import Context, ModelError, RewardModel, assistant, user
from factory.models import open_model
from factory.preference.reward_score import reward_score

pytestmark = pytest.mark.model
WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "saw",
    "seven",
    "birds",
    "in",
    "tall",
    "trees",
    "by",
    "the",
    "sea",
]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_folder(folder: Path, labels: int = 1, pad: str = "<|endoftext|>") -> Path:
    """A random Llama with a score head, hidden 32, context 128."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|im_end|>", pad_token=pad)
    tokenizer.chat_template = CHATML
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        num_labels=labels,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("reward"))


class Room:
    """Keeps what the step says."""

    def __init__(self) -> None:
        self.dropped: list[tuple[str, str]] = []
        self.sections: dict[str, str] = {}
        self.alarms: list[str] = []

    def drop(self, record: Any, reason: str, details: dict[str, Any]) -> None:
        self.dropped.append((record["id"], reason))

    def report(self, title: str, body: str) -> None:
        self.sections[title] = body

    def alarm(self, says: str, examples: list[dict[str, Any]]) -> None:
        self.alarms.append(says)


def scored(folder: Path, records: list[Any], **options: Any) -> tuple[list[Any], Room]:
    room = Room()
    ctx = Context("reward_score", 0, 1, folder, folder, room)  # type: ignore[arg-type]
    model = open_model(uri=str(folder))
    assert isinstance(model, RewardModel)
    return list(reward_score.function(iter(records), ctx, model, **options)), room


def candidates(count: int, answers: int = 4, seed: int = 1) -> list[Any]:
    draw = random.Random(seed)
    return [
        {
            "id": f"p{at}",
            "parents": [],
            "prompt": user(" ".join(draw.choices(WORDS, k=5))),
            "completions": [assistant(" ".join(draw.choices(WORDS, k=draw.randint(1, 30)))) for _ in range(answers)],
            "scores": [],
            "meta": {"topic": at},
        }
        for at in range(count)
    ]


def alone(folder: Path, records: list[Any]) -> list[list[float]]:
    """Each answer by itself, unpadded, read off the last token by hand."""
    import torch
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    lm = LlamaForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for record in records:
        row = []
        for answer in record["completions"]:
            text = tokenizer.apply_chat_template([*record["prompt"], *answer], tokenize=False).rstrip()
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
            assert ids[0, -1] == tokenizer.eos_token_id
            with torch.inference_mode():
                row.append(float(lm.score(lm.model(ids).last_hidden_state)[0, -1, 0]))
        found.append(row)
    return found


def test_neither_order_nor_padding_changes_a_score(folder: Path) -> None:
    records = candidates(70)
    made, room = scored(folder, records)
    expected = alone(folder, records)
    assert [one["id"] for one in made] == [one["id"] for one in records]
    for one, scores in zip(made, expected, strict=True):
        assert one["scores"] == pytest.approx(scores, abs=1e-5)
        assert [grade["grade"] for grade in one["meta"]["grades"]] == one["scores"]
        assert one["meta"]["topic"] == int(one["id"][1:])
    turned, _ = scored(folder, records[::-1])
    for one, other in zip(made, turned[::-1], strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    assert made == scored(folder, records)[0], "and again, bit by bit"
    assert "| 280 |" in room.sections["Rewards"]


def test_a_pad_token_that_ends_answers_is_no_padding(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, pad="<|im_end|>")
    records = candidates(8)
    made, _ = scored(folder, records)
    for one, scores in zip(made, alone(folder, records), strict=True):
        assert one["scores"] == pytest.approx(scores, abs=1e-5)


def test_what_is_too_long_is_dropped_and_nothing_is_cut(folder: Path) -> None:
    records = candidates(3, 2)
    records[1]["completions"][0] = assistant(" ".join(WORDS * 20))
    records[2]["completions"] = []
    made, room = scored(folder, records)
    assert [one["id"] for one in made] == ["p0"]
    assert room.dropped == [("p1", "too long"), ("p2", "no answers")]
    assert scored(folder, records[:1], max_length=5)[1].dropped == [("p0", "too long")]


def test_a_classifier_of_several_labels_is_no_reward_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it has 3 labels; a reward model has one"):
        scored(make_folder(tmp_path, labels=3), candidates(1))


def test_weights_that_overflow_give_no_scores(folder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    lm = LlamaForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        lm.score.weight.fill_(float("nan"))
    lm.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    made, room = scored(tmp_path, candidates(2))
    assert made == []
    assert [reason for _, reason in room.dropped] == ["reward is no number"] * 2


def test_an_adapter_with_a_score_head_is_merged(folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(1)
    base = LlamaForSequenceClassification.from_pretrained(folder)
    tuned = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=4, init_lora_weights=False)).eval()
    tuned.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path)
    records = candidates(3)
    made, _ = scored(tmp_path, records)
    text = tokenizer.apply_chat_template([*records[0]["prompt"], *records[0]["completions"][0]], tokenize=False)
    ids = tokenizer(text.rstrip(), add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = float(tuned(input_ids=ids).logits)
    assert made[0]["scores"][0] == pytest.approx(expected, abs=1e-4)
    assert made[0]["scores"] != pytest.approx(scored(folder, records)[0][0]["scores"], abs=1e-3)
