# make demo: from nothing to a report.  make test: from nothing to a green suite.  Both set up what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: demo test test-slow lint docs setup lock wheel clean help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo       train four models on real images (about 4 minutes on 2 cores) and print where their report is
demo: $(STAMP)
	@echo "demo: four runs on satellite images (decoder=transposed,bilinear × loss=ce,dice)"
	$(BIN)/python src/train.py -m decoder=transposed,bilinear loss=ce,dice

## make test       the tests that take less than ten minutes together
test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n 2

## make test-slow  the others
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n 2

## make lint       style, types, import contracts
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## make docs       the pages of docs/ as HTML, in docs/_build; a warning is an error
docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

## make setup      virtual environment with the locked packages (3 to 10 minutes the first time, about 6 GB)
setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "perpixel needs Python 3.11 to 3.13; this is %d.%d. Try: make PYTHON=python3.11 …" % v)'
	@echo "setup: making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "setup: Debian keeps venv in a package of its own: apt-get install python3-venv"; exit 1; }
	@echo "setup: installing the locked packages with hashes (3 to 10 minutes the first time, about 6 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: done"

## make lock       resolve requirements.lock anew from pyproject.toml (all Pythons, all platforms, with hashes)
lock:
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --annotation-style line -o requirements.lock

## make wheel      build the wheel
wheel: $(STAMP)
	$(BIN)/python -m build --wheel --no-isolation

## make clean      remove what make made (not your runs)
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
