# One line per target; each also works without make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Two for each core, since most tests wait for a server or a disk half of their time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * os.cpu_count())')
EXTRAS = artifacts,aws,azure,c2pa,cli,dask,dotenv,frames,fsspec,gcs,opentelemetry,perceptual,sigstore,timestamp

# Modules are compiled once, not by each of the programs that tests and benchmarks start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-multi web docs test test-system campaign check format bench clean

demo: $(VENV)/.demo
	$(BIN)/credstore demo

demo-multi: $(VENV)/.demo
	$(BIN)/credstore demo --multi

# The reader of Content Credentials for the verification page, which a wheel packs where it is there; needs npm.
web: credstore/web/site/c2pa/LICENSE.txt

credstore/web/site/c2pa/LICENSE.txt: docs/make_web.py
	$(PYTHON) docs/make_web.py

# The documentation site, in site/. A link or an anchor that leads nowhere ends the build.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) -m "not system" $(ARGS)

test-system: $(VENV)/.test
	sh tests/servers/install_system.sh
	$(MAKE) web
	$(BIN)/python -m pytest -m system $(ARGS)

# SCALE=ci, campaign (two hours at most) or release; SEED=7 for the same random numbers again.
campaign: $(VENV)/.test
	command -v strace >/dev/null || sh tests/servers/install_system.sh
	$(BIN)/python -m tests.campaign --write docs/reliability.md $(ARGS)
	$(BIN)/python -m tests.proofs.log.counterpart $(VENV)/counterpart

check: $(VENV)/.check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/hadolint Containerfile

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench
	sh tests/servers/install_system.sh
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "credstore needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12, say.")'
	$(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a virtual environment here; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip --disable-pip-version-check install -q --upgrade "pip>=25.1"

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip --disable-pip-version-check install -q -e ".[cli,perceptual]"
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip --disable-pip-version-check install -q -e ".[$(EXTRAS)]" --group test
	touch $@

$(VENV)/.check: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip --disable-pip-version-check install -q -e ".[$(EXTRAS)]" --group test --group check
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip --disable-pip-version-check install -q -e . --group docs
	touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.test
	$(BIN)/python -m pip --disable-pip-version-check install -q --group bench
	touch $@

clean:
	rm -rf $(VENV) build dist site credstore/web/site/c2pa .mypy_cache .ruff_cache .pytest_cache
