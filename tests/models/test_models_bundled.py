"""The bundled model: converted once, by one of two processes, and able to answer."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os

import pytest

from factory import Request, user
from factory.models import bundled, open_model

pytestmark = [pytest.mark.slow, pytest.mark.model]


def convert() -> tuple[str, int]:
    folder = bundled.converted_folder()
    return str(folder), folder.stat().st_ino


def test_two_processes_convert_once_and_it_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    stale = tmp_path / f".{bundled.FOLDER}.killed"
    stale.mkdir()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        found = {future.result() for future in [pool.submit(convert), pool.submit(convert)]}
    assert len(found) == 1
    assert sorted(os.listdir(tmp_path)) == [bundled.FOLDER, f"{bundled.FOLDER}.lock"]
    session = open_model(uri="bundled:smollm2").open(threads=1)
    tokenizer = session._tokenizer
    assert tokenizer.tokenize("1999") == ["1", "9", "9", "9"]
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    [answer] = session.submit([Request(user("What is the capital of France?"), temperature=0, max_tokens=20)]).result()
    session.close()
    assert "Paris" in answer.text
    assert answer.finish == "stop"
