# Everything is installed into .venv, in the tested versions of constraints.txt. pip's own settings (PIP_EXTRA_INDEX_URL,
# PIP_FIND_LINKS, a pip.conf) decide where packages come from; point them at a CPU build of torch to save a download of
# several gigabytes.

PYTHON ?= python3
VENV := .venv
# One more than there are cores: tests that wait, for a camera or for another process, leave theirs idle.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(os.cpu_count() or 1, 8) + 1)")
# Packages are compiled as they are imported: all 20,000 files of them would take a minute more. Many containers forbid
# Python to keep what it compiled; each of the hundreds of processes in the tests would compile PyTorch once more.
unexport PYTHONDONTWRITEBYTECODE
# Python 3.11's own pip takes twice as long as a new one, where an index has many versions.
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e

.DEFAULT_GOAL := help
.PHONY: demo demo-quick test quick check docs bench wheel clean help

demo: $(VENV)/.demo ## export C6 to seven targets and compare them on procedural faces, into out/demo
	$(VENV)/bin/lc2fer-bench --configs C6 --data synthetic --out out/demo
	@echo "Open out/demo/report.html. The models lie beside it."

demo-quick: $(VENV)/.demo ## the same in short: one target and its parent, 300 faces, one launch; times are rough
	$(VENV)/bin/lc2fer-bench --configs C6 --targets ort-int8-fused --launches 1 --limit 300 --data synthetic --out out/demo
	@echo "Open out/demo/report.html. The models lie beside it."

test: $(VENV)/.installed ## run the tests
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: $(VENV)/.installed ## run what is quick to run: commands, rules of style, the nouns
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/test_cli.py tests/test_umbrella.py \
		tests/test_classes.py tests/test_header.py tests/test_inputs.py tests/test_metrics.py tests/test_recipe.py \
		tests/test_targets.py tests/test_variants.py tests/benchmarks/judging

docs: $(VENV)/.installed ## build the documents' site into out/site; a dead link fails it
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet

check: $(VENV)/.installed ## lint, formatting and types
	$(VENV)/bin/clang-format --dry-run --Werror lc2fer/kernels/*.h lc2fer/kernels/*.cpp \
		lc2fer/kernels/isa/*.h lc2fer/kernels/variants/*.cpp tests/kernels/*.h tests/kernels/*.cpp \
		native/memory.h native/network.h native/threads.h native/*.cpp native/examples/cpp/*.cpp tests/native/*.cpp
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: $(VENV)/.installed ## measure the variants of CONFIGS (default: all) into out/bench
	$(VENV)/bin/lc2fer-bench --configs $(or $(CONFIGS),all) --targets all --data $(or $(DATA),synthetic) --out out/bench

wheel: $(VENV)/.installed ## build the source archive, the wheel, one a kind of machine with its library, and the SBOM, into dist/
	rm -rf build dist
	$(VENV)/bin/python -m build --outdir dist
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt ziglang cyclonedx-bom
	$(VENV)/bin/python -m lc2fer.kernels.wheel dist/*-none-any.whl
	$(VENV)/bin/cyclonedx-py requirements constraints.txt --pyproject pyproject.toml --output-reproducible \
		--output-file dist/lc2fer.cdx.json

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip

# The demo leaves out what only training and development need.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV); pip says nothing for some minutes ...."
	@$(INSTALL) '.[export,openvino,bench]'
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV), with everything for training and development ..."
	@$(INSTALL) '.[train,export,openvino,rtx,bench,explain,camera,web,serve,mqtt,completion,docs,dev]'
	@touch $(VENV)/.demo $@
