# Every target makes its own environment first: nothing but Python 3.11+, make and a package index is needed.
#   make demo PYTHON=python3.12       another interpreter
#   make demo TORCH_INDEX=URL         another build of PyTorch (see the README)

STAMP := .venv/installed
export PYTHON TORCH_INDEX

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## the environment in .venv, with PyTorch and skyloom
$(STAMP): pyproject.toml constraints.txt scripts/setup
	@scripts/setup

demo: $(STAMP) ## measure real galaxies and write demo/report.html
	@.venv/bin/skyloom tour --out demo

test: $(STAMP) ## the test suite, without the slow ones
	@scripts/test

slow: $(STAMP) ## the slow tests
	@scripts/test -m slow

check: $(STAMP) ## lint, format, types, architecture
	@scripts/check

docs: $(STAMP) ## the documentation, into site/
	@scripts/docs

bench: $(STAMP) ## every benchmark, one after the other
	@for file in benchmarks/bench_*.py; do echo "== $$file"; .venv/bin/python "$$file" || exit 1; done

clean: ## remove the environment and everything that was made
	rm -rf .venv demo site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow check docs bench clean
