"""For all tests: examples may take as long as they take, since a busy machine is no fault."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("factory", deadline=None)
settings.load_profile("factory")
