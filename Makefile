# Relative paths only, so that a clone may live under a path with blanks. What stands behind ## is the help.
.PHONY: help setup run migrate rollback test check drills schema bench bench-growth client demo lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: .venv/run.stamp ## start the service (and its own PostgreSQL unless DATABASE_URL names one)
	@exec .venv/bin/python -m service

migrate: .venv/run.stamp ## bring the database's schema up to date
	@exec .venv/bin/python -m service migrate

rollback: .venv/run.stamp ## take the newest migration back
	@exec .venv/bin/python -m service rollback

test: setup ## run the tests, on a PostgreSQL of their own or on TEST_DATABASE_URL; ARGS goes to pytest
	@exec .venv/bin/python -m pytest --numprocesses=3 --dist=loadfile $(ARGS)

check: setup ## format, lint, types, and the migrations' locks
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ruff check --quiet .
	.venv/bin/python -m mypy
	.venv/bin/squawk $(squawk-rules) sql/migrations/*.sql

# A migration must say how long it waits for a lock; how long it may work is for each to decide.
squawk-rules = --pg-version 14 --assume-in-transaction --exclude-path '*.rollback.sql' --exclude require-statement-timeout

drills: setup ## run what takes longer: kills, restarts, load; ARGS goes to pytest
	@exec .venv/bin/python -m pytest tests/drills --timeout=3600 $(ARGS)

schema: setup ## write sql/schema.sql anew from the migrations
	@exec .venv/bin/python -m tests.dump_schema

bench: setup ## measure this service against others on this machine
	@exec .venv/bin/python -m bench

bench-growth: setup ## measure latency against rows, and plot it into specs/
	@exec .venv/bin/python -m bench.growth

client: .venv/run.stamp examples/typescript/node_modules ## write the TypeScript example's types anew from the API's document; needs npm
	@.venv/bin/python -c 'import sys; from service.docs import OPENAPI; sys.stdout.buffer.write(OPENAPI)' \
		| npm --prefix examples/typescript run --silent generate

examples/typescript/node_modules: examples/typescript/package-lock.json
	@cd examples/typescript && npm ci --silent --no-audit --no-fund && touch node_modules

demo: .venv/run.stamp ## fill a demo account in the service that runs at BASE, and print its token
	@exec .venv/bin/python examples/demo.py "$${BASE:-http://127.0.0.1:8000}"

lock: setup ## pin what the requirements*.in files need, with hashes
	@for name in requirements requirements-local requirements-jwks requirements-dev; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url "$$name.in" --output-file "$$name.txt" || exit 1; \
	done

clean: ## remove everything that was made, except .data
	rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

setup: .venv/test.stamp ## install all that the tests need into .venv

# A stamp is written last, so an interrupted installation is done again.
pip = .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
install-failed = { echo "The installation failed, for the reason above. It needs the network; the same command tries again." >&2; exit 1; }

.venv/test.stamp: requirements-dev.txt .venv/run.stamp
	@echo "Adding the tools of the tests to .venv: about 80 MB to download, a minute, once."
	@$(pip) -r requirements-dev.txt || $(install-failed)
	@touch $@

.venv/run.stamp: requirements.txt requirements-local.txt .venv/bin/python
	@if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11; fi; \
	for python; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		python=; \
	done; \
	[ "$$python" ] || { echo "Python 3.11 or newer is needed (tried: $$*); PYTHON=/path/to/python3 names one." >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$$python lacks its venv module: on Debian and Ubuntu, apt install python3-venv brings it." >&2; exit 1; }; \
	echo "Installing the service and its PostgreSQL into .venv: about 40 MB to download, half a minute, once."; \
	"$$python" -m venv --clear .venv || $(install-failed)
	@$(pip) -r requirements.txt -r requirements-local.txt || $(install-failed)
	@touch $@

# No recipe: where the virtual environment's Python is gone (or a system upgrade replaced it), the stamp above is out of date.
.venv/bin/python:
