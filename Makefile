# Every target sets up the environment that it needs; `make help` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-newer conformance check lint types format clean

SETUP := pyproject.toml constraints.txt .ci/venv.sh .ci/python.sh
TOOLS := .venv-test/bin
PYTEST_ARGS ?=

help: ## say what there is (this)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: .venv/.ready ## compile the digits example for a Loihi 2 and run it, within two minutes from nothing
	@mkdir -p out
	.venv/bin/snn-compile examples/digits.pt --target loihi2 --out out/digits.snnc --report out/digits.html
	.venv/bin/snn-run out/digits.snnc --backend engine --data digits
	@if .venv/bin/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("lava") is None)'; then \
	    echo ".venv/bin/snn-run out/digits.snnc --backend lava --data digits"; \
	    .venv/bin/snn-run out/digits.snnc --backend lava --data digits; \
	else \
	    echo "Not run in Lava, which needs Python 3.10: install one, then 'make clean demo'."; \
	fi
	@echo "The report is in out/digits.html."

test: .venv-test/.ready ## the tests, on Python 3.10 with torch, Lava, lava-dl, tonic and Dask
	$(TOOLS)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-newer: ## the same tests on the newest Python from 3.11 on, without torch and Lava
	@if .ci/python.sh newer >/dev/null; then \
	    $(MAKE) --no-print-directory .venv-newer/.ready; \
	    .venv-newer/bin/python -m pytest -m "not slow" $(PYTEST_ARGS); \
	else \
	    echo "No Python from 3.11 to 3.13 was found: nothing to test here."; \
	fi

conformance: .venv-test/.ready ## the slow tests: every backend against every other, at length
	$(TOOLS)/python -m pytest -m slow $(PYTEST_ARGS)

check: lint types test ## what a change must pass: lint, types, tests

lint: .venv-test/.ready ## ruff, rules and format
	$(TOOLS)/ruff check .
	$(TOOLS)/ruff format --check .

types: .venv-test/.ready .links/snn_compile ## mypy, strict
	$(TOOLS)/mypy

format: .venv-test/.ready ## rewrite the files as ruff wants them
	$(TOOLS)/ruff check --fix-only .
	$(TOOLS)/ruff format .

clean: ## remove the environments and everything that was made
	rm -rf .venv .venv-test .venv-newer .links out build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: $(SETUP)
	@.ci/venv.sh .venv 3.10 ""

.venv-test/.ready: $(SETUP)
	@.ci/venv.sh .venv-test 3.10 dev,train,lava-dl,frameworks,events,partition,dask dev,train,events,partition,dask

.venv-newer/.ready: $(SETUP)
	@.ci/venv.sh .venv-newer newer dev,dask

.links/snn_compile:
	@mkdir -p .links && ln -sfn .. $@
