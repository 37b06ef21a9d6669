# make setup   everything that is needed, into .venv
# make demo    train the default model and look at it
# make test    all that CI runs: check, then the tests
# make help    the other targets

VENV ?= .venv
PYTHON ?= python3
EXTRAS ?= dev
PIP_ARGS ?=
MUTATE ?= --jobs 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q $(PIP_ARGS) -c constraints.txt

# Without an NVIDIA driver, PyTorch's CPU build: a tenth of the size. It comes from PyTorch's own
# index, or from wherever pip is configured to look; where that index does not answer, pip goes on.
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || echo https://download.pytorch.org/whl/cpu)
TORCH_ARGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --retries 1 --timeout 15)

.PHONY: setup demo test check lint types pytest format test-slow browser sabotage mutate bench clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make check       format, lint, types, docstrings"
	@echo "make test-slow   the tests that take minutes: claims of the literature, real data"
	@echo "make browser     the pages in a real browser; needs Chromium"
	@echo "make sabotage    diseases planted in runs of every method: which the guard saves; an hour"
	@echo "make mutate      damages copies of the package, one place at a time: a test must fail"
	@echo "make bench       speed and memory, side by side with peers"

$(VENV)/.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps $(TORCH_ARGS) torch
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@

setup: $(VENV)/.stamp

demo: setup
	$(BIN)/boltzwalk train digits --name demo

check: lint types

lint: setup
	$(BIN)/ruff format --check src tests benchmarks examples studies
	$(BIN)/ruff check src tests benchmarks examples studies

types: setup
	$(BIN)/mypy

# Two processes: two threads in each would wait for each other. A file stays in one of them, so that
# what its tests share is made once.
test pytest test-slow: export OMP_NUM_THREADS ?= 1

# Types are checked while the tests run; either fails the target.
test: lint
	$(MAKE) -j2 types pytest

pytest: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -q -m slow --durations=20

browser: $(VENV)/.stamp-browser
	$(BIN)/python -m pytest -q -m browser tests/browser

$(VENV)/.stamp-browser: $(VENV)/.stamp
	$(PIP) -e '.[dev,browser]'
	@touch $@

sabotage: setup
	$(BIN)/python benchmarks/sabotage.py --cache build/sabotage

mutate: setup
	$(BIN)/python tests/mutate.py $(MUTATE)

bench: $(VENV)/.stamp-bench
	$(BIN)/python benchmarks/samplers.py
	$(BIN)/python benchmarks/weights.py
	$(BIN)/python benchmarks/cooperation.py
	$(BIN)/python benchmarks/latent.py
	$(BIN)/python benchmarks/reading.py

$(VENV)/.stamp-bench: $(VENV)/.stamp
	$(PIP) -e '.[dev,bench]'
	@touch $@

format: setup
	$(BIN)/ruff format src tests benchmarks examples studies
	$(BIN)/ruff check --fix src tests benchmarks examples studies

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
