# The commands of this project. `make` alone lists them. Set-up happens once, by itself, before whatever needs it.
#   PYTHON=python3.12             which Python makes .venv (3.11 to 3.13; found by itself when not given)
#   TORCH_ARGS="--index-url URL"  where torch comes from, for another build than the default one
#   ARGS="..."                    passed on: make demo ARGS="--no-serve --json", make test ARGS="tests/config -x"

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
READY := .venv/.installed
ARGS ?=

.PHONY: help install demo test slow load check bench docs lock

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

$(READY): pyproject.toml scripts/setup.sh $(wildcard requirements/*.txt)
	@PYTHON="$(PYTHON)" TORCH_ARGS="$(TORCH_ARGS)" sh scripts/setup.sh

install: $(READY) ## create .venv with everything in it; the others do it by themselves

demo: $(READY) ## train a character and open its page
	@$(BIN)/duologue demo $(ARGS)

# Two processes, each with whole files: half of the time goes into waiting (browsers, servers, clocks).
WORKERS := -n 2 --dist loadfile

test: $(READY) ## the test suite, without what takes long
	@$(BIN)/python -m pytest -q $(WORKERS) -m "not slow and not load" $(ARGS)

slow: $(READY) ## the tests that take long: kill points, real models side by side, benchmarks at a tiny shape
	@$(BIN)/python -m pytest -q $(WORKERS) -m "slow and not load" $(ARGS)

load: $(READY) ## the tests that need a quiet machine: a thousand clients, silent connections, every naughty string everywhere
	@$(BIN)/python -m pytest -q -m load $(ARGS)

check: $(READY) ## lint, format, types, import contracts, sizes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/sizes.py

# planner_page.py and planner_peers.py are parts of planner_accuracy.py, memory_*.py of memory.py.
BENCHMARKS := $(sort $(filter-out benchmarks/planner_p%.py benchmarks/memory_%.py,$(wildcard benchmarks/*.py)))
bench: $(READY) ## every benchmark that needs no GPU; those in benchmarks/gpu/ are run one by one, on a GPU machine
	@set -e; for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file $(ARGS); done
	@$(if $(BENCHMARKS),,echo "benchmarks/ holds none that runs without a GPU")

docs: $(READY) ## write the generated pages and tables, and build the site into site/
	@$(BIN)/python scripts/make_docs.py
	@$(BIN)/python scripts/make_claims.py
	@$(BIN)/python scripts/make_safety_table.py
	@$(BIN)/python scripts/make_faults_table.py
	@$(BIN)/python scripts/make_guide_costs.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: $(READY) ## resolve pyproject.toml again into requirements/; add ARGS=--upgrade for newer versions
	@$(BIN)/uv pip compile -q --config-file requirements/uv.toml $(ARGS) \
	    pyproject.toml --group dev --output-file requirements/lock.txt
	@$(BIN)/uv pip compile -q --config-file requirements/uv.toml $(ARGS) \
	    --no-deps --group pyproject.toml:bundled --output-file requirements/bundled.txt
	@$(BIN)/uv pip compile -q --config-file requirements/uv.toml $(ARGS) \
	    --constraint requirements/lock.txt pyproject.toml --output-file requirements/runtime.txt
