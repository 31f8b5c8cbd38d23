# Every command a newcomer needs. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo clients test check format bench docs clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(STAMP) ## create the environment with a working .venv/bin/tocsin

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tocsin needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[grpc,fast]'
	@touch $@

$(VENV)/.developer: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e sdk
	@touch $@

demo: setup ## replay two weeks of LLM traffic and open the dashboard (ONCE=1, TRACE=path)
	@$(BIN)/tocsin demo $(if $(ONCE),--once) $(if $(TRACE),--trace $(TRACE)) $(if $(DATA),--data-dir $(DATA))

clients: ## make .clients, the real clients that tests/clients runs (needs a package index; npm for JavaScript)
	PYTHON=$(PYTHON) tests/clients/setup

test: $(VENV)/.developer ## run every test
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.developer ## format, lint, types, import contracts, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_shape.py tests/docs

format: $(VENV)/.developer ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.developer ## measure, and write benchmarks/results
	$(BIN)/python -m benchmarks

docs: $(VENV)/.developer ## regenerate the reference pages from the code
	$(BIN)/python docs/generate.py

clean: ## remove the environments and the demo's data
	rm -rf $(VENV) .clients .tocsin-demo
