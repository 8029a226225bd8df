# The commands for people, hooks and CI. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
UNTIL ?= 2013-10
KILLS ?= 200
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() + 1))")
PARALLEL ?= -n $(WORKERS) --dist loadfile --no-loadscope-reorder

export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all test-fast crash-test check format reference bench gate-study rolling clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Make .venv with exactly the pinned packages (done by every other target)
	@$(PYTHON) tools/setup.py

run: setup  ## Ingest the flights until October, run what changed, decide about promotion
	@$(BIN)/refit ingest --until $(UNTIL)
	@$(BIN)/refit run

test: setup  ## Run the tests of a change (six minutes on two cores)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not heavy"

test-all: setup  ## Run all tests, the heavy ones too: kills, full disks, many machines, emulators
	@$(BIN)/python -m pytest $(PARALLEL)

test-fast: setup  ## Run the tests that are not marked slow
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

check: setup  ## Lint, format, types, layers, and dvc.yaml against the imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/refit deps

crash-test: setup  ## Kill real processes two hundred times and compare the ends (quarter of an hour)
	@REFIT_KILLS=$(KILLS) $(BIN)/python -m pytest tests/crash

format: setup  ## Format the code and fix what can be fixed automatically
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

reference: setup  ## Renew the digests in tests/reference.json, and say what moved and how far
	@$(BIN)/python tests/reference.py

bench: setup  ## Measure; prints a table (some minutes)
	@$(BIN)/python benchmarks/bench.py

gate-study: setup  ## Measure how often the gates err, on 130 retrains (half an hour, then a minute)
	@$(BIN)/python benchmarks/gate_study.py

rolling: setup  ## Measure the network against LightGBM on five rolling splits (a quarter of an hour)
	@$(BIN)/python benchmarks/rolling.py

clean:  ## Stop the servers and remove the environment and all local state; data and cache stay
	@if [ -x $(BIN)/refit ]; then $(BIN)/refit down; fi
	@git for-each-ref --format='delete %(refname)' refs/refit-ledger | git update-ref --stdin
	@rm -rf .venv .refit .pytest_cache .ruff_cache .mypy_cache .hypothesis
