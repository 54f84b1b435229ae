# Every target sets itself up: needs Python 3.11 or 3.12, git, make and pip.
SHELL := /bin/bash
ARGS ?=
UV := $(shell command -v uv 2>/dev/null || echo .nextclick/uv/bin/uv)
BIN := .venv/bin

.PHONY: demo test lint lock serving training

demo: serving
	@$(BIN)/nextclick demo $(ARGS)

test: training
	@$(BIN)/pytest $(ARGS)

lint: training
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(UV):
	@echo "uv is not on the path: installing it into .nextclick/uv"
	@python3 -m venv .nextclick/uv && .nextclick/uv/bin/pip install -q uv

.venv: | $(UV)
	@$(UV) venv -q --python '>=3.11,<3.13' .venv

# what serving needs, and nothing more
serving: .venv
	@cmp -s requirements/serving.txt .venv/installed || cmp -s requirements/training.txt .venv/installed || { \
	  $(UV) pip sync -q --python .venv --require-hashes requirements/serving.txt && \
	  $(UV) pip install -q --python .venv --no-deps -e . && cp requirements/serving.txt .venv/installed; }

# serving, torch, and the test tools
training: .venv
	@cmp -s requirements/training.txt .venv/installed || { \
	  $(UV) pip sync -q --python .venv --require-hashes requirements/training.txt && \
	  $(UV) pip install -q --python .venv --no-deps -e . && cp requirements/training.txt .venv/installed; }

lock: | $(UV)
	$(UV) pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o requirements/serving.txt
	$(UV) pip compile -q pyproject.toml --universal --extra train --group dev --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o requirements/training.txt
