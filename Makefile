# make book   from a bare clone to the finished book      make test   every test
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROFILE ?= quick
BIN := .venv/bin
INSTALLED := .venv/.installed
ENGINE := _build/sweep-venv/.installed
LAB := .venv/.lab
NEWEST := .venv-newest
# One process a core, each with one thread: two on the same cores slow each other to a crawl.
# A test file or notebook stays in one process.
SIDE_BY_SIDE := -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python $(SIDE_BY_SIDE)
DOCTEST := $(BIN)/python -m pytest -q --doctest-modules lib/whitebear

.PHONY: help book test unit full cluster-test lab newest bench lint clean

help:  ## show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

book: $(INSTALLED)  ## install, execute the notebooks and build the site (PROFILE=quick or full)
	@$(BIN)/python -m whitebear build --profile $(PROFILE)

test: book  ## every test: unit tests, examples of docstrings, stored notebook outputs, the built pages in a browser
	$(DOCTEST)
	$(PYTEST) tests notebooks --ignore=tests/cluster --nbval-lax --nbval-current-env --nbval-cell-timeout=300

unit: $(INSTALLED)  ## only the unit tests and the examples of docstrings: neither notebooks nor browser
	$(DOCTEST)
	$(PYTEST) tests --ignore=tests/site --ignore=tests/cluster

cluster-test: $(ENGINE)  ## a sweep on a Slurm of two nodes on this machine, with what goes wrong on clusters (as root; apt-get install slurmctld slurmd slurm-client munge)
	PYTHONPATH=lib OMP_NUM_THREADS=1 $(dir $(ENGINE))bin/python -m pytest -q -rs tests/cluster

full: $(INSTALLED)  ## run every chapter at its published size and keep the numbers in data/results (resumable)
	@$(BIN)/python -m whitebear publish

lab: $(LAB)  ## open the notebooks in JupyterLab (installs it once; not in the lock file)
	$(BIN)/python -m jupyterlab --notebook-dir=notebooks

newest:  ## the unit tests with the newest versions that pyproject.toml allows, in an environment of their own
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -e ".[arena,book,test]" "setuptools>=77"
	$(NEWEST)/bin/python -m pip list --format=freeze > $(NEWEST)/versions.txt
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python $(SIDE_BY_SIDE) tests --ignore=tests/site --ignore=tests/cluster \
	  --deselect tests/test_packaging.py::test_what_is_installed_is_what_is_locked --deselect tests/test_packaging.py::test_the_lock_file_is_complete

bench: $(INSTALLED)  ## how fast: attention hooks beside their peers, the grid, ten million rows (30 min; leave the machine alone)
	$(BIN)/python tests/bench/bench_attention.py
	$(BIN)/python tests/bench/bench_run.py
	$(BIN)/python tests/bench/bench_sweep.py

lint: $(INSTALLED)  ## style of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:  ## remove the built book; .venv and training checkpoints stay
	rm -rf _build/executed _build/failed _build/results _build/stage _build/site.part _build/html

# Runs again only when the lock file or the package's own description changes.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; try make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing the pinned packages into .venv (a few minutes, once)"
	@start=$$(date +%s); set -e; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	touch $@; echo "installed in $$(( $$(date +%s) - start )) s"

# The engine of a sweep wants older versions of some packages, so it has an environment of its own
# on top of .venv.
$(ENGINE): $(INSTALLED)
	@echo "installing Snakemake into $(dir $@)"
	@set -e; $(BIN)/python -m venv --clear $(dir $@); \
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(dir $@)bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/book.pth"; \
	$(BIN)/python -c 'import tomllib; wanted = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["sweep"]; print(*(w for w in wanted if not w.startswith("whitebear")), sep="\n")' > $(dir $@)wanted.txt; \
	$(dir $@)bin/python -m pip install --quiet --disable-pip-version-check -r $(dir $@)wanted.txt; touch $@

# JupyterLab beside what is locked, which keeps its versions.
$(LAB): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c requirements.txt -e ".[lab]"; touch $@
