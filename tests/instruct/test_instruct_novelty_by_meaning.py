"""Novelty by vectors, and the vectors of a tiny transformer made on the spot."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import ModelError, user
from factory.instruct import novelty_by_meaning
from factory.instruct.novelty_by_meaning import nearest, novel_by_meaning
from factory.models import open_model
from factory.models.embedding import embed


class Held:
    """A shard whose records are at hand."""

    def __init__(self, texts, name):
        self.rows = [{"id": f"{name}{at}", "prompt": user(text), "meta": {}} for at, text in enumerate(texts)]

    def ids(self):
        return [row["id"] for row in self.rows]

    def records(self):
        return iter(self.rows)


class Shards:
    def __init__(self, texts, name="r"):
        half = len(texts) // 2
        self.shards = [Held(texts[:half], f"{name}a"), Held(texts[half:], f"{name}b")]


class Mapping:
    """A context of which only `map` is asked."""

    threads = 1

    def map(self, function, items, *args):
        return (function(item, *args) for item in items)


def letters(model, texts, threads=1):
    """A vector of letter counts: anagrams mean the same."""
    found = np.array([[text.lower().count(letter) for letter in "abcdefgh"] for text in texts], np.float32)
    found = found.reshape(len(texts), 8)
    return found / np.maximum(1e-9, np.linalg.norm(found, axis=1, keepdims=True))


words = st.lists(st.text("abcdefgh", min_size=1, max_size=6), max_size=12)


@settings(deadline=None)
@given(words, words, st.sampled_from([0.8, 0.95]), st.sampled_from([1, 3, 512]))
def test_it_decides_as_comparing_each_with_every_kept_one(texts, known, threshold, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factory.models.embedding.embed", letters)
        patch.setattr(novelty_by_meaning, "BLOCK", block)
        dataset = Shards(texts)
        found = novel_by_meaning.function(dataset, Mapping(), None, threshold, Shards(known, "k"))
    vectors = letters(None, [*known, *texts])
    names = [name for shard in (*Shards(known, "k").shards, *dataset.shards) for name in shard.ids()]
    kept, expected = list(range(len(known))), []
    for at in range(len(known), len(vectors)):
        scores = vectors[kept] @ vectors[at] if kept else np.zeros(0)
        if abs(scores - threshold).min(initial=1) < 1e-5:
            return  # rounding decides
        if scores.max(initial=-1) > threshold:
            expected.append(names[at])
        else:
            kept.append(at)
    assert list(found) == expected
    assert all(drop.details["of"] not in found for drop in found.values())


def test_nearest_of_several_blocks():
    known = [np.eye(3, dtype=np.float32)[:1], np.zeros((0, 3), np.float32), np.eye(3, dtype=np.float32)[1:]]
    best, of = nearest(np.array([[0, 0, 1], [1, 0, 0]], np.float32), known)
    assert (best.tolist(), of.tolist()) == ([1, 1], [2, 0])
    assert nearest(np.zeros((1, 3), np.float32), [])[1].tolist() == [-1]


@contextmanager
def server(status=200) -> Iterator[tuple[str, list]]:
    """An embeddings endpoint that answers with letter counts, in a shuffled order."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers.get("Authorization"), body))
            rows = [
                {"object": "embedding", "index": at, "embedding": [float(text.count(c)) for c in "abc"]}
                for at, text in enumerate(body["input"])
            ]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            said = {"object": "list", "model": "m", "data": rows[::-1], "usage": usage}
            if status != 200:
                said = {"error": {"message": f"no such key {self.headers.get('Authorization')}"}}
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1", asked
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@pytest.mark.model
def test_a_server_gives_vectors_in_the_order_of_the_texts(monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-abc-secret")
    with server() as (url, asked):
        model = open_model(f"openai:emb?base_url={url}&key_env=A_KEY")
        found = embed(model, ["aab", "c", "", "b" * 3])
    assert np.allclose(found, [[2 / 5**0.5, 1 / 5**0.5, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert [(path, said, body["input"]) for path, said, body in asked] == [
        ("/v1/embeddings", "Bearer sk-abc-secret", ["aab", "c", " ", "bbb"])
    ]


@pytest.mark.model
def test_a_refused_key_is_not_repeated(monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-abc-secret")
    with server(401) as (url, _), pytest.raises(ModelError, match="no embeddings") as caught:
        embed(open_model(f"openai:emb?base_url={url}&key_env=A_KEY"), ["a"])
    assert "sk-abc" not in str(caught.value)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ModelError, match="A_KEY is not set"):
        embed(open_model("openai:emb?key_env=A_KEY"), ["a"])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A random BERT of two layers over single letters."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    held = Tokenizer(models.WordLevel({c: at for at, c in enumerate(["[PAD]", "[UNK]", *"abcdefgh "])}, "[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=held, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=11, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return open_model(str(folder))


@pytest.mark.model
def test_a_transformer_is_pooled_over_its_tokens(encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["abc", "a" * 200, "", "hgfedcb a", "b"]
    found = embed(encoder, texts)
    assert found.shape == (5, 16)
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1, 1])
    tokenizer, model = AutoTokenizer.from_pretrained(encoder.path), AutoModel.from_pretrained(encoder.path).eval()
    for at, text in enumerate(texts):
        if text:
            held = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
            with torch.inference_mode():
                hidden = model(input_ids=held["input_ids"], attention_mask=held["attention_mask"]).last_hidden_state[0]
            mean = hidden.mean(0).numpy()
            assert np.allclose(found[at], mean / np.linalg.norm(mean), atol=1e-5)  # padding changes nothing
    assert embed(encoder, []).shape == (0, 0)


@pytest.mark.model
def test_copies_are_found_with_a_transformer(encoder):
    found = novel_by_meaning.function(Shards(["abc abc", "hhhg", "abc abc", "abc abd"]), Mapping(), encoder, 0.9999)
    assert {name: (drop.reason, drop.details["of"]) for name, drop in found.items()} == {
        "rb0": ("not novel in meaning", "ra0")
    }
