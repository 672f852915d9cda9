"""Answers that say whose model wrote them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import factory
from factory import Drop, Record

from .refusals import SELF_NAMES
from .turns import turns

# Names that mean a model or its maker wherever they stand, and names that mean other things as well.
NAMES = (
    "ChatGPT", "GPT-3", "GPT-3.5", "GPT-4", "GPT-4o", "GPT-5", "InstructGPT", "OpenAI", "Anthropic", "DeepMind",
    "Google AI", "Google DeepMind", "Meta AI", "Mistral AI", "xAI", "DeepSeek", "Qwen", "Tongyi Qianwen",
    "ChatGLM", "Zhipu", "Baichuan", "InternLM", "Moonshot AI", "MiniMax", "ERNIE Bot", "Cohere", "Hugging Face",
    "SmolLM", "SmolLM2", "Vicuna", "WizardLM", "BELLE", "Nous Hermes",
    "通义千问", "千问", "文心一言", "智谱", "百川智能", "深度求索", "讯飞星火", "豆包", "月之暗面",
)  # fmt: skip
AMBIGUOUS = (
    "Claude", "Gemini", "Gemma", "Bard", "Llama", "LLaMA", "Alpaca", "Mistral", "Mixtral", "Grok", "Kimi", "Phi",
    "Copilot", "Meta", "Google", "Microsoft", "Alibaba", "Alibaba Cloud", "Baidu", "Tencent", "ByteDance", "DALL-E",
    "Siri", "Alexa", "Cortana", "Bing", "阿里巴巴", "阿里云", "百度", "腾讯", "字节跳动", "谷歌", "微软",
)  # fmt: skip
_UNSURE = {name.lower() for name in AMBIGUOUS}
_MODEL = (
    r"(?:\b(?:ai|a\.i\.|artificial intelligence|language model|llm|assistant|chat ?bot|model)\b|"
    r"人工智能|语言模型|模型|助手|助理|机器人)"
)
_ABOUT_ITSELF = re.compile(
    r"\bmy (?:knowledge (?:cut-?off|base)|training(?: data)?|last (?:knowledge )?update|"
    r"programming (?:does|prevents|allows)|developers|creators)\b"
    r"|\b(?:knowledge|training) cut-?off\b.{0,20}\b(?:20\d\d)\b|\bas of my (?:last|knowledge|latest)\b"
    r"|\bi (?:was|am|have been) (?:trained|developed|created|programmed|fine-?tuned) (?:by|on|to be|as)\b"
    r"|我的(?:知识截止|训练数据|知识库|开发者)|截至我的(?:知识|训练)",
)
_LINKS = r"(?:i am|i'm|my name is|this is|call me|我是|我叫|我的名字是|本人是|ich bin|je suis|soy|sou|私は|я)"
_MAKERS = (
    r"(?:(?:trained|developed|created|made|built|designed|provided|released|fine-?tuned) by|"
    r"(?:model|assistant|chatbot|ai) (?:by|from|of))"
)


@factory.step
def identity_leaks(record: Record, own_names: list[str] = [], names: list[str] = []) -> bool:
    """Drop records with an answer that says it is a model, or whose.

    An answer leaks when it calls itself a model ("as an AI language model", 作为一个人工智能), speaks of its training
    or its cutoff, or names a model or its maker as its own: "I am ChatGPT", "developed by OpenAI", 我是通义千问. An
    answer to a question about ChatGPT may name it. Every answer of a conversation is read.

    own_names  what an answer may call itself: the names of the model that is to be trained, and of its maker. An
               answer that names one of them may also say that it is a model
    names      further names that it must not
    """
    for prompt, answer in turns(record):
        if found := leak(answer, prompt, own_names, names):
            raise Drop("identity leak", phrase=found)
    return True


def leak(answer: str, prompt: str = "", own_names: Sequence[str] = (), names: Sequence[str] = ()) -> str | None:
    """The words by which an answer gives itself away."""
    said = answer.lower().replace("’", "'")
    for own in sorted(own_names, key=len, reverse=True):
        said = _named((own,)).sub(lambda match: "\0" * len(match[0]), said)
    ours = "\0" in said
    for pattern in (SELF_NAMES, _ABOUT_ITSELF):
        found = pattern.search(said)
        if found and not ours and found[0] not in prompt.lower().replace("’", "'"):
            return " ".join(found[0].split())
    for found in _named((*NAMES, *AMBIGUOUS, *names)).finditer(said):
        before = re.split(r"[.!?。！？\n]", said[max(0, found.start() - 80) : found.start()])[-1]
        after = re.split(r"[.!?。！？\n]", said[found.end() : found.end() + 60])[0]
        sure = found[0] not in _UNSURE
        if _claims(before, after, sure):
            return " ".join(answer[found.start() - len(before) : found.end()].split())
    return None


def _claims(before: str, after: str, sure: bool) -> bool:
    """Whether what stands around a name says that the speaker has it, or was made by whom it names."""
    if re.search(rf"(?:^|[\s,;:，、“\"'(]){_LINKS}\s*(?:called |named )?(?:the |an? )?[\"“'*]*$", f" {before}"):
        called = rf"[\"”'*]*\s*[,，(（]?\s*(?:an? |the |一个|一款|由)?[^.]{{0,30}}?{_MODEL}"
        return sure or re.match(called, after) is not None
    if not re.search(r"\b(?:i|me|my|i'm|we|our)\b|我|本模型|私|\bich\b|\bje\b|\byo\b", before):
        return False
    if re.search(rf"{_MAKERS}\s*(?:the |a )?(?:team at |researchers at |company )?[\"“'*]*$", before):
        return sure or re.search(_MODEL, before) is not None or "trained" in before
    if re.search(r"由\s*$", before) and re.match(r"[^。]{0,12}(?:开发|训练|研发|创建|打造|推出)", after):
        return True
    return sure and re.search(rf"{_MODEL}.{{0,12}}$", before) is not None


@lru_cache(maxsize=64)
def _named(names: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(name.lower()) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![a-z0-9])(?:{either})(?![a-z0-9])")
