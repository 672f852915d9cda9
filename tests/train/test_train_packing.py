"""Packing: what must hold of any documents, and that no packed document sees another."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.train.batches import IGNORED
from factory.train.packing import Blocks, collate_blocks, cut, pack
from factory.train.tokens import Tokens

documents = st.lists(st.integers(1, 70), min_size=1, max_size=60)


def tokens_with(lengths: list[int]) -> Tokens:
    """Documents of these lengths in which every token is another number."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.arange(offsets[-1], dtype=np.uint32), offsets, 0, 0)


def naive_best_fit(sizes: list[int], capacity: int) -> list[int]:
    """The room that is left in each block."""
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [at for at, room in enumerate(rooms) if room >= size]
        if fitting:
            rooms[min(fitting, key=lambda at: rooms[at])] -= size
        else:
            rooms.append(capacity - size)
    return sorted(rooms)


@given(documents, st.integers(2, 32))
def test_every_token_of_every_document_is_there_once_and_in_order(lengths: list[int], seq_len: int) -> None:
    tokens = tokens_with(lengths)
    blocks = Blocks(tokens, seq_len)
    pieces: list[list[int]] = []
    for block in blocks:
        assert 0 < len(block) <= seq_len
        assert block.sizes.sum() == len(block)
        pieces += [part.tolist() for part in np.split(block.ids, np.cumsum(block.sizes)[:-1])]
    assert [one for piece in sorted(pieces) for one in piece] == tokens.ids.tolist()
    begins = {piece[0] for piece in pieces}
    assert set(tokens.offsets[:-1].tolist()) <= begins  # no piece holds tokens of two documents
    # of a document whose last token would stand alone, the piece before it gives one along
    ends = {piece[0] - 1 for piece in pieces if len(piece) == 2 and piece[-1] + 1 in tokens.offsets}
    full = {piece[-1] for piece in pieces if len(piece) == seq_len or (len(piece) == seq_len - 1 and piece[-1] in ends)}
    assert all(begin - 1 in full for begin in begins - set(tokens.offsets.tolist()))  # cut only where a block is full
    assert blocks.lengths.tolist() == [len(block) for block in blocks]
    assert blocks[-1].ids.tolist() == blocks[len(blocks) - 1].ids.tolist()
    assert blocks.padding(seq_len) == pytest.approx(1 - sum(lengths) / (len(blocks) * seq_len))


@given(documents, st.integers(2, 32))
def test_with_an_overlap_every_token_but_a_documents_first_is_predicted_once(lengths: list[int], seq_len: int) -> None:
    tokens = tokens_with(lengths)
    blocks = list(Blocks(tokens, seq_len, overlap=1))
    labels = collate_blocks(blocks, pad_id=0)["labels"]
    predicted = sorted(labels[labels != IGNORED].tolist())
    assert predicted == sorted(set(tokens.ids.tolist()) - set(tokens.offsets[:-1].tolist()))


@given(lengths=st.lists(st.integers(2, 70), max_size=30), seq_len=st.integers(3, 16))
def test_every_block_has_something_to_learn(lengths: list[int], seq_len: int) -> None:
    """A step whose blocks have no label would divide by nothing."""
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    _, sizes = cut(offsets, seq_len)
    assert (sizes > 1).all()
    assert sizes.max(initial=0) <= seq_len


@given(st.lists(st.integers(1, 40), max_size=80), st.integers(40, 64))
def test_packing_is_best_fit_decreasing(sizes: list[int], capacity: int) -> None:
    order, bounds = pack(np.array(sizes, np.int64), capacity)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    packed = [[sizes[at] for at in order[first:last]] for first, last in itertools.pairwise(bounds)]
    assert sorted(capacity - sum(block) for block in packed) == naive_best_fit(sizes, capacity)


