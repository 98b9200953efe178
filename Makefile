# Relative paths only, so that the path of a clone may contain blanks. The text after ## is the help.
.PHONY: help setup run migrate rollback account test check drills schema openapi bench bench-growth client demo lock licences clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "A setting may stand behind it, as in make run PORT=8001; README.md lists them."

run: .venv/run.stamp ## start the service (and its own PostgreSQL unless DATABASE_URL names one)
	@exec .venv/bin/python -m service

migrate: .venv/run.stamp ## bring the database's schema up to date
	@exec .venv/bin/python -m service migrate

rollback: .venv/run.stamp ## take the newest migration back
	@exec .venv/bin/python -m service rollback

account: .venv/run.stamp ## one account: make account ARGS="show|export|set-password|sign-out|delete EMAIL"
	@exec .venv/bin/python -m service account $(ARGS)

test: setup ## run the tests, on a PostgreSQL of their own or on TEST_DATABASE_URL; ARGS goes to pytest
	@exec .venv/bin/python -m pytest --numprocesses=3 --dist=loadfile $(ARGS)

check: setup ## format, lint, types, and the migrations' locks
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ruff check --quiet .
	.venv/bin/python -m mypy
	.venv/bin/squawk $(squawk-rules) sql/migrations/*.sql

# A migration must set lock_timeout; statement_timeout is optional.
squawk-rules = --pg-version 14 --assume-in-transaction --exclude-path '*.rollback.sql' --exclude require-statement-timeout

drills: setup ## run what takes longer: kills, restarts, load; ARGS goes to pytest
	@exec .venv/bin/python -m pytest tests/drills --timeout=3600 $(ARGS)

schema: setup ## write sql/schema.sql anew from the migrations
	@exec .venv/bin/python -m tools.dump_schema

openapi: setup ## write service/openapi.json anew from specs/openapi.toml and the models
	@exec .venv/bin/python -m tools.dump_openapi

bench: setup ## measure this service against others on this machine
	@exec .venv/bin/python -m bench

bench-growth: setup ## measure latency against rows, and plot it into specs/
	@exec .venv/bin/python -m bench.growth

client: examples/typescript/node_modules ## write the TypeScript example's types anew from the API's document; needs npm
	@npm --prefix examples/typescript run --silent generate < service/openapi.json

examples/typescript/node_modules: examples/typescript/package-lock.json
	@cd examples/typescript && npm ci --silent --no-audit --no-fund && touch node_modules

demo: .venv/run.stamp ## fill a demo account in the service that runs at BASE, and print its token
	@exec .venv/bin/python examples/demo.py "$${BASE:-http://127.0.0.1:8000}"

lock: setup ## pin what the requirements*.in files need, with hashes
	@for name in requirements requirements-local requirements-jwks requirements-dev; do \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url "$$name.in" --output-file "$$name.txt" || exit 1; \
	done

licences: .venv/run.stamp ## list what runs in production: versions, licences, installed sizes
	@exec .venv/bin/python -m tools.licences

clean: ## remove everything that was made, except .data
	rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache

setup: .venv/test.stamp ## install all that the tests need into .venv

# The stamp is written last, so an interrupted installation is repeated.
.venv/test.stamp: requirements-dev.txt .venv/run.stamp
	@sh tools/install.sh $@ 600 "the tools of the tests into .venv: about 120 MB to download, a minute, once" $<

.venv/run.stamp: requirements.txt requirements-local.txt .venv/bin/python
	@sh tools/install.sh $@ 300 "the service and its PostgreSQL into .venv: about 40 MB to download, half a minute, once" \
		requirements.txt requirements-local.txt

# No recipe: if the virtual environment's Python is missing or newer after a system upgrade, the stamp above is out of date.
.venv/bin/python:
