"""ppo with a server that draws: it learns, what it is given is the policy, and servers that fail or differ are told."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ppo_models import QUICK, adapter, vowels, with_rows
from pydantic import ValidationError

from factory import CausalLM, ModelError
from factory.train import lora_server
from factory.train.adapters import LoraOptions
from factory.train.ppo import ppo
from factory.train.ppo_options import Server

pytestmark = pytest.mark.model
LEARNING: dict[str, Any] = {
    "algorithm": "grpo", "max_steps": 14, "prompts_per_step": 4, "samples": 8, "max_new_tokens": 8, "batch_size": 32,
    "learning_rate": 3e-2, "ppo_epochs": 4, "kl": 0.0, "missing_eos_penalty": 0.0, "evaluations": 1,
    "lora": LoraOptions(r=8),
}  # fmt: skip


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(lora_server, "FIRST", 0.01)


@pytest.fixture
def serve(tiny: CausalLM) -> Iterator[Callable[..., Any]]:
    """A server that holds the tiny model."""
    from vllm_like import VllmLike

    servers: list[VllmLike] = []

    def start(**more: Any) -> VllmLike:
        assert tiny.path is not None
        servers.append(VllmLike(tiny.path, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def run(asked: Any, tiny: CausalLM, tmp_path: Path, make_context: Any) -> Callable[..., Any]:
    """run(server, **options) -> (context, what it told) of ppo for vowels."""
    count = iter(range(100))

    def go(server: Any, policy: CausalLM = tiny, **options: Any) -> Any:
        context, notebook = make_context(tmp_path / f"run{next(count)}")
        given = {**QUICK, **vowels(tmp_path), "lora": LoraOptions(r=4), **options}
        ppo.function(asked, context, policy, server=server and Server(url=server.url), **given)
        return context, notebook

    return go


@pytest.mark.slow
def test_a_policy_learns_from_what_a_server_draws(serve: Any, run: Any) -> None:
    server = serve()
    context, notebook = run(server, **LEARNING)
    told = [notebook.logged[step] for step in range(1, 15)]
    first, last = (statistics.fmean(one["reward/vowels"] for one in part) for part in (told[:2], told[-2:]))
    assert last > 1.4 * first
    assert notebook.logged[14]["eval_reward"] > notebook.logged[0]["eval_reward"]
    assert max(one["sampler_gap"] for one in told) < 1e-3
    assert not any("server" in says for says in notebook.alarms)
    names = [call.split()[1] for call in server.calls if call.startswith("load")]
    assert len(set(names)) == 15, "one before the first step, and one after each"
    assert server.calls == [f"{verb} {name}" for name in names for verb in ("load", "unload")]
    assert not any(path.exists() for path in server.paths)
    assert server.most > 1
    assert len({body["seed"] for body in server.bodies if body["temperature"]}) == 14 * 4 * 8
    assert (context.output / "adapter_model.safetensors").is_file()


def test_likeliest_answers_are_those_of_this_process(tiny: CausalLM, serve: Any, run: Any, tmp_path: Path) -> None:
    """Also those of a policy with an adapter of its own, which goes to the server as one with the new one."""
    sft = adapter(tiny, tmp_path / "sft", seed=1)
    options = {"policy": sft, "max_steps": 1, "max_new_tokens": 12, "learning_rate": 1e-30, "evaluations": 1}
    (_, here), (_, there) = run(None, **options), run(serve(), **options)
    assert there.sections["Samples after step 0"] == here.sections["Samples after step 0"]
    assert there.logged[1]["sampler_gap"] < 1e-4
    assert "sampler_gap" not in here.logged[1]
    silent = serve()
    silent.odd = {"no-logprobs"}
    assert "sampler_gap" not in run(silent, **options)[1].logged[1]


@pytest.mark.slow
def test_rows_of_embeddings_are_refused(extended: CausalLM, serve: Any, run: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the policy's adapter has rows of embeddings, which none loads; merge it"):
        run(serve(), with_rows(extended, tmp_path / "rows")[0])


@pytest.mark.parametrize("odd", ["", "warm-logprobs"])
def test_probabilities_before_temperature_and_behind_it_are_known(serve: Any, run: Any, odd: str) -> None:
    server = serve()
    server.odd = {odd}
    _, notebook = run(server, temperature=1.7, max_steps=1)
    assert notebook.logged[1]["sampler_gap"] < 1e-4


def test_answers_end_with_the_token_that_ended_them(tiny: CausalLM, serve: Any, run: Any, tmp_path: Path) -> None:
    """Also where a server leaves it out, and where it runs on; probabilities that lack one are not compared."""
    folder = tmp_path / "short"
    shutil.copytree(tiny.path, folder)  # type: ignore[arg-type]
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": list(range(1, 330, 8))}))
    found = []
    for odd in ("", "no-end", "runs-on"):
        server = serve()
        server.odd = {odd}
        found.append(run(server, CausalLM(uri=str(folder), path=folder), max_steps=1, prompts_per_step=12)[1].logged[1])
    whole, without, longer = found
    assert 0 < whole["ended"] < 1
    assert whole["answer_tokens"] < 6
    assert {**whole, "sampler_gap": 0} == {**without, "sampler_gap": 0}
    assert longer == whole


def test_an_adapter_that_is_ignored_is_told(serve: Any, run: Any) -> None:
    server = serve()
    _, notebook = run(server, max_steps=3, learning_rate=3e-2)
    assert notebook.logged[3]["sampler_gap"] < 1e-3, "it draws from the policy as it is then"
    assert not any("server" in says for says in notebook.alarms)
    server.odd = {"ignores-adapters"}
    _, notebook = run(server, max_steps=3, learning_rate=3e-2)
    assert notebook.logged[1]["sampler_gap"] < 1e-3, "it is nothing before the first step"
    assert notebook.logged[3]["sampler_gap"] > 0.1
    assert any("nats a token from the policy's; it must hold the policy's base" in says for says in notebook.alarms)


def test_what_fails_once_is_asked_again(serve: Any, run: Any) -> None:
    quiet, faulty = serve(), serve()
    faulty.faults.extend([503, "drop", 429, "drop", 500])
    faulty.faults.append("nothing")
    (_, expected), (_, found) = run(quiet), run(faulty)
    assert not faulty.faults
    assert found.logged == expected.logged
    lost = serve()
    lost.faults.append("drop-load")
    assert run(lost)[1].logged == expected.logged, "the first attempt got through, and its answer did not"


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ("no-lora", r"does not load the policy's adapter; start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, "
                    r"--enable-lora and --max-lora-rank 8, where /\S+ can be read \(status 404: Not Found\)"),
        ("no-ids", r"gives no token ids; vLLM does from 0\.10\.2 on \(return_token_ids\)"),
        ("beyond", r"draws token 99999, and the policy has \d+: it must hold the policy's base, /\S+"),
        ("cut-prompts", r"reads another prompt than it is given: \d+ tokens instead of \d+"),
        ("own-end", r"ends an answer with token \d+, which ends none of the policy's: it must hold the policy's base"),
        ("another-vocabulary", r"reads the ids of \d of \d answers as other words: it must hold the policy's base"),
    ],
)  # fmt: skip
def test_a_server_of_another_kind_is_one_sentence(serve: Any, run: Any, odd: str, says: str) -> None:
    server = serve()
    server.odd = {odd}
    with pytest.raises(ModelError, match=rf"^ppo: the server {server.url} {says}"):
        run(server)
    assert not server.folders, "it keeps nothing of a run that failed"


def test_a_server_that_is_not_there_or_refuses_is_one_sentence(
    serve: Any, run: Any, asked: Any, tiny: CausalLM, tmp_path: Path, make_context: Any, monkeypatch: Any
) -> None:
    server = serve(key="sk-secret")
    with pytest.raises(ModelError, match=r"refuses the key; give the environment variable that holds it as key_env"):
        run(server)
    context, checks = make_context(tmp_path / "keyed")[0], vowels(tmp_path)
    keyed = Server(url=server.url, key_env="THE_KEY")
    with pytest.raises(ModelError, match="the environment variable THE_KEY is not set; it must hold the key"):
        ppo.function(asked, context, tiny, server=keyed, **QUICK, **checks)
    monkeypatch.setenv("THE_KEY", "sk-secret")
    ppo.function(asked, context, tiny, server=keyed, **QUICK, **checks)
    monkeypatch.setenv("THE_KEY", "sk-wrong")
    with pytest.raises(ModelError, match="refuses the key") as caught:
        ppo.function(asked, context, tiny, server=keyed, **QUICK, **checks)
    assert "sk-wrong" not in str(caught.value)
    server.stop()
    gone = Server(url=server.url)
    with pytest.raises(ModelError, match=r"gave no answer in 6 attempts: .*; is it running, and is the url right\?"):
        ppo.function(asked, context, tiny, server=gone, **QUICK, **checks)
    monkeypatch.setattr(server, "stop", lambda: None)
    with pytest.raises(ValidationError, match="url"):
        Server(url="localhost:8000/v1")
