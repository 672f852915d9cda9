"""The in-process model: reproducible draws, stops, lengths, and what transformers itself would say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest

from factory import ModelError, Request, assistant, user
from factory.models import open_model

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def session(tiny_folder):
    session = open_model(uri=str(tiny_folder)).open(threads=1)
    yield session
    session.close()


def ask(session, *requests):
    return session.submit(list(requests)).result(timeout=60)


def mixed(count):
    prompts = ["What is a list?", "Name 12 modules.", "你好"]
    return [
        Request(user(prompts[n % 3]), index=n, temperature=0.5 * (n % 4), top_p=(1.0, 0.8)[n % 2], max_tokens=4 + 2 * n)
        for n in range(count)
    ]


def test_the_same_batch_gives_the_same_bytes(session, tiny_folder):
    first = ask(session, *mixed(12))
    ask(session, Request(user("something else"), index=5))
    assert ask(session, *mixed(12)) == first
    again = open_model(uri=str(tiny_folder)).open(threads=1)
    assert ask(again, *mixed(12)) == first
    again.close()
    assert [answer.request for answer in first] == mixed(12)


def test_a_row_does_not_hear_its_neighbours(session):
    together = ask(session, *mixed(12))
    alone = [ask(session, request)[0] for request in mixed(12)]
    assert [a.completion_tokens for a in together] == [a.completion_tokens for a in alone]
    assert [a.text for a in together] == [a.text for a in alone]


def test_another_index_is_another_draw(session):
    answers = ask(session, *(Request(user("Name one."), index=n, max_tokens=12) for n in range(8)))
    assert len({answer.text for answer in answers}) == 8
    greedy = ask(session, *(Request(user("Name one."), index=n, temperature=0, max_tokens=12) for n in range(8)))
    assert len({answer.text for answer in greedy}) == 1


@pytest.mark.parametrize("prompts", [["What is a list?"], ["What is a list?", "Hi", "Name 12 modules of the library."]])
def test_greedy_is_what_transformers_generates(session, prompts):
    import torch

    from factory.models.chat import encode_prompt

    for prompt, answer in zip(
        prompts, ask(session, *(Request(user(p), temperature=0, max_tokens=24) for p in prompts)), strict=True
    ):
        ids = encode_prompt(session._tokenizer, user(prompt))
        out = session._lm.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=24
        )
        assert answer.text == session._tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        assert answer.prompt_tokens == len(ids)


def test_draws_follow_the_models_probabilities():
    import torch

    from factory.models.local import Row, _draw

    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    expected = torch.softmax(logits[0] / 0.7, -1)
    row = Row(Request(user("x"), temperature=0.7), [], 1, torch.Generator().manual_seed(1))
    counts = Counter(int(_draw(logits, [row])) for _ in range(4000))
    # Four standard deviations of a binomial with 4,000 draws are at most .032.
    assert all(abs(counts[token] / 4000 - float(expected[token])) < 0.032 for token in range(4))


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.6, 1), (0.75, 2), (0.87, 2), (0.95, 3), (1.0, 4)])
def test_the_nucleus_is_the_smallest_set(top_p, kept, monkeypatch):
    import torch

    from factory.models import local

    p = torch.tensor([0.08, 0.62, 0.26, 0.04])
    for width in (1, 4):  # narrower than the nucleus, then the sort is needed
        monkeypatch.setattr(local, "NUCLEUS", width)
        inside = local._nucleus(p, top_p)
        assert int((inside > 0).sum()) == kept
        assert torch.equal(inside[inside > 0], p[inside > 0])


def test_stop_strings_end_an_answer_before_them(session):
    free = Request(user("Tell me"), index=1, temperature=0, max_tokens=40)
    whole = ask(session, free)[0].text
    assert len(whole) > 20
    at = next(n for n in range(5, 15) if whole.find(whole[n : n + 3]) == n)
    stop = whole[at : at + 3]
    cut = ask(session, dataclasses.replace(free, stop=("never said", stop)))[0]
    assert (cut.text, cut.finish) == (whole[:at], "stop")
    assert cut.completion_tokens < 40


def test_a_stop_string_in_the_prompt_does_not_count(session):
    answer = ask(session, Request(user("stop here ###"), temperature=0, max_tokens=8, stop=("###",)))[0]
    assert (answer.finish, answer.completion_tokens) == ("length", 8)


def test_length_is_counted_in_tokens(session):
    for limit in (1, 5):
        answer = ask(session, Request(user("Tell me"), temperature=0, max_tokens=limit))[0]
        assert (answer.finish, answer.completion_tokens) == ("length", limit)


def test_a_beginning_is_continued_and_left_out(session):
    answer = ask(session, Request(user("Count") + assistant("One, two,"), temperature=0, max_tokens=6))[0]
    assert answer.ok
    assert not answer.text.startswith("One")
    assert answer.prompt_tokens > ask(session, Request(user("Count"), max_tokens=1))[0].prompt_tokens


def test_every_declared_end_token_ends(session):
    request = Request(user("Tell me"), temperature=0, max_tokens=12)
    assert ask(session, request)[0].ok
    generation = session._lm.generation_config
    before = generation.eos_token_id
    try:
        generation.eos_token_id = [2, *range(3, 320)]  # whatever it says first now ends the answer
        ended = ask(session, request)[0]
    finally:
        generation.eos_token_id = before
    assert (ended.finish, ended.error, ended.completion_tokens) == ("failed", "empty answer", 0)


def test_a_prompt_that_does_not_fit_fails_alone(session):
    long, short = user("word " * 200), user("word")
    found = ask(session, Request(long), Request(short, temperature=0, max_tokens=3), Request(long, index=1))
    assert [answer.finish for answer in found] == ["failed", "length", "failed"]
    assert found[0].error == "prompt too long"
    room = ask(session, Request(short, temperature=0, max_tokens=10_000))[0]
    assert room.prompt_tokens + room.completion_tokens <= 128


def test_a_template_that_refuses_fails_the_row(session):
    tokenizer = session._tokenizer
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
        answer = ask(session, Request(user("Hi")))[0]
    finally:
        tokenizer.chat_template = before
    assert answer.error == "the chat template refuses: roles must alternate"


def test_an_adapter_folder_answers_as_its_merged_model(tiny_folder, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_folder)
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path)
    model = open_model(uri=str(tmp_path))
    session = model.open(threads=1)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        assert torch.allclose(session._lm(ids).logits, tuned.eval()(ids).logits, atol=1e-4)
    assert session._tokenizer.chat_template  # the base's: none was saved beside the adapter
    assert ask(session, Request(user("Hi"), temperature=0, max_tokens=4))[0].finish == "length"
    session.close()


def test_quantized_weights_are_quantized(tiny_folder):
    from factory.models.loading import load_causal_lm

    model = load_causal_lm(open_model(uri=str(tiny_folder)), quantize="nf4")
    assert type(model.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    with pytest.raises(ModelError, match="expected nf4 or int8"):
        load_causal_lm(open_model(uri=str(tiny_folder)), quantize="int4")


def test_weights_in_4_bits_say_nothing(tiny_folder):
    """bitsandbytes tells once in a process, as it is imported, and only on CPUs with bfloat16."""
    script = (
        "from pathlib import Path; import sys\n"
        "from factory import CausalLM\n"
        "from factory.models.loading import load_causal_lm\n"
        "load_causal_lm(CausalLM(uri='tiny', path=Path(sys.argv[1])), 'nf4')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tiny_folder)], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_model_behind_http_has_no_weights():
    from factory.models.loading import load_causal_lm

    with pytest.raises(ModelError, match="has no weights to load"):
        load_causal_lm(open_model(uri="openai:x"))


def test_files_that_cannot_be_loaded_are_a_sentence(tiny_folder, tmp_path):
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        open_model(uri=str(tmp_path)).open(threads=1)


def test_a_stream_grows_into_the_answer_that_submit_gives(session):
    for request in mixed(12):
        *parts, last = session.stream(request)
        assert [last] == ask(session, request)
        assert len(parts) == last.completion_tokens
        texts = [part.text for part in (*parts, last)]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert not any(part.text.endswith("\ufffd") for part in parts)


def test_a_stream_that_breaks_off_raises(session, monkeypatch):
    def breaks(*_):
        raise RuntimeError("no more")

    monkeypatch.setattr("factory.models.local._decode", breaks)
    with pytest.raises(RuntimeError, match="no more"):
        list(session.stream(Request(user("What is a list?"))))
