"""A server that speaks as vLLM does, with a real tiny model: it loads adapter folders and completes token ids."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from aiohttp import web
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from serving import Server


def refused(message: str, status: int) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "x", "code": status}}, status=status)


class VllmLike(Server):
    """A base with adapters. A test sets what is wrong with it.

    faults     what comes instead of the next answers to completions: a status, or "drop" for a lost connection
    odd        more of what is wrong: no-lora, no-ids, ignores-adapters, no-end (leaves out the token that ended),
               warm-logprobs (behind temperature), no-logprobs, another-vocabulary, beyond (draws what no vocabulary
               has), cut-prompts, own-end (ends answers where it likes), runs-on (behind a token that ends one)
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        self.base = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.key = key
        self.folders: dict[str, Path] = {}  # of adapters that are loaded
        self.merged: dict[str, Any] = {}  # the base with each of them
        self.calls: list[str] = []  # load NAME, unload NAME
        self.paths: list[Path] = []
        self.faults: deque[int | str] = deque()
        self.odd: set[str] = set()
        self.model = threading.Lock()
        super().__init__(None)  # type: ignore[arg-type]

    async def start(self) -> None:
        app = web.Application(middlewares=[self.guard])
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/load_lora_adapter", self.load)
        app.router.add_post("/v1/unload_lora_adapter", self.unload)
        app.router.add_post("/v1/completions", self.completions)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refused(f"Unauthorized: {request.headers.get('Authorization')}", 401)
        if "no-lora" in self.odd and "lora" in request.path:
            return web.json_response({"detail": "Not Found"}, status=404)
        return await handler(request)  # type: ignore[no-any-return]

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in ("base", *self.folders)]})

    async def load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, folder = body["lora_name"], Path(body["lora_path"])
        if name in self.folders:
            return refused(f"The lora adapter '{name}' has already been loaded.", 400)
        if not (folder / "adapter_config.json").is_file():
            return refused(f"No adapter found for {folder}", 404)
        self.merged[name] = PeftModel.from_pretrained(deepcopy(self.base), folder).merge_and_unload()
        self.folders[name] = folder
        self.calls.append(f"load {name}")
        self.paths.append(folder)
        if self.faults and self.faults[0] == "drop-load":
            self.faults.popleft()
            assert request.transport is not None
            request.transport.close()
        return web.Response(text="Success")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.folders.pop(name, None) is None:
            return refused(f"The lora adapter '{name}' cannot be found.", 404)
        del self.merged[name]
        self.calls.append(f"unload {name}")
        return web.Response(text="Success")

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if self.faults:
            fault = self.faults.popleft()
            if fault == "drop":
                assert request.transport is not None
                request.transport.close()
            elif isinstance(fault, int):
                return refused("busy", fault)
        if body["model"] not in self.folders:
            return refused(f"The model `{body['model']}` does not exist.", 404)
        self.now += 1
        self.most = max(self.most, self.now)
        choice = await asyncio.to_thread(self.choice, body)
        self.now -= 1
        return web.json_response({"object": "text_completion", "choices": [choice]})

    def choice(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.model:
            tokens, logs = self.decode(body)
        ended = tokens[-1] in body["stop_token_ids"]
        said = tokens[:-1] if ended else tokens
        spelled = [(token + 7) % len(self.tokenizer) for token in said] if "another-vocabulary" in self.odd else said
        choice = {
            "text": self.tokenizer.decode(spelled, skip_special_tokens=body["skip_special_tokens"]),
            "logprobs": {"token_logprobs": logs, "tokens": [str(token) for token in tokens]},
            "finish_reason": "stop" if ended else "length",
            "stop_reason": tokens[-1] if ended else None,
        }
        if "own-end" in self.odd:
            choice |= {"finish_reason": "stop", "stop_reason": None}
        if "no-logprobs" in self.odd:
            choice["logprobs"] = None
        if body["return_token_ids"] and "no-ids" not in self.odd:
            choice["prompt_token_ids"] = body["prompt"][1:] if "cut-prompts" in self.odd else body["prompt"]
            choice["token_ids"] = said if "no-end" in self.odd else tokens
            if "beyond" in self.odd:
                choice["token_ids"] = [*tokens, 99_999]
        return choice

    @torch.no_grad()
    def decode(self, body: dict[str, Any]) -> tuple[list[int], list[float]]:
        """(ids with the one that ended, their log-probabilities before temperature)."""
        assert (body["top_p"], body["top_k"], body["repetition_penalty"]) == (1.0, -1, 1.0)
        model = self.base if "ignores-adapters" in self.odd else self.merged[body["model"]]
        draws = torch.Generator().manual_seed(body["seed"])
        ids, logs, heat = list(body["prompt"]), [], body["temperature"]
        while len(logs) < body["max_tokens"]:
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            p = torch.softmax(logits / (heat or 1.0), -1)
            token = int(torch.multinomial(p, 1, generator=draws)) if heat else int(logits.argmax())
            told = p.log() if "warm-logprobs" in self.odd else torch.log_softmax(logits, -1)
            ids.append(token)
            logs.append(float(told[token]))
            if token in body["stop_token_ids"] and "runs-on" not in self.odd:
                break
        return ids[len(body["prompt"]) :], logs
