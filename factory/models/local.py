"""A transformers model that answers in this process: batches, left-padded, each row drawn by its own generator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from factory import Answer, Model, Request

from .answers import answer_of, stop_at
from .completions import logprob

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CPU_BATCH, GPU_BATCH = 16, 64  # rows; 28 tokens/s alone and 155 in a batch of 16 (135M parameters, 2 cores)
NUCLEUS = 1024  # tokens looked at before a whole vocabulary is sorted for top_p


class LocalSession:
    """The loaded model and the one thread that runs it."""

    def __init__(self, model: Model, threads: int) -> None:
        from .loading import device, load_causal_lm, load_tokenizer

        self._model = model
        # OpenMP keeps the number of threads per calling thread, so it is set in the one that computes.
        self._worker = ThreadPoolExecutor(1, "local-model", initializer=_set_threads, initargs=(threads,))
        self._tokenizer = load_tokenizer(model)
        self._lm = self._worker.submit(load_causal_lm, model).result()
        self.batch = GPU_BATCH if device().type == "cuda" else CPU_BATCH

    def submit(self, requests: Sequence[Request]) -> Future[list[Answer]]:
        """One batch. Its answers depend on the requests in it and on nothing that was asked before or beside it."""
        return self._worker.submit(self._answers, list(requests))

    def stream(self, request: Request) -> Iterator[Answer]:
        """The answer to one request while it grows, and at last as `submit` gives it."""
        told: SimpleQueue[str | None] = SimpleQueue()

        def answer() -> Answer:
            try:
                key = request.key(self._model)
                return answer_batch(self._lm, self._tokenizer, [request], [key], told.put)[0]
            finally:
                told.put(None)

        whole = self._worker.submit(answer)
        while (text := told.get()) is not None:
            yield Answer(text, "length", request=request)
        yield whole.result()

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.__dict__.pop("_lm", None)

    def _answers(self, requests: list[Request]) -> list[Answer]:
        return answer_batch(self._lm, self._tokenizer, requests, [request.key(self._model) for request in requests])


@dataclass
class Row:
    """One request while it is answered."""

    request: Request
    prompt: list[int]
    limit: int  # tokens it may still take, by max_tokens and the model's context
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    logprobs: list[dict[str, float]] = field(default_factory=list)
    finish: str = ""
    heard: Callable[[str], None] | None = None  # is told the text so far


def answer_batch(
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    keys: Sequence[str],
    heard: Callable[[str], None] | None = None,
) -> list[Answer]:
    """Answers to a batch of requests, in their order; row n is drawn by a generator seeded with the hex digits keys[n].

    `heard` is told the text so far after every token, of a batch of one request.

    A prompt that leaves no room in the model's context is an answer that failed.
    """
    import torch
    from jinja2 import TemplateError

    from .chat import encode_prompt

    context = getattr(lm.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    answers: list[Answer | None] = [None] * len(requests)
    rows: dict[int, Row] = {}
    for place, (request, key) in enumerate(zip(requests, keys, strict=True)):
        try:
            prompt = encode_prompt(tokenizer, request.messages, request.turn)
        except TemplateError as error:  # a template may ask for alternating roles, say
            answers[place] = Answer("", "failed", f"the chat template refuses: {error}", request=request)
            continue
        room = context - len(prompt)
        if room < 1:
            answers[place] = Answer("", "failed", "prompt too long", len(prompt), request=request)
            continue
        generator = torch.Generator(lm.device).manual_seed(int(key, 16) % 2**63)
        rows[place] = Row(request, prompt, min(request.max_tokens, room), generator, heard=heard)
    if rows:
        with torch.inference_mode():
            _decode(lm, tokenizer, list(rows.values()))
    for place, row in rows.items():
        text = tokenizer.decode(row.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        answer = answer_of(text, row.finish, row.request.stop, len(row.prompt), len(row.tokens))
        logprobs = row.logprobs if row.logprobs and answer.ok else None
        answers[place] = replace(answer, request=row.request, logprobs=logprobs)
    return [answer for answer in answers if answer is not None]


def _decode(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[Row]) -> None:
    """Fill `tokens` and `finish` of every row, one token of all live rows at a time.

    Equal prompts are read once. A row that is finished leaves the batch and its part of the KV cache, so a step costs
    what the live rows cost; since rows leave by their own tokens alone, the same batch always shrinks the same way.
    """
    import torch

    ends = _end_tokens(lm, tokenizer)
    logits, cache, mask = read_prompts(lm, [row.prompt for row in rows], tokenizer.pad_token_id or 0)
    live = list(range(len(rows)))
    while True:
        told = _log_softmax(logits, [rows[place] for place in live])  # before a draw changes the logits
        chosen = _draw(logits, [rows[place] for place in live])
        for place, token in zip(live, chosen.tolist(), strict=True):
            _take(rows[place], token, ends, tokenizer)
        _note_logprobs(told, [rows[place] for place in live], chosen.tolist(), tokenizer)
        keep = [at for at, place in enumerate(live) if not rows[place].finish]
        if not keep:
            return
        if len(keep) < len(live):
            kept = torch.tensor(keep, device=lm.device)
            cache.batch_select_indices(kept)
            live, chosen, mask = [live[at] for at in keep], chosen[kept], mask[kept]
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        output = lm(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1]


def read_prompts(
    lm: PreTrainedModel, prompts: Sequence[Sequence[int]], pad: int
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """(next-token logits [prompts, vocabulary], KV cache, attention mask [prompts, longest]), padded on the left.

    Equal prompts are read once.
    """
    import torch
    from transformers import DynamicCache

    places = {prompt: at for at, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    longest = max(map(len, places))
    ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in places], device=lm.device)
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in places], device=lm.device)
    cache = DynamicCache(config=lm.config)
    # Logits of a whole prompt would be 1.5 GB for 8,000 tokens of a 49,152 vocabulary; only the last are needed.
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(lm.forward).parameters else {}
    output = lm(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        **last,
    )
    logits = output.logits[:, -1]
    if len(places) < len(prompts):
        spread = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=lm.device)
        cache.batch_select_indices(spread)
        logits, mask = logits[spread], mask[spread]
    return logits, cache, mask


def _draw(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """The next token of every row: the likeliest at temperature 0, else one drawn by the row's own generator.

    Gumbel-max in its exponential form: argmax p / E with E ~ Exp(1) is distributed as p, and a rounding error in p
    changes the token only when two candidates nearly tie.
    """
    import torch

    for place, row in enumerate(rows):
        if row.request.presence_penalty and row.tokens:
            logits[place, list(set(row.tokens))] -= row.request.presence_penalty
    chosen = logits.argmax(-1)
    for place, row in enumerate(rows):
        request = row.request
        if request.temperature <= 0:
            continue
        p = torch.softmax(logits[place].float() / request.temperature, -1)
        if request.top_p < 1:
            p = _nucleus(p, request.top_p)
        noise = torch.empty_like(p).exponential_(generator=row.generator)
        chosen[place] = (p / noise).argmax()
    return chosen


def _log_softmax(logits: torch.Tensor, rows: Sequence[Row]) -> dict[int, torch.Tensor]:
    """place -> log-probabilities of the next token [vocabulary] at temperature 1, for the rows that ask for them."""
    asking = [place for place, row in enumerate(rows) if row.request.top_logprobs]
    return {place: logits[place].float().log_softmax(-1) for place in asking}


def _note_logprobs(
    told: dict[int, torch.Tensor], rows: Sequence[Row], chosen: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Note the token that each row took, and the likeliest; not the one that ended it, which is no part of the text."""
    for place, logs in told.items():
        row = rows[place]
        if len(row.tokens) == len(row.logprobs):
            continue
        values, ids = logs.topk(min(row.request.top_logprobs, logs.numel()))
        pairs = [(chosen[place], float(logs[chosen[place]])), *zip(ids.tolist(), values.tolist(), strict=True)]
        found: dict[str, float] = {}
        for token, value in pairs:  # pieces of characters may look alike: the likelier one stays
            found.setdefault(tokenizer.decode([token]), logprob(value))
        row.logprobs.append(found)


