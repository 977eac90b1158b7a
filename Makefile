# Every target sets up what it needs by itself, in .venv of this folder.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
DEMO   ?= demo

.PHONY: help demo test test-all test-lowest check format bench clean

help:
	@echo "make demo         train IB-GAN on color_dsprites, score it, and draw samples and a traversal (minutes)"
	@echo "make test         the tests (minutes)"
	@echo "make test-all     the slow tests too"
	@echo "make test-lowest  the tests with every dependency at its lowest allowed version (fetches gigabytes)"
	@echo "make check        lint, formatting, types"
	@echo "make format       format the code"
	@echo "make bench        the benchmarks, against the plain references kept beside them"

# The environment is made anew when the dependencies change.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/zoo train ibgan --dataset color_dsprites --preset demo --out $(DEMO) --resume
	$(BIN)/zoo eval ibgan $(DEMO) --metrics factorvae --set factorvae.variance_images=50000
	@$(BIN)/zoo sample ibgan $(DEMO) --num 64 --out $(DEMO)/figures/samples.png >/dev/null
	@$(BIN)/zoo traverse ibgan $(DEMO) --bases 2 --out $(DEMO)/figures/traversal.png >/dev/null
	@$(BIN)/zoo traverse ibgan $(DEMO) --bases 2 --out $(DEMO)/figures/traversal.gif >/dev/null
	@echo "run:        $(DEMO)"
	@echo "samples:    $(DEMO)/figures/samples.png"
	@echo "traversals: $(DEMO)/figures/traversal.png, $(DEMO)/figures/traversal.gif"

# One thread a process: tensors of this size gain nothing from more, and on a busy machine threads wait for each other.
test test-all test-lowest check: export OMP_NUM_THREADS = 1

# A process a core, up to four; the tests of a file stay together, for they share what is slow to make.
PARALLEL = -n auto --maxprocesses 4 --dist loadfile

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest $(PARALLEL)

# An environment of its own, made anew each time.
test-lowest:
	$(PYTHON) -m venv --clear build/lowest
	$(PYTHON) tests/lowest_versions.py > build/lowest/constraints.txt
	build/lowest/bin/python -m pip install --quiet --constraint build/lowest/constraints.txt --editable '.[dev]'
	build/lowest/bin/python -m pytest $(PARALLEL) -m "not slow"

# mypy cannot follow the package-dir mapping of the source tree, so it reads an installed copy.
check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target build/installed .
	MYPYPATH=build/installed $(BIN)/mypy --config-file pyproject.toml -p zoo -p ibgan_plugin
	$(BIN)/python -m pytest tests/test_layers.py tests/test_packaging.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
