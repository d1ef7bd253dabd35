# One target for each thing a person does. `make help` lists them.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The tests compare the engine with transformers, which computes with torch. It is not in the hashed
# lock because the right build differs from machine to machine; a CPU build is enough:
#   make test TORCH=path/to/torch-2.13.0+cpu.whl
TORCH  ?= torch==2.13.0

# Clang on ARM Macs says -mcpu where everybody else says -march.
NATIVE := $(if $(filter Darwin-arm64,$(shell uname -sm | tr ' ' -)),-mcpu=native,-march=native)
ENGINE := src/cabinos/engine/run.c
BUILD  := pyproject.toml hatch_build.py $(ENGINE) src/cabinos/engine/library.c
MODEL  := build/tiny.gguf
REQUEST ?= what is 15% of 482.50
BENCHES ?= $(addprefix engine/,bandwidth speed startup memory perplexity determinism style) \
    $(addprefix kernel/,beside chaos fairness paging budget fork reopen cabin_help lines) \
    $(addprefix brain/,retrieval transcripts) $(addprefix retrieval/,compare scale) \
    $(addprefix skills/,quotes hop) train/offered \
    $(addprefix workshop/,bradley_terry chinchilla arena compress)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format bench fuzz wheel lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/core.stamp ## install, and have the brain in the box do what REQUEST asks for
	@$(BIN)/cabin "$(REQUEST)"

test: $(VENV)/dev.stamp ## every test, in parallel: three at once keep two cores busy
	@$(BIN)/python -m pytest -n 3 $(ARGS)

lint: $(VENV)/dev.stamp ## style, types and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## lay out the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp ## every benchmark, the quick way; each prints one JSON line last
	@for b in $(BENCHES); do echo "== $$b"; $(BIN)/python bench/$$b.py --quick || exit 1; done

run: $(ENGINE) ## the two-file program, for this machine: ./run model.gguf -p "..."
	$(CC) -O3 $(NATIVE) $< -o $@ -lm -lpthread

fuzz: $(VENV)/dev.stamp ## fuzz the loader and the tokenizer under sanitizers
	@$(BIN)/python -m tests.fuzz.fuzz $(ARGS)

wheel: $(VENV)/dev.stamp ## sdist and wheel into dist/
	$(BIN)/python -m build --no-isolation

lock: ## pin every dependency again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --isolated pip-tools
	for extra in pack dev; do \
	    out=$$(test $$extra = dev && echo dev || echo core); \
	    env -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock" \
	        build/lock/bin/python -m piptools compile --quiet --upgrade --generate-hashes \
	        --strip-extras --allow-unsafe --no-emit-options --no-emit-index-url \
	        --no-emit-trusted-host --no-emit-find-links --all-build-deps --extra $$extra \
	        --output-file requirements/$$out.lock pyproject.toml || exit 1; \
	done

clean: ## remove what was built; the environment in .venv stays
	rm -rf build dist run src/cabinos/engine/lib .mypy_cache .pytest_cache .ruff_cache \
	    .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -f $(VENV)/*.stamp

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: requirements/core.lock $(BUILD) | $(VENV)/bin/python
	$(PIP) --require-hashes --requirement requirements/core.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/core.stamp
	$(PIP) --require-hashes --requirement requirements/dev.lock
	$(PIP) $(TORCH)
	@touch $@

$(MODEL): tools/make_tiny_model.py tools/oz.txt | $(VENV)/core.stamp
	@$(BIN)/python $< $@
