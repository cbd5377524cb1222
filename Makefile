# `make help` lists what there is. Needs bash and Python 3.10 or newer; writes nothing outside this folder and PINOCTL_HOME.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
# tests wait much of their time, so there is one more at work than there are processors
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4)))
EXAMPLE ?= examples/gradio-hello
PYTEST_ARGS ?=
BENCH_ARGS ?=
bin := $(VENV)/bin
pip := PYTHONWARNINGS=ignore "$(bin)/python" -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help up down test lint types bench wheel lock clean

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 14

up: $(VENV)/.installed ## Install pinoctl into .venv, bring the example up, print its URL last
	@"$(bin)/pinoctl" up "$(EXAMPLE)"

down: $(VENV)/.installed ## Stop the example
	@"$(bin)/pinoctl" down "$(notdir $(EXAMPLE))"

test: lint types ## Lint, check the types, run all tests (the quick ones first)
	@"$(bin)/python" -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.developing ## Check the style
	@"$(bin)/ruff" check .

types: $(VENV)/.developing ## Check the types
	@"$(bin)/mypy"

bench: $(VENV)/.installed ## Measure pinoctl and print it beside the desktop's figures
	@"$(bin)/python" -m benchmarks $(BENCH_ARGS)

wheel: $(VENV)/.developing ## Build the wheel into dist/
	@"$(bin)/uv" build --quiet --wheel --out-dir dist

lock: $(VENV)/.developing ## Write requirements-dev.txt anew from pyproject.toml
	@"$(bin)/uv" pip compile --quiet --upgrade --universal --python-version 3.10 --extra dev --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" pyproject.toml --output-file requirements-dev.txt
	@"$(bin)/uv" pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --constraint requirements-dev.txt images/requirements.in \
	  --output-file images/requirements.txt

clean: ## Remove what make and the tests left in this folder; apps stay
	@rm -rf "$(VENV)" "$(VENV)-uv" build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What happens on the way goes to stderr: the last line on stdout of `make up` is the URL.
$(VENV)/.installed: $(VENV)/.made pyproject.toml requirements-dev.txt
	@echo "Installing pinoctl into $(VENV)" >&2
	$(pip) --constraint requirements-dev.txt --editable . >&2
	touch "$@"

$(VENV)/.developing: $(VENV)/.installed
	@echo "Installing what the checks and tests need into $(VENV)" >&2
	$(pip) --requirement requirements-dev.txt >&2
	touch "$@"

# python3 alone cannot make an environment on Debian and Ubuntu (`ensurepip` is in python3-venv); uv, virtualenv or pip will do instead.
$(VENV)/.made:
	@exec >&2
	found=
	for python in "$${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 python3.10; do
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
	  found=$${found:-$$python}
	  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then
	    "$$python" -m venv --clear "$(VENV)"
	    touch "$@"
	    exit
	  fi
	done
	export UV_SYSTEM_CERTS=1
	if command -v uv >/dev/null; then
	  uv venv --quiet --seed --clear --python "$${found:->=3.10}" "$(VENV)"
	elif [ -n "$$found" ] && "$$found" -m virtualenv --version >/dev/null 2>&1; then
	  "$$found" -m virtualenv --quiet --clear "$(VENV)"
	elif [ -n "$$found" ] && "$$found" -m pip --version >/dev/null 2>&1; then
	  "$$found" -m pip install --quiet --disable-pip-version-check --no-input --upgrade --target "$(VENV)-uv" uv
	  PYTHONPATH="$(VENV)-uv" "$$found" -m uv venv --quiet --seed --clear --python "$$found" "$(VENV)"
	elif [ -n "$$found" ]; then
	  echo "error: $$("$$found" --version) is here, but nothing that makes virtual environments"
	  echo "hint: on Debian and Ubuntu run \`apt-get install python3-venv\`; or install uv"
	  exit 1
	else
	  echo "error: there is no Python 3.10 or newer"
	  echo "hint: on Debian 12 and Ubuntu 22.04 or later run \`apt-get install python3 python3-venv\`; or install uv, which brings its own"
	  exit 1
	fi
	touch "$@"