@given(documents, st.integers(2, 32), st.integers(1, 4))
def test_positions_begin_again_and_the_first_token_of_a_piece_is_not_predicted(
    lengths: list[int], seq_len: int, few: int
) -> None:
    blocks = Blocks(tokens_with(lengths), seq_len)[:few]
    batch = collate_blocks(blocks, pad_id=7)
    assert set(batch) == {"input_ids", "position_ids", "labels"}  # with a mask, transformers lets pieces see each other
    for row, block in enumerate(blocks):
        positions = [at for size in block.sizes for at in range(size)]
        assert batch["position_ids"][row, : len(block)].tolist() == positions
        assert batch["input_ids"][row, len(block) :].tolist() == [7] * (batch["input_ids"].shape[1] - len(block))
        labels = batch["labels"][row].tolist()
        assert all((label == IGNORED) == (at == 0) for label, at in zip(labels, positions, strict=False))
        assert set(labels[len(block) :]) <= {IGNORED}


def test_little_is_padding_where_lengths_are_those_of_text() -> None:
    lengths = np.random.default_rng(0).lognormal(5.5, 1.2, 20_000).astype(int) + 1
    assert Blocks(tokens_with(lengths.tolist()), 1024).padding(1024) < 0.001


ARCHITECTURES = ["llama", "qwen2", "gpt_neox", "gpt2"]


