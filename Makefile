# Two commands do everything on a machine that has only Python >= 3.11 and make:
#   make demo   environment, installation, cloud masks of six dates over a real surface
#   make test   environment, installation, every check
# `make bench` prints the measured figures. A second call installs nothing again.

PYTHON ?= python3
# Processes that run tests.
JOBS ?= 2

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test bench docs clean

demo: .venv/installed
	$(BIN)/xr-cloudmask demo

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(JOBS)

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

docs: .venv/installed-test
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv docs/_build

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) .
	touch $@

.venv/installed-test: .venv/installed
	$(INSTALL) '.[test]'
	touch $@
