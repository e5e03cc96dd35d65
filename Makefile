# `make demo` and `make test` run in a fresh clone; both create the environment if it does not exist.
# `make test-oldest TESTS="tests/data tests/evaluation"` runs a part of the tests with the oldest dependencies.
PYTHON ?= python3
VENV ?= .venv
DEVICE ?= cpu
BIN := $(VENV)/bin

.PHONY: demo test test-slow test-oldest test-newest lint format docs notebooks bench clean

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

test-oldest test-newest: test-%: .venv-%/.installed-test
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -n 2 $(TESTS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	rm -rf docs/api/generated
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(VENV)/.installed-benchmark $(if $(filter cuda,$(DEVICE)),$(VENV)/.installed-test)
ifeq ($(DEVICE),cuda)
	$(BIN)/python -m pytest -q tests/ops/test_triton.py
	$(BIN)/python benchmarks/scan_speed.py --device cuda
	$(BIN)/python benchmarks/layer_speed.py --device cuda
	$(BIN)/python benchmarks/training_speed.py --device cuda
else
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/scan_speed.py
	$(BIN)/python benchmarks/layer_speed.py
	$(BIN)/python benchmarks/memory.py
endif

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/.installed-images
	$(BIN)/python examples/run_notebooks.py

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest build dist docs/_build docs/api/generated docs/examples

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# The package with an extra, such as .installed-test
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	touch $@

.venv-%/.installed-test: pyproject.toml constraints-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-$*.txt -e ".[test]"
	touch $@
