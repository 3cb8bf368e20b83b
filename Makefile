# Needs python3 (3.11 or newer, with venv) and make; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := bench/.venv
# On two cores. Two in three test files wait for other processes most of the time.
JOBS ?= 5

.PHONY: help demo test site bench mutants lint format clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(READY) ## Hold chats on a built-in chat server for 20 s and check every verdict
	@$(BIN)/chatload demo

# The tests start hundreds of processes that import the same modules. Without bytecode each would compile them again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY) ## Run all tests, some files at a time (JOBS=)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

site: $(READY) ## Build the pages of docs/ as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "open build/site/index.html"

bench: $(BENCH)/.ready ## Measure chatload beside other load generators, about three quarters of an hour (ONLY=, ARGS=)
	@$(BENCH)/bin/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

mutants: $(VENV)/.ready-mutants ## Change 200 lines, one at a time, and count how many the tests notice, about half an hour (N=, SEED=, ONLY=)
	@$(BIN)/python -m tests.mutation $(if $(N),--n $(N)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)') $(ARGS)

lint: $(READY) ## Check style, types and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "chatload needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 1; }
	@echo "preparing $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.ready-mutants: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutants]'
	@touch $@

# The tools of the benchmark have a virtual environment of their own. A tool that cannot be installed is only missing in
# the tables.
$(BENCH)/.ready: bench/requirements.txt bench/package.json pyproject.toml constraints.txt
	@echo "preparing $(BENCH) (some minutes, once)"
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@$(BENCH)/bin/pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt || true
	@cd bench && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts || true
	@command -v wrk >/dev/null || echo "wrk is missing: apt install wrk"
	@touch $@
