# Everything that is done often. `make` alone explains itself. Needs make and Python 3.11 or newer, nothing else.

# Variables a caller may set: PYTHON (what .venv is made with), ARGS (passed on to pytest, the demo, the benchmarks or the
# soak), MINUTES (how long the soak goes on).
PYTHON ?=
ARGS ?=
MINUTES ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test coverage check lint format types imports links spelling dependencies duplicates bench model soak docs clean

help: ## Show this list
	@echo 'Ferryman: make <target>'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/dev.stamp ## Create .venv and install Ferryman, editable, with everything for development

demo: $(VENV)/demo.stamp ## Watch Ferryman at work: no Redis needed, one is brought along
	@$(BIN)/python examples/demo $(ARGS)

test: $(VENV)/dev.stamp ## Run all tests (ARGS='-k lease' for some)
	@$(BIN)/pytest -n auto --dist worksteal $(ARGS)

coverage: $(VENV)/dev.stamp ## Run all tests and list the lines and branches that none reached
	@$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term-missing:skip-covered $(ARGS)

check: lint types imports links spelling dependencies duplicates ## Run all checks that need no running code
	@echo 'check: all clean'

lint: $(VENV)/dev.stamp ## Ruff: rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(VENV)/dev.stamp ## Let ruff mend what it can, and format
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

types: $(VENV)/dev.stamp ## mypy, strict
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp ## Which part may import which (import-linter)
	@$(BIN)/lint-imports

links: $(VENV)/dev.stamp ## Links between Markdown pages
	@$(BIN)/python -m tools.links

spelling: $(VENV)/dev.stamp ## Common misspellings (codespell)
	@$(BIN)/codespell

dependencies: $(VENV)/dev.stamp ## Imports against declared dependencies (deptry)
	@$(BIN)/deptry .

duplicates: $(VENV)/dev.stamp ## The same code in two places (pylint's search for it)
	@$(BIN)/pylint --disable=all --enable=duplicate-code --score=no ferryman worker scheduler dashboard

bench: $(VENV)/dev.stamp ## Measure (ARGS='--help' shows what can be measured)
	@$(BIN)/python -m benchmarks $(ARGS)

model: $(VENV)/dev.stamp ## Look at every run of the protocol's model (needs spin and gcc)
	@FERRYMAN_REQUIRE_SPIN=1 FERRYMAN_MODEL=whole $(BIN)/pytest tests/integration/test_model.py $(ARGS)

soak: $(VENV)/dev.stamp ## Mixed load and random faults for MINUTES=3, with a report in build/soak (ARGS='--help')
	@$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(ARGS)

docs: $(VENV)/docs.stamp ## Build the documentation into site/
	@$(BIN)/mkdocs build --strict

clean: ## Remove everything that was made here, .venv included
	rm -rf $(VENV) build dist site htmlcov *.egg-info .coverage .coverage.* \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that an installation went through with the pyproject.toml of that time.
$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing Ferryman for development into $(VENV) (once) ...'
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/demo.stamp $@

$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing Ferryman into $(VENV) (once) ...'
	@$(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/docs.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing what the documentation is built with (once) ...'
	@$(PIP) --editable '.[docs]'
	@touch $@

# A half-made environment is removed again: the next try must not take it for a whole one.
$(BIN)/python:
	@python=; for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Ferryman needs Python 3.11 or newer$(if $(PYTHON),$(comma) and PYTHON=$(PYTHON) is not,); name one: make PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
		echo 'On Debian and Ubuntu they are a package of their own: apt-get install python3-venv' >&2; exit 1; \
	fi; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

comma := ,
