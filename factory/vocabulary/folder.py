"""A tokenizer with a changed definition as a folder that transformers loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import ModelError
from factory.models.chat import PLAIN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What older forms of a tokenizer are read from; they would say something else than tokenizer.json.
OLDER = ("*.model", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")
PROBE = "Probe: 12,345 naïve cafés — 中文测试 日本語 한국어 русский עברית ไทย 🙂\n\tend"


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, definition: dict[str, Any], folder: Path) -> None:
    """Write the tokenizer's folder with another definition (tokenizer.json), everything else as it was.

    Raises ModelError when transformers reads something else from it than what was written.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    if "pad_token" not in tokenizer.init_kwargs:  # what loading fills in for our own steps is none of the base's
        tokenizer.pad_token = None
    if tokenizer.chat_template == PLAIN:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    for path in (found for pattern in OLDER for found in folder.glob(pattern)):
        path.unlink()
    (folder / "tokenizer.json").write_text(
        json.dumps(definition, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    written = Tokenizer.from_str(json.dumps(definition))
    for generic in (False, True):
        if generic:
            # the base's class makes a tokenizer of its own kind instead of reading the file
            path = folder / "tokenizer_config.json"
            config = json.loads(path.read_text(encoding="utf-8"))
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
            path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        read = AutoTokenizer.from_pretrained(folder)
        if len(read) >= written.get_vocab_size(with_added_tokens=True) and _same(read.backend_tokenizer, written):
            return
    raise ModelError(f"{folder}: transformers reads another tokenizer from this folder than was written")


def _same(read: Any, written: Any) -> bool:
    lines = [*PROBE.splitlines(), PROBE]
    last = written.id_to_token(written.get_vocab_size(with_added_tokens=True) - 1)
    cut = [[one.encode(line, add_special_tokens=False).ids for line in lines] for one in (read, written)]
    return cut[0] == cut[1] and (last is None or read.token_to_id(last) == written.token_to_id(last))
