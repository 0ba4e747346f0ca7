# `make` says what there is. Simulations take their flags in ARGS: make theorem1 ARGS="--quick --jobs 1".

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/installed-core
DEEP := $(VENV)/installed-deep
FULL := $(VENV)/installed-full
LINEAR := theorem1 theorem2 proposition1
SIMULATIONS := $(basename $(notdir $(filter-out simulations/_%,$(wildcard simulations/*.py))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help test check figures results bench clean $(SIMULATIONS) $(SIMULATIONS:%=promote-%)

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf 'make %-13s run that simulation, with the flags in ARGS ("-h" explains them)\n' $(SIMULATIONS)

# Three stamps: the linear simulations need no torch, those of networks do, tests need more. A change of
# pyproject.toml or constraints.txt installs anew.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(DEEP): $(CORE)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[deep]'
	@touch $@

$(FULL): $(CORE)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[deep,dev]'
	@touch $@ $(DEEP)

$(LINEAR): $(CORE)
$(filter-out $(LINEAR),$(SIMULATIONS)): $(DEEP)
$(SIMULATIONS):
	$(BIN)/python simulations/$@.py $(ARGS)

$(SIMULATIONS:%=promote-%): promote-%: %
	$(BIN)/python -m linphase promote $*

test: $(FULL) ## run the tests (ARGS="-n 2" for two workers)
	$(BIN)/python -m pytest $(ARGS)

check: $(FULL) ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

figures: $(DEEP) ## redraw all figures from the committed results
	$(BIN)/python figures/build.py

results: $(SIMULATIONS:%=promote-%) ## run all simulations at paper scale and put their results where they are committed

bench: $(FULL) ## time the solvers against their peers
	for script in benchmarks/*.py; do $(BIN)/python $$script $(ARGS) || exit; done

clean: ## remove the environment, caches and builds; out/ with its finished runs stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find linphase simulations figures benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
