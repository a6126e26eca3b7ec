# What a newcomer needs: make run, make test, make check. Only Python ≥ 3.11 with venv has to be there.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
NODE_MODULES := tests/node_modules/.package-lock.json
COMPILE := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
           --generate-hashes --no-header --no-emit-index-url --no-emit-find-links $(UPGRADE)

.PHONY: setup run test check types bench format lock image clean

setup: $(READY) ## the virtual environment, exactly as locked

# The stamp is newer than the lock while the environment matches it, so a second `make` does nothing here.
$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sotto needs Python 3.11 or newer; name one: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY) ## the server on http://127.0.0.1:8000, with no key
	@exec $(BIN)/python -m server

# Most browser tests are in Chromium: where we may install it we do. Firefox and WebKitGTK are used where they are.
test: $(READY) ## every test; ends with what was skipped and why
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
		|| echo "No chromium here and no right to install it: its tests will skip."
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(NODE_MODULES); \
		else echo "No npm here: other services' libraries for Node are not tried."; fi
	@if command -v node >/dev/null; then node --test --test-reporter=spec tests/js/*.test.js; \
		else echo "No node here: the browser library's own tests do not run."; fi
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory types; \
		else echo "No npm here: the types of what runs in browsers are not checked."; fi

types: $(NODE_MODULES) ## the types that the JavaScript's comments tell
	tests/node_modules/.bin/tsc --project tests/tsconfig.json

$(NODE_MODULES): tests/package-lock.json
	@npm ci --prefix tests --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

bench: $(READY) ## measure the server at real-time pace, beside its targets: about 27 minutes
	$(BIN)/python -m bench $(ARGS)

format: $(READY) ## put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY) ## write the locks anew; newer versions only with `make lock UPGRADE=--upgrade`
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements-whisper.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --overrides requirements.without \
		--output-file requirements.lock
	@! grep -n '://' *.lock

image: ## the container image
	docker build --tag sotto .

clean: ## take away what setup and the tools made
	rm -rf $(VENV) tests/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info dist
