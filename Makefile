# Two commands do everything on a machine that has only Python >= 3.11 and make:
#   make demo   environment, installation, cloud masks of six dates over a real surface
#   make test   environment, installation, every check
# `make bench` prints the measured figures, `make fuzz` tries damaged inputs for long. A second call installs nothing again.
#
# The same tests with other versions than those of constraints.txt, each in an environment of its own:
#   make test-latest     the newest of everything
#   make test-lowest     the oldest that pyproject.toml allows
#   make test-wheel      the wheel, in an empty environment away from this folder
#   make test-no-torch   the same, without torch
# Torch is the pinned one everywhere: its newest release for Linux brings 3 GB of CUDA.

PYTHON ?= python3
# Inputs of the fuzzer.
INPUTS ?= 20000
# Processes that run tests.
JOBS ?= 2
# What test-latest and test-lowest run.
TESTS ?= tests

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
TORCH := $(shell grep '^torch==' constraints.txt)
UV := .venv-uv/bin/python -m uv
# uv reads no settings of pip's.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

.PHONY: demo test test-latest test-lowest test-wheel test-no-torch fuzz bench docs clean

demo: .venv/installed
	$(BIN)/xr-cloudmask demo

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(JOBS)

test-latest: .venv-uv/installed
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-latest
	$(UV) pip install --quiet --python .venv-latest/bin/python --upgrade --editable '.[check]' '$(TORCH)'
	.venv-latest/bin/pytest -n $(JOBS) $(TESTS)

test-lowest: .venv-uv/installed
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-lowest
	echo '$(TORCH)' > .venv-lowest/overrides.txt
	$(UV) pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		--override .venv-lowest/overrides.txt --editable '.[check]'
	.venv-lowest/bin/pytest -n $(JOBS) -W default $(TESTS)

test-wheel: .venv-uv/installed
	.venv-uv/bin/python tools/check_wheel.py --python $(PYTHON) --pin '$(TORCH)'

test-no-torch: .venv-uv/installed
	.venv-uv/bin/python tools/check_wheel.py --python $(PYTHON) --without torch

# Nearly right files, items and attributes for every reader; INPUTS of them, by default 20,000.
fuzz: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m fuzz --inputs $(INPUTS)

bench: .venv/installed-test
	$(BIN)/python -m benchmarks

docs: .venv/installed-test
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv .venv-uv .venv-latest .venv-lowest docs/_build

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) '.[all]'
	touch $@

.venv/installed-test: .venv/installed
	$(INSTALL) '.[test]'
	touch $@

.venv-uv/installed:
	$(PYTHON) -m venv --clear .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	touch $@
