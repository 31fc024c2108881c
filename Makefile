# Every command sets up what it needs, and no more: .ci/setup.py has the list. `make fresh` shows that README's commands
# work on machines that have nothing.

VENV := .venv
BIN := $(VENV)/bin
SAMPLE := examples/person_sbs.asvp
# Processes that tests run in; 0 for one, which a debugger needs.
JOBS := auto
# How long each fuzz target runs.
SECONDS := 60

.PHONY: help demo test test-all fresh lint docs linkcheck bench coverage fuzz mutants bench-publish gates counters-write capi build smoke dist-check clean

help:
	@echo "make demo   see it work: the sample's facts, a mask as PNG, GPU against CPU on every frame"
	@echo "make test   run the tests but the slow ones"
	@echo "make test-all  run all tests"
	@echo "make fresh  run README's commands in new Debian systems, made by debootstrap; needs root, takes an hour"
	@echo "make lint   check style and types"
	@echo "make docs   build the documentation's site into build/docs/"
	@echo "make linkcheck  ask every address that the documentation names; needs a network"
	@echo "make bench  print the figures, with a JSON file and a picture in build/bench/"
	@echo "make gates  compare counters with bench/counters.toml, and times with the parent commit's"
	@echo "make coverage  run the tests, and print which branches of which area they take"
	@echo "make fuzz   run each fuzz target for SECONDS=60"
	@echo "make mutants   change the code in 1,600 ways and see that the tests notice; an hour"
	@echo "make capi   build libalphastream.so, the C library, into build/capi/"
	@echo "make build  build wheel and sdist into dist/, and check them"
	@echo "make smoke  try them, installed, on the other Pythons of this machine"
	@echo "make dist-check  test them, installed, on every Python, and with the lowest versions of dependencies"

demo:
	@.ci/setup demo
	@$(BIN)/alphastream info $(SAMPLE)
	@mkdir -p build
	@if [ -e $(VENV)/.no-gl ]; then \
		$(BIN)/alphastream render $(SAMPLE) --frame 60 --backend cpu -o build/mask.png; \
	else \
		$(BIN)/alphastream render $(SAMPLE) --frame 60 -o build/mask.png && $(BIN)/alphastream verify $(SAMPLE); \
	fi

test:
	@.ci/setup test
	@$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal -m "not slow" --hypothesis-profile=quick

test-all:
	@.ci/setup test
	@$(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal

fresh:
	@$(or $(PYTHON),python3) .ci/fresh.py $(AGAIN) $(if $(ROWS),"$(ROWS)")

lint:
	@.ci/setup lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests/typing/api.py
	@$(BIN)/basedpyright
	@$(BIN)/zizmor --quiet --offline --persona pedantic .github

docs:
	@.ci/setup docs
	@$(BIN)/sphinx-build -q -E -W --keep-going -n -d build/doctrees docs build/docs

linkcheck:
	@.ci/setup docs
	@$(BIN)/sphinx-build -q -E -b linkcheck -d build/doctrees docs build/linkcheck

bench:
	@.ci/setup bench
	@$(BIN)/python -m pytest bench -p no:randomly -o addopts="" -o python_files="bench_*.py" --benchmark-only --benchmark-quiet
	@$(BIN)/python bench/results.py

bench-publish:
	@$(BIN)/python bench/results.py --publish

gates:
	@.ci/setup bench
	@$(BIN)/python bench/counters.py
	@$(BIN)/python bench/regression.py

counters-write:
	@.ci/setup bench
	@$(BIN)/python bench/counters.py --write

coverage:
	@.ci/setup test
	@$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=
	@$(BIN)/python tests/areas.py

fuzz:
	@.ci/setup fuzz
	@$(BIN)/python tests/fuzz/run.py all --seconds $(SECONDS)

# Without a GL driver: its threads would be lost in the processes that mutmut forks, and only the CPU's tests are run.
mutants:
	@.ci/setup mutants
	@__EGL_VENDOR_LIBRARY_FILENAMES=/dev/null DISPLAY= $(BIN)/python tests/mutants.py

capi:
	@.ci/setup capi
	@$(BIN)/alphastream build-capi -o build/capi

build:
	@.ci/setup package
	@$(BIN)/nox --session package

# Pythons that are not here are left out, also on CI, where each has a job of its own.
smoke:
	@.ci/setup package
	@$(BIN)/nox --no-error-on-missing-interpreters --session package smoke

dist-check:
	@.ci/setup package
	@$(BIN)/nox --no-error-on-missing-interpreters

clean:
	rm -rf $(VENV) .nox build dist
