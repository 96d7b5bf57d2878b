# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each sets up what is missing; a second call sets nothing up again.

PYTHON ?= python3
MODEL := smollm2:135m
VENV := .venv

.PHONY: demo test bench bench-large soak check protos clean

# Three devices answer a question.
demo: $(VENV)/installed
	@$(VENV)/bin/mesh pull $(MODEL)
	@$(VENV)/bin/mesh demo

# Every check and every test.
test: $(VENV)/installed-dev
	@$(VENV)/bin/mesh pull $(MODEL)
	@scripts/check
	@scripts/test

# Measurements; results go to benchmarks/results/. Builds llama.cpp once, into the user's cache: five minutes.
# Wants a quiet machine of two cores or more.
bench: $(VENV)/installed
	@$(VENV)/bin/mesh pull $(MODEL)
	@$(VENV)/bin/python -m benchmarks.beside_llama_cpp
	@$(VENV)/bin/python -m benchmarks.split_overhead
	@$(VENV)/bin/python -m benchmarks.simulator_speed
	@$(VENV)/bin/python -m benchmarks.failover
	@$(VENV)/bin/python -m benchmarks.placement
	@$(VENV)/bin/python -m benchmarks.prediction
	@$(VENV)/bin/python -m benchmarks.speculation
	@$(VENV)/bin/python -m benchmarks.multi_token
	@$(VENV)/bin/python -m benchmarks.filled_pipeline

# A model of 7 billion random weights over three devices, beside llama.cpp: 5 GB of disk, 12 GB of memory.
bench-large: $(VENV)/installed-dev
	@$(VENV)/bin/mesh pull $(MODEL)
	@$(VENV)/bin/python -m benchmarks.mimo_shape

# An hour of eight users on real agents, fifty losses of such agents, thousands of virtual runs under random
# faults, and the block of flats: about two hours.
soak: $(VENV)/installed-dev
	@scripts/soak

check: $(VENV)/installed-dev
	@scripts/check

protos: $(VENV)/installed-dev
	@scripts/protos

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: the mesh needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt setup.py $(wildcard mesh/engines/native/*.[ch])
	@echo "setting up $(VENV), which takes about a minute"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "adding what the checks and tests need"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@scripts/other-pythons
	@touch $@