def tiny_model(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if kind in ("llama", "qwen2"):
        sizes["num_key_value_heads"] = 2
    context = {"n_positions": 64} if kind == "gpt2" else {"max_position_embeddings": 64}
    config = AutoConfig.for_model(
        kind, vocab_size=120, initializer_range=0.3, bos_token_id=0, eos_token_id=0, **sizes, **context
    )
    return AutoModelForCausalLM.from_config(config)


def packed_and_alone(model: Any, batch: dict[str, Any], blocks: list[Any]) -> float:
    """The largest difference between a logit of a packed document and that of the document alone."""
    import torch

    with torch.no_grad():
        packed = model(**{name: value for name, value in batch.items() if name != "labels"}, use_cache=False).logits
        worst = 0.0
        for row, block in enumerate(blocks):
            at = 0
            for size in block.sizes.tolist():
                ids = torch.from_numpy(block.ids[at : at + size])[None]
                alone = model(input_ids=ids, use_cache=False).logits[0]
                worst = max(worst, float((packed[row, at : at + size] - alone).abs().max()))
                at += size
    return worst


@pytest.mark.model
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_packed_documents_do_not_see_each_other(kind: str, training: bool) -> None:
    import torch

    from factory.train.isolation import require_isolation

    model = tiny_model(kind).train(training)
    blocks = list(Blocks(tokens_with([9, 1, 14, 6, 20, 3, 2, 1, 30, 11, 5]), 32))
    assert len(blocks) > 2
    assert max(len(block.sizes) for block in blocks) > 2
    batch = collate_blocks(blocks, pad_id=0)
    assert packed_and_alone(model, batch, blocks) < 1e-4
    require_isolation(model, "tiny")
    # each part of the defence is needed: without it the same measure is far off
    masked = {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}
    assert packed_and_alone(model, masked, blocks) > 1e-2
    unmarked = {name: value for name, value in batch.items() if name != "position_ids"}
    assert packed_and_alone(model, unmarked, blocks) > 1e-2


@pytest.mark.model
def test_a_loss_by_the_loop_is_that_of_the_documents_alone() -> None:
    import torch

    from factory.train.cross_entropy import token_nll

    model = tiny_model("llama").train()
    blocks = list(Blocks(tokens_with([9, 1, 14, 6, 20, 3, 2, 30]), 32))
    ours = token_nll(model, model.get_output_embeddings(), collate_blocks(blocks, 0))[0].item()
    by_hand = 0.0
    for block in blocks:
        for piece in np.split(block.ids, np.cumsum(block.sizes)[:-1]):
            logits = model(input_ids=torch.from_numpy(piece)[None]).logits[0].detach()
            logs = torch.log_softmax(logits.double(), -1)
            by_hand -= sum(float(logs[at, token]) for at, token in enumerate(piece[1:].tolist()))
    assert ours == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.model
@pytest.mark.parametrize("kind", ["bloom", "mamba"])
def test_a_model_in_which_documents_would_see_each_other_is_refused(kind: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from factory import ModelError
    from factory.train.isolation import require_isolation

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "n_layer": 1, "n_head": 4} if kind == "bloom" else {"hidden_size": 32}
    config = AutoConfig.for_model(kind, vocab_size=120, **sizes, num_hidden_layers=1)
    model = AutoModelForCausalLM.from_config(config).train()
    with pytest.raises(ModelError, match=rf"^some/{kind} is a {kind}, in which documents .* see each other"):
        require_isolation(model, f"some/{kind}")
    assert model.training


def test_tokens_lie_whole_in_their_folder_or_not_at_all(
    tiny: Any, tmp_path: Path, write_dataset: Any, facts: Any
) -> None:
    from factory import Text
    from factory.models.loading import load_tokenizer
    from factory.train.tokens import tokens_of

    texts = ["A list holds items.", "", " \n", "列表 <|im_end|> 集合", "x" * 5000]
    dataset = write_dataset(tmp_path / "texts.parquet", [{"id": str(i), "text": t} for i, t in enumerate(texts)], Text)
    tokenizer = load_tokenizer(tiny)
    (tmp_path / "tokens.partial").mkdir()
    (tmp_path / "tokens.partial" / "ids.bin").write_bytes(b"half")
    tokens = tokens_of(dataset, tokenizer, tmp_path / "tokens", [0], [1])
    assert (tokens.documents, tokens.empty, tokens.characters) == (3, 2, 19 + 16 + 5000)
    assert tokens.ids.dtype == np.uint16
    assert not (tmp_path / "tokens.partial").exists()
    for at, text in enumerate(texts[:1] + texts[3:]):
        ids = tokens.ids[tokens.offsets[at] : tokens.offsets[at + 1]].tolist()
        assert (ids[0], ids[-1]) == (0, 1)
        assert 1 not in ids[1:-1]  # what a text spells out ends nothing
        assert tokenizer.decode(ids[1:-1]) == text
    again = tokens_of(write_dataset(tmp_path / "none.parquet", [], Text), tokenizer, tmp_path / "tokens", [0], [1])
    assert again.ids.tolist() == tokens.ids.tolist()


def test_tokens_are_the_same_however_they_are_batched(tiny: Any, tmp_path: Path) -> None:
    from factory.models.loading import load_tokenizer
    from factory.train.tokens import IDS, OFFSETS, write_tokens

    tokenizer, texts = load_tokenizer(tiny), [f"A set holds {number} items." * (number % 7) for number in range(300)]
    found = []
    for size in (1, 7, 300):
        folder = tmp_path / str(size)
        folder.mkdir()
        write_tokens([texts[at : at + size] for at in range(0, 300, size)], tokenizer, folder, [], [1])
        found.append((folder / IDS).read_bytes() + (folder / OFFSETS).read_bytes())
    assert found[0] == found[1] == found[2]
    plain = [one for text in texts if text for one in [*tokenizer(text)["input_ids"], 1]]
    assert np.frombuffer((tmp_path / "7" / IDS).read_bytes(), np.uint16).tolist() == plain


def test_a_special_token_that_a_text_spells_out_is_plain_for_unigram_too() -> None:
    """Its own list of pieces holds them, so that turning added tokens off is not enough."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from factory.train.tokens import plain_encoder

    letters = [(letter, -3.0) for letter in "helo</s>"]
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *letters], unk_id=0))
    made.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>")
    assert tokenizer("hello</s>")["input_ids"][-1] == 1
    (found,) = plain_encoder(tokenizer)(["hello</s>"])
    assert 1 not in found.ids
    assert [made.id_to_token(at) for at in found.ids] == list("hello</s>")
