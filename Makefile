# Every command sets up what it needs. `make demo` and `make test` work on a fresh Debian or Ubuntu with python3, git and make.

VENV := .venv
BIN := $(VENV)/bin
SAMPLE := examples/person_sbs.asvp

.PHONY: help setup demo test lint bench bench-publish gates counters-write capi build clean

help:
	@echo "make demo   see it work: the sample's facts, a mask as PNG, GPU against CPU on every frame"
	@echo "make test   run the tests"
	@echo "make lint   check style and types"
	@echo "make bench  print the figures, with a JSON file and a picture in build/bench/"
	@echo "make gates  compare counters with bench/counters.toml, and times with the parent commit's"
	@echo "make capi   build libalphastream.so, the C library, into build/capi/"
	@echo "make build  build wheel and sdist into dist/"

setup: $(VENV)/.ready
	@.ci/setup-gl

$(VENV)/.ready: pyproject.toml .ci/setup-python
	@.ci/setup-python $(VENV)

demo: setup
	@$(BIN)/alphastream info $(SAMPLE)
	@mkdir -p build
	@$(BIN)/alphastream render $(SAMPLE) --frame 60 -o build/mask.png
	@if $(BIN)/alphastream doctor > build/doctor.txt; then \
		$(BIN)/alphastream verify $(SAMPLE); \
	else \
		echo "no GPU check here:"; grep -A 1 MISSING build/doctor.txt; \
	fi

test: setup
	@.ci/setup-hosts
	@$(BIN)/python -m pytest

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup
	@$(BIN)/python -m pytest bench -o addopts="" -o python_files="bench_*.py" --benchmark-only
	@$(BIN)/python bench/results.py

bench-publish:
	@$(BIN)/python bench/results.py --publish

gates: setup
	@$(BIN)/python bench/counters.py
	@$(BIN)/python bench/regression.py

counters-write: setup
	@$(BIN)/python bench/counters.py --write

capi: $(VENV)/.ready
	@$(BIN)/alphastream build-capi -o build/capi

build: $(VENV)/.ready
	@$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist
