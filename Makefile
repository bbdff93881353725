# Everything happens in .venv, made once; the user's own environment is never touched.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test test-fast check bench clean
.DEFAULT_GOAL := help

help:  ## say what the targets do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(STAMP)  ## convert a shipped network, evaluate it, print the table
	$(BIN)/spikeport demo

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest

test-fast: $(STAMP)  ## the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -m "not slow"

check: $(STAMP)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p .cache/typing && ln -sfn ../.. .cache/typing/spikeport
	$(BIN)/mypy

bench: $(STAMP)  ## measure into benchmarks/results; takes hours (training.py apart)
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/exactness.py
	$(BIN)/python benchmarks/poolings.py
	$(BIN)/python benchmarks/codes.py
	$(BIN)/python benchmarks/auto.py
	$(BIN)/python benchmarks/early_exit.py
	$(BIN)/python benchmarks/neurobench_metrics.py
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/folder.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/binary.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/exports.py
	$(BIN)/python benchmarks/nir_readers.py
	$(BIN)/python benchmarks/pages.py  # their tables into README.md and docs/

clean:  ## remove everything that make made
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "Error: no Python 3.11, 3.12 or 3.13 found ($$(python3 --version 2>&1)), which TensorFlow needs." >&2; \
	  echo "Hint: install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Error: $(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11, 3.12 or 3.13." >&2; \
	  echo "Hint: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Error: $(PYTHON) has no venv module." >&2; \
	  echo "Hint: on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $(STAMP)
