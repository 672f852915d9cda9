"""For all tests: examples may take as long as they take, since a busy machine is no fault. `make check` tries fewer."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("factory", deadline=None)
settings.register_profile("fewer", deadline=None, max_examples=25)
settings.load_profile("factory")
