# `make help` tells what each target does. The set-up needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := shared services/crawler services/converter services/storer services/gateway services/simulator services/standalone
MODULES := fairprice crawler converter storer gateway simulator standalone grafana examples scripts
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

PYTEST := $(BIN)/python -m pytest -q
LOCAL := not rabbitmq and not influxdb and not compose and not week
PARALLEL := -n auto --dist worksteal
BY_SERVER := -n 2 --dist loadgroup --no-loadscope-reorder

# What soak takes from the tests of processes and servers.
SHARED_BY_TESTS := tests:tests/e2e:shared/tests:services/storer/tests

# Whoever has servers of his own hands them over; what is missing comes from containers where they can run.
WITH_SERVERS := $(BIN)/python -m tests.servers
SIDE_BY_SIDE := $(BIN)/python -m scripts.side_by_side
SERVER_TESTS := test-chain test-rabbitmq test-influxdb
CHECKS := test-chain test-rabbitmq lint coverage test-slow test-rounds $(if $(FAIRPRICE_TEST_COMPOSE),test-containers) test-influxdb

# Hundreds of processes are started by the tests: none has to compile its modules again.
unexport PYTHONDONTWRITEBYTECODE

COMPOSE := docker compose
PROJECTS := $(COMPOSE) ls --quiet --filter name='^fairprice(-simulated)?$$'

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo live services docker up up-simulated down passwords test test-fast test-slow test-rounds test-week test-under-load coverage test-servers test-rabbitmq test-cluster test-influxdb test-chain test-containers kube-test soak recordings smoke lint check format bench bench-quick bench-peers images dist version notes lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: .venv/installed ## set up .venv from the hash-pinned locks; again only when they have changed

install-dev: .venv/installed-dev ## the same with the tools for tests and checks

demo: install ## the whole pipeline on a simulated market; prints the page's address
	@$(BIN)/python -m standalone

live: install ## the whole pipeline on Binance itself
	@$(BIN)/python -m standalone --live

services: install ## the services as processes, over the RabbitMQ and the InfluxDB that the settings name
	@trap : INT TERM; for service in storer converter crawler; do env -u FAIRPRICE_HTTP_PORT $(BIN)/python -m $$service & done; \
		$(BIN)/python -m gateway & wait; wait

up: ## everything in containers on Binance, with Grafana, Prometheus, RabbitMQ, InfluxDB; needs only Docker
up-simulated: ## the same without internet: on a simulated market, with stored data of its own
up-simulated: export COMPOSE_PROFILES = simulated
up-simulated: COMPOSE += $(strip $(if $(wildcard .env),--env-file .env) --env-file deploy/simulated.env)
up up-simulated: docker
	@$(COMPOSE) up --build --detach --wait --wait-timeout 300 || { \
		for service in crawler converter storer gateway; do echo "$$service: $$($(COMPOSE) exec -T $$service ready 2>&1)"; done; \
		echo "Not everything is up; what runs goes on trying. More tell: $(COMPOSE) ps -a; $(COMPOSE) logs SERVICE"; exit 1; }
	@$(COMPOSE) run --rm passwords tell

docker:
	@docker compose version >/dev/null 2>&1 || { echo "This needs Docker with its compose plugin: https://docs.docker.com/engine/install/"; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "No Docker engine answers: start it, or log in as a user who may use it"; exit 1; }

down: docker ## stop the containers; everything stored is kept
	@for project in $$($(PROJECTS) --all); do $(COMPOSE) --project-name $$project --profile '*' down; done

passwords: docker ## where to log in to the containers, as whom and with what
	@project=$$($(PROJECTS) | tail -n 1); test "$$project" || { echo "Nothing is up. Start it with: make up"; exit 1; }; \
		$(COMPOSE) --project-name $$project run --rm passwords

test: install-dev ## every test that needs no server, on all cores
	@$(PYTEST) $(PARALLEL) -m '$(LOCAL) and not rounds'

test-fast: install-dev ## of these the pure ones and those in one process
	@$(PYTEST) $(PARALLEL) -m '$(LOCAL) and not rounds and not slow'

test-slow: install-dev ## of these the others: processes, browsers
	@$(PYTEST) $(PARALLEL) -m '$(LOCAL) and not rounds and slow'

test-rounds: install-dev ## more input than in make test: more seeds, variants and examples
	@$(PYTEST) $(PARALLEL) -m '$(LOCAL) and (rounds or hypothesis)' --hypothesis-profile many

test-week: install-dev ## a week of a market on a driven clock: some minutes of CPU
	@$(PYTEST) -m week

coverage: install-dev ## test-fast, and which branches it passes: fails below the floors (pyproject.toml)
	@$(PYTEST) $(PARALLEL) -m '$(LOCAL) and not rounds and not slow' --cov --cov-report=
	@$(BIN)/python -m scripts.coverage_floors

