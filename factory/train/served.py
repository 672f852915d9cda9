"""The policy on a server that holds its base: its adapter goes there as it is now, answers come back as token ids."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory import ModelError, digest

from .loading import policy_adapter
from .lora_server import LoraServer
from .one_base import OneBase
from .rollouts import Rollout
from .sums import write_adapter


@dataclass
class Served:
    """Where the policy is drawn from instead of this process.

    folder  of the adapters that are handed over, which the server must see under the same path
    name    of the adapter that the server has now; each has a name of its own, since servers keep what they have
            computed by name
    step    of the run after which it was handed over
    """

    server: LoraServer
    one: OneBase
    tokenizer: Any
    folder: Path
    name: str = ""
    step: int = -1

    def __post_init__(self) -> None:
        """Take back what a process that was killed has left, here and there."""
        self._mark = f"ppo-{digest(str(self.folder), 6)}"
        for left in self.server.had:
            if left.startswith(self._mark):
                self.server.unload(left)
        shutil.rmtree(self.folder, ignore_errors=True)

    def renew(self, step: int) -> None:
        """Have the server draw from the policy as it is after a step. Raises ModelError for what no server loads."""
        if self.step == step:
            return
        self.close()
        adapter = policy_adapter(self.one)
        if adapter.rows:
            raise ModelError(
                "ppo: server: the policy's adapter has rows of embeddings, which none loads; merge it first"
            )
        name = f"{self._mark}-{secrets.token_hex(4)}"
        (folder := self.folder / name).mkdir(parents=True)
        write_adapter(adapter, folder)
        self.server.load(name, folder, int(adapter.config["r"]))
        self.name, self.step = name, step

    def close(self) -> None:
        """Have the server forget the policy. It goes first and the next one comes then: a server may hold but one."""
        if self.name:
            self.server.unload(self.name)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.name, self.step = "", -1

    def answers_to(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        ends: frozenset[int],
        most: int,
        temperature: float,
        seed: Callable[[int], int],
    ) -> list[Rollout]:
        """As `rollouts.answers_to`. Raises ModelError for a server of another model."""
        # Every filter is off by name: a server takes what is not said from the model's generation_config.json.
        plain = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        plain |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
        wanted = {"return_token_ids": True, "logprobs": 1, "skip_special_tokens": False, "stop_token_ids": sorted(ends)}
        shared = {"model": self.name, "max_tokens": most, "temperature": temperature, **plain, **wanted}
        bodies = [{**shared, "prompt": list(ids), "seed": seed(at)} for at, ids in enumerate(prompts)]
        choices = self.server.complete(bodies)
        rollouts = [self._rollout(ids, choice, ends) for ids, choice in zip(prompts, choices, strict=True)]
        self._require_its_words(rollouts, choices)
        return rollouts

    def _rollout(self, prompt: Sequence[int], choice: dict[str, Any], ends: frozenset[int]) -> Rollout:
        """An answer up to and with the first token that ends it, whatever the server takes for its end."""
        tokens = choice.get("token_ids")
        if tokens is None:
            raise self._error("gives no token ids; vLLM does from 0.10.2 on (return_token_ids)")
        if (read := choice.get("prompt_token_ids")) is not None and list(read) != list(prompt):
            raise self._error(f"reads another prompt than it is given: {len(read)} tokens instead of {len(prompt)}")
        tokens, vocabulary = list(tokens), self.one.lm.get_input_embeddings().num_embeddings
        stopped = choice["finish_reason"] == "stop"
        if stopped and not ends & set(tokens) and choice.get("stop_reason") in ends:
            tokens.append(choice["stop_reason"])  # some leave the token that ended the answer out
        if beyond := [token for token in tokens if not 0 <= token < vocabulary]:
            raise self._error(f"draws token {beyond[0]}, and the policy has {vocabulary}: {self._other()}")
        end = next((at for at, token in enumerate(tokens) if token in ends), None)
        if not tokens or (stopped and end is None):
            last = tokens[-1] if tokens else "none"
            raise self._error(f"ends an answer with token {last}, which ends none of the policy's: {self._other()}")
        tokens = tokens if end is None else tokens[: end + 1]
        given = (choice.get("logprobs") or {}).get("token_logprobs") or []
        theirs = [value for value in given[: len(tokens)] if value is not None]
        return Rollout(list(prompt), tokens, end is not None, theirs if len(theirs) == len(tokens) else [])

    def _require_its_words(self, rollouts: Sequence[Rollout], choices: Sequence[dict[str, Any]]) -> None:
        """That the server has the policy's words for the ids of most answers: else its vocabulary is another.

        Blanks do not count, nor characters that were cut: servers decode as they go.
        """

        def letters(text: str) -> str:
            return "".join(text.split()).replace("\ufffd", "")

        other = 0
        for one, choice in zip(rollouts, choices, strict=True):
            ours, theirs = letters(self.tokenizer.decode(one.said)), letters(str(choice.get("text") or ""))
            other += not theirs.startswith(ours)
        if other > len(rollouts) / 2:
            raise self._error(f"reads the ids of {other} of {len(rollouts)} answers as other words: {self._other()}")

    def _other(self) -> str:
        return f"it must hold the policy's base, {self.one.root}"

    def _error(self, what: str) -> ModelError:
        return ModelError(f"ppo: the server {self.server.url} {what}")
