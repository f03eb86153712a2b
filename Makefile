# make run · test · check · bench · screenshots · image · clean
# Each target does its own set-up and is quick the second time: .venv/.*-ready are stamps.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
BUN := $(TOOLS)/node_modules/.bin/bun
BUN_VERSION := 1.4.5
AXE_VERSION := 4.14.1
PYTEST_ARGS ?=
IMAGE ?= cmbcluster:dev

.PHONY: help run test check format bench screenshots image clean

help:
	@echo "make run          set up what is missing and start the platform"
	@echo "make test         all tests (needs Chromium, bubblewrap and passt for all of them)"
	@echo "make check        formatting, lint, types, import rules"
	@echo "make bench        measure, and write docs/benchmarks.md"
	@echo "make screenshots  photograph every page"
	@echo "make image        build the container image of all roles (IMAGE=name)"
	@echo "make clean        remove what was built here (never your data)"

run: $(VENV)/.run-ready $(VENV)/.bun-ready
	@tools/system-packages bwrap:bubblewrap pasta:passt || true
	@exec $(BIN)/cmbcluster up

test: $(VENV)/.dev-ready $(VENV)/.bun-ready
	@tools/get-axe $(TOOLS) $(AXE_VERSION)
	@tools/get-oidc-provider $(TOOLS) || true
	@tools/system-packages bwrap:bubblewrap pasta:passt chromium:chromium || true
	@tools/run-tests $(BIN)/python $(PYTEST_ARGS)

check: $(VENV)/.dev-ready
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev-ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev-ready $(VENV)/.bun-ready
	@tools/system-packages bwrap:bubblewrap pasta:passt chromium:chromium wrk:wrk npm:npm || true
	@$(BIN)/python -m tests.bench

screenshots: $(VENV)/.dev-ready $(VENV)/.bun-ready
	@tools/system-packages chromium:chromium || true
	@$(BIN)/python tools/screenshots.py

image:
	@tools/build-image "$(IMAGE)"

clean:
	@rm -rf .web .states .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build
	@find cmbcluster tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Cleaned. The virtual environment ($(VENV)), $(TOOLS) and your data are as they were."

$(VENV)/bin/python:
	@tools/make-venv $(VENV)

$(VENV)/.run-ready: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing packages…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev-ready: requirements-dev.txt $(VENV)/.run-ready
	@echo "Installing packages for tests and checks…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.bun-ready: | $(VENV)/bin/python
	@tools/get-bun $(TOOLS) $(BUN_VERSION)
	@touch $@