test-under-load: install-dev ## make test ten times beside eight busy processes, once on one core; ROUNDS=1 asks for fewer
	@$(BIN)/python -m scripts.under_load --rounds $(or $(ROUNDS),10) -- $(PYTEST) -n 8 --dist worksteal -m '$(LOCAL) and not rounds'

test-servers: install-dev ## the tests on real servers, on PATH, by address or in containers (CONTRIBUTING.md)
	@$(WITH_SERVERS) $(SIDE_BY_SIDE) $(SERVER_TESTS)

test-rabbitmq: install-dev ## of these those on RabbitMQ alone
	@$(PYTEST) $(BY_SERVER) -m 'rabbitmq and not influxdb and not compose and not rounds'

test-cluster: install-dev ## a RabbitMQ cluster through all faults, on each version, by hand: ten minutes each
	@$(PYTEST) -m cluster

test-influxdb: install-dev ## of these those on InfluxDB alone
	@$(PYTEST) -m 'influxdb and not rabbitmq and not compose'

test-chain: install-dev ## of these those of the whole chain of services
	@$(PYTEST) $(BY_SERVER) -m 'rabbitmq and influxdb and not compose and not rounds'

test-containers: install-dev ## docker-compose.yml as a running stack; needs a Docker engine and some minutes
	@FAIRPRICE_TEST_COMPOSE=1 $(PYTEST) -m compose

kube-test: install-dev ## the overlays in the Kubernetes of FAIRPRICE_TEST_KUBECONFIG, which has our images; TEST=demo for a part
	@$(PYTEST) -m kube $(if $(TEST),-k '$(TEST)')

soak: install-dev ## random faults for minutes, SOAK=8h for longer, SEED=5 repeats a run; ends with a verdict
	@PYTHONPATH=$(SHARED_BY_TESTS)$${PYTHONPATH:+:$$PYTHONPATH} $(BIN)/python -m tests.soak --for $(or $(SOAK),3m) \
		$(if $(SEED),--seed $(SEED)) $(OPTIONS)

recordings: ## fetch the real recordings that tests and benchmarks play where they are there; needs the internet
	@$(PYTHON) scripts/fetch_recordings.py

smoke: install ## play a recording through the embedded pipeline, once, from its diffs to stored prices
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python -m standalone --port 0 --once --speed max \
		--capture tests/recordings/binance_spot_made_up.ndjson.gz --database "$$folder/smoke.db"

lint: install-dev ## format, lint, types and import contracts
	@$(BIN)/ruff format --check --quiet . && echo "format: clean"
	@$(BIN)/ruff check --quiet . && echo "lint: clean"
	@$(BIN)/mypy $(MODULES:%=-p %)
	@$(BIN)/lint-imports

check: install-dev ## what CI runs: lint and all tests, those side by side that share no server
	@$(WITH_SERVERS) $(SIDE_BY_SIDE) $(CHECKS)

format: install-dev ## format the code and sort the imports
	@$(BIN)/ruff check --quiet --fix . && $(BIN)/ruff format --quiet .

bench: install ## the benchmarks; needs a recording or makes frames itself
	@$(BIN)/python -m benchmarks

bench-quick: install ## is anything twice as dear as it was? ratios only, without servers, in less than a minute
	@$(BIN)/python -m benchmarks.quick

bench-peers: install ## the same with the peers' libraries, in an environment of their own
	@$(PYTHON) -m benchmarks.peers

images: docker ## build the images of the services; IMAGES="crawler storer" builds some
	@$(COMPOSE) --profile '*' build $(IMAGES)

dist: install ## build the packages into dist
	@$(PIP) --require-hashes -r build.lock
	@$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist $(PACKAGES:%=./%)

version: ## print the version; VERSION=0.2.0 sets it, TAG=v0.2.0 compares it
	@$(PYTHON) -m scripts.version $(VERSION) $(if $(TAG),--tag '$(TAG)')

notes: ## print what the changelog says of the version
	@$(PYTHON) -m scripts.version --notes

lock: ## renew all locks; needs uv
	@for package in crawler converter storer gateway simulator standalone; do \
		uv export --quiet --package fairprice-$$package --no-dev --no-emit-workspace --no-header --no-annotate \
			--output-file services/$$package/requirements.lock || exit 1; \
	done
	@uv export --quiet --only-group build --no-header --no-annotate --output-file build.lock
	@uv export --quiet --all-packages --only-group dev --no-emit-workspace --no-header --no-annotate \
		--output-file requirements-dev.lock

clean: ## remove the set-up, caches and everything stored
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache shared/mutants services/*/mutants

.venv/installed: build.lock services/standalone/requirements.lock $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit("Fairprice needs Python 3.11 or newer, this is %d.%d: make PYTHON=python3.13 ..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (once, about a minute)."
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r build.lock -r services/standalone/requirements.lock
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
