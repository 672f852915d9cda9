"""What mask_names says where presidio or the model is missing."""

from __future__ import annotations

import sys

import pytest

from factory import PluginError
from factory.corpus.cleaning.names import _engine, mask_names


@pytest.mark.parametrize("package", ["spacy", "presidio_analyzer"])
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    _engine.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        PluginError, match=r"mask_names needs the package '\w+': pip install 'dataset-factory\[names\]'"
    ):
        mask_names.function({"id": "1", "parents": [], "text": "Ann Lee", "meta": {}})
