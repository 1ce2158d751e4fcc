# Everything a contributor or a first-time user types. Each target makes its own .venv on first use.

PYTHON ?= python3
BIN := .venv/bin
# Test processes. Each that imports TensorFlow takes a gigabyte and both cores of a small machine.
JOBS ?= 2
# Of the fault campaign: the same faults come again.
SEED ?= 1
# Which tests: `make test TESTS="slow or real"` leaves out those that `make check` has just run.
TESTS ?= not gpu

.DEFAULT_GOAL := help
.PHONY: help quickstart speed gpu faults test check format clean

help:
	@echo "make quickstart   measure a first table: real ImageNet transfer, offline, on the CPU"
	@echo "make faults       kill, stop, fill and damage real runs 160 times: is anything lost? (half an hour)"
	@echo "make test         every test; those that need data or weights not at hand say so"
	@echo "make speed        Bench against a plain Keras script, side by side (half an hour; real pictures)"
	@echo "make gpu          what four backbones cost on this machine's GPU, and one real suite there"
	@echo "make check        format, lint, types and the fast tests"
	@echo "make format       let the formatter rewrite the code"

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[offline,dev]'
	@touch $@

# The tests hold a second backend to the same protocol.
.venv/jax: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[jax]'
	@touch $@

quickstart: .venv/ready
	$(BIN)/bench run suites/quickstart.toml
	@echo
	@$(BIN)/bench report results/quickstart -o reports/quickstart

speed: .venv/ready
	$(BIN)/python -m benchmarks.speed

# Needs no .venv: frameworks that know the GPU are often installed by the machine's owner.
gpu:
	PYTHON=$(PYTHON) scripts/measure_on_gpu.sh results/gpu

# Two chains at a time; writes what it found into the documentation.
faults: .venv/ready
	$(BIN)/python -m tests.faults.campaign --jobs $(JOBS) --seed $(SEED) \
		--report docs/faults.md --json results/reference/faults.json
	BENCH_TEST_EVERY_CALL=1 $(BIN)/python -m pytest -q -n $(JOBS) -m slow tests/test_crashes.py

test: .venv/ready .venv/jax
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "$(TESTS)"

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow and not real and not gpu"

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
