# Everything starts here: make run, make test. The first call creates .venv from requirements.lock.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
# Set, as in many containers, it would have each of the tests' processes compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=
PYTEST := $(BIN)/pytest -n 4 --dist loadfile

AGENT := examples/agent
AGENT_BIN := $(AGENT)/.venv/bin

.PHONY: run test test-slow soak test-repeat bench lint lint-agent agent-venv client-types format coverage lock audit-dependencies

run: .venv/made ## start the service on the embedded Postgres, or on DATABASE_URL
	@exec $(BIN)/interviews serve

test: .venv/made ## the quick tests, in parallel
	$(PYTEST) -m "not slow and not soak"

test-slow: .venv/made ## the slow tests: waits, outages, the documentation's code blocks
	$(PYTEST) -m slow

soak: .venv/made ## 2,000 simulated interviews, three times, with webhooks late and lost; some 70 minutes
	$(BIN)/pytest -m soak -s

test-repeat: .venv/made ## the quick tests ten times, each time in another order
	for round in 1 2 3 4 5 6 7 8 9 10; do $(PYTEST) -q -m "not slow and not soak" || exit 1; done

bench: .venv/made ## compare with Fastify, Express, Go and a naive FastAPI; writes docs/benchmarks.md; some 25 minutes
	$(BIN)/python -m benchmarks $(BENCH)

lint: .venv/made lint-agent ## format, style, types, import rules, how secrets are compared, the clients, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 0 tests/test_secrets_are_compared.py tests/clients/test_typescript_lint.py
	$(BIN)/alembic upgrade head --sql 2>/dev/null | $(BIN)/squawk

agent-venv: $(AGENT)/.venv/made ## install the example agent's packages, some 500 MB

lint-agent: $(AGENT)/.venv/made ## types of the example agent and of the Python client, against LiveKit Agents
	cd $(AGENT) && .venv/bin/mypy
	cd clients/python && ../../$(AGENT_BIN)/mypy

client-types: .venv/made ## make the types of clients/typescript again, from the service's OpenAPI document; needs Node
	$(BIN)/python -m tests.clients.typescript

format: .venv/made ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: .venv/made ## branches that no quick test takes
	$(BIN)/coverage run -m pytest -m "not slow and not soak"
	$(BIN)/coverage report

audit-dependencies: $(UV) ## known vulnerabilities of the packages in requirements.lock
	@UV=$(UV) .ci/audit-dependencies

lock: $(UV) ## resolve requirements.lock again
	$(UV) pip compile pyproject.toml --universal --all-extras --generate-hashes --no-header --quiet --upgrade \
		--output-file requirements.lock
	cd $(AGENT) && $(abspath $(UV)) pip compile pyproject.toml --universal --all-extras --generate-hashes --no-header \
		--quiet --upgrade --output-file requirements.lock

.venv/made: requirements.lock pyproject.toml | $(UV)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=..." >&2; exit 1; }
	@echo "Installing the packages into .venv: from the internet, in a minute or two ..."
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

# The example agent has an environment of its own: livekit-agents pins another version of LiveKit's SDK.
$(AGENT)/.venv/made: $(AGENT)/requirements.lock clients/python/pyproject.toml | $(UV)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=..." >&2; exit 1; }
	@echo "Installing the example agent's packages into $(AGENT)/.venv, some 500 MB ..."
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(AGENT)/.venv
	$(UV) pip sync --quiet --python $(AGENT)/.venv --require-hashes $(AGENT)/requirements.lock
	$(UV) pip install --quiet --python $(AGENT)/.venv --no-deps --no-build-isolation --editable clients/python
	@touch $@

.uv/bin/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=..." >&2; exit 1; }
	@echo "Installing uv, which installs the rest, into .uv ..."
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv
