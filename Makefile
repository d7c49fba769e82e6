# Each target sets up what it needs: a fresh clone and a Python of 3.11 or newer are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS := 3600

.PHONY: help demo test windows slow crash soak fuzz lint docs dist pyz bench clean

help:
	@echo "make demo   convert a partitioned disk to VHDX and back, on this machine"
	@echo "make test   lint, types, import contracts and all tests"
	@echo "make windows the tests in a Python for Windows, under Wine in .wine"
	@echo "make slow   the tests that take minutes each"
	@echo "make crash  power losses at random, for ten minutes"
	@echo "make soak   a random mix of everything against a reference file, for SECONDS=3600"
	@echo "make fuzz   hostile input with coverage guidance; SECONDS=60 each, TARGETS=\"image log\""
	@echo "make docs   the documentation as HTML, and the man page"
	@echo "make dist   a wheel with the man page in it"
	@echo "make pyz    one file with all that vhdx needs, for a Python without pip; PLATFORM=win_amd64 PYTHON_OF=3.12"
	@echo "make bench  measure against QEMU, pyvhdi, dissect and the bare system calls; SUBJECT=salvage only that;"
	@echo "            BASE=REVISION against that"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo/demo.sh

test: $(VENV)/installed-dev lint
	@sh .ci/tools
	@sh .ci/kernel
	@sh .ci/azurite
	$(BIN)/python -m pytest -n auto --dist worksteal

windows: $(VENV)/installed-dev
	@PYTHON=$(BIN)/python sh .ci/windows

slow: $(VENV)/installed-dev
	@sh .ci/azurite
	@sh .ci/fake-gcs
	$(BIN)/python -m pytest -m slow

crash: $(VENV)/installed-dev
	$(BIN)/python -m tests.crash --seconds 600

soak: $(VENV)/installed-dev
	@sh .ci/tools
	$(BIN)/python -m tests.soak --seconds $(SECONDS)

TARGETS := $(filter-out __init__,$(basename $(notdir $(wildcard tests/fuzz/targets/*.py))))

fuzz: SECONDS := 60
fuzz: $(VENV)/installed-fuzz
	@for target in $(TARGETS); do $(BIN)/python -m tests.fuzz $$target --seconds $(SECONDS) || exit; done

$(VENV)/installed-fuzz: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,fuzz]'
	@touch $@ $(VENV)/installed $(VENV)/installed-dev

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 src/vhdx/storage src/vhdx/cli/windows_console.py
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/built/html
	$(BIN)/sphinx-build -q -W --keep-going -b man docs docs/built/man
	@echo "docs/built/html/index.html, docs/built/man/vhdx.1"

dist: docs
	VHDX_MAN_PAGE=docs/built/man/vhdx.1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

# One file for machines without pip, of this kind or another: PLATFORM=win_amd64 PYTHON_OF=3.12
pyz: $(BIN)/python
	$(BIN)/python packaging/pyz.py $(if $(PLATFORM),--platform $(PLATFORM) --python $(PYTHON_OF))

$(VENV)/installed-docs: pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

bench: $(VENV)/installed-dev
	@sh .ci/tools
	@sh .ci/azurite
	$(BIN)/python -m bench $(if $(BASE),--base $(BASE)) $(SUBJECT)

clean:
	rm -rf $(VENV) .wine .fuzz demo-work bench/results/latest.json docs/built dist
