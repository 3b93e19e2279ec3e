# make demo   generate pairs, train, evaluate: from nothing, in its own .venv
# make test   everything the tests need, and the tests
# make test-long  the dearest benchmarks, each once and small
# make test-oldest  the tests with the oldest versions that pyproject.toml allows, in .venv-oldest
# make check  linters, types, layers
# make docs   the site, into site/
# make real   the run on real pairs with all-MiniLM-L6-v2 (see benchmarks/RESULTS.md)

SHELL := /bin/sh
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
comma := ,
# The first interpreter that really runs: a version manager's shim may exist and fail.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: demo test test-long test-oldest oldest check docs real clean

# Into an environment, by the versions of a file. torch first and by pip, which knows where this machine keeps its build: asked
# for by another package it would come in its newest. The rest by uv, in seconds; where uv finds no packages, pip may.
PIP = python -m pip install --quiet --disable-pip-version-check -c
define install
	$(1)/bin/$(PIP) $(2) torch uv
	$(1)/bin/uv pip install --quiet --python $(1) -c $(2) -e $(3) || $(1)/bin/$(PIP) $(2) -e $(3)
endef

$(VENV)/.core: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found; say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(call install,$(VENV),constraints.txt,.)
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(call install,$(VENV),constraints.txt,'.[dev$(comma)docs]')
	@touch $@

demo: $(VENV)/.core
	$(BIN)/python pair_dataset.py generate --n 3500 --seed 7 --output data/demo.json
	$(BIN)/python pair_dataset.py split --input data/demo.json --train data/demo-train.json --val data/demo-val.json
	# One thread: on a busy machine OpenMP's waiting threads cost more than they give.
	OMP_NUM_THREADS=1 $(BIN)/python train_script.py fit --config configs/demo.yaml
	OMP_NUM_THREADS=1 $(BIN)/python visualize_embeddings.py --checkpoint runs/demo/best_model.pt --data data/demo-val.json --output visualizations
	@echo
	@echo "Look at the run:    $(BIN)/tensorboard --logdir runs --samples_per_plugin images=100"
	@echo "Look at the model:  visualizations/report.md"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long tests

# The lowest direct versions. Warnings of old libraries about newer ones are not ours. ONLY='not slow' takes the quick part,
# WHERE='tests/drawing' a room.
test-oldest: $(OLDEST)/.dev
	$(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -W default -m "$(ONLY)" $(WHERE)

$(OLDEST)/.dev: constraints-oldest.txt pyproject.toml
	test -x $(OLDEST)/bin/python || "$(PYTHON)" -m venv $(OLDEST)
	$(call install,$(OLDEST),constraints-oldest.txt,'.[dev$(comma)docs]')
	@touch $@

# Resolves the lowest direct versions anew; torch stays as constraints.txt has it, in whichever build there is.
oldest: $(VENV)/.dev
	grep ^torch== constraints.txt | $(BIN)/uv pip compile pyproject.toml --all-extras -c - --python-version 3.11 \
		--resolution lowest-direct --no-header --no-annotate --quiet \
		| grep -Ev '^(nvidia|triton|cuda)' > constraints-oldest.txt

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs site
	@echo "Open site/index.html"

real: $(VENV)/.dev
	$(BIN)/python benchmarks/real_run.py

clean:
	rm -rf runs visualizations data site .mypy_cache .ruff_cache .pytest_cache