def _nucleus(p: torch.Tensor, top_p: float) -> torch.Tensor:
    """`p` with everything outside the smallest set of likeliest tokens that holds `top_p` set to 0.

    Holtzman et al. 2020, section 3.1. Not normalised again: an argmax of p / E does not ask for it.
    """
    import torch

    values, order = p.topk(min(NUCLEUS, p.numel()))
    if values.sum() < top_p:
        values, order = p.sort(descending=True)
    inside = values.cumsum(0) - values < top_p
    return torch.zeros_like(p).scatter_(0, order[inside], values[inside])


def _take(row: Row, token: int, ends: frozenset[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Add a token to a row and see whether that finishes it."""
    if token in ends:
        row.finish = "stop"
        return
    row.tokens.append(token)
    if row.heard:
        text = tokenizer.decode(row.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        row.heard(text.rstrip("\ufffd"))  # a character may take several tokens
    if row.request.stop:
        # Every token holds at least one byte of text, so a stop string that just ended lies in these.
        reach = max(len(word.encode()) for word in row.request.stop) + 4
        tail = tokenizer.decode(row.tokens[-reach:], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if stop_at(tail, row.request.stop) is not None:
            row.finish = "stop"
            return
    if len(row.tokens) >= row.limit:
        row.finish = "length"


def _end_tokens(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends an answer: models declare several, in several places."""
    named = [tokenizer.eos_token_id]
    for config in (lm.config, lm.generation_config):
        ids = getattr(config, "eos_token_id", None)
        named += ids if isinstance(ids, list) else [ids]
    return frozenset(token for token in named if token is not None)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
