# GTM Clarity. Wants Python 3.11 or later, make and git; everything else comes into .venv. `make help` says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOREIGN := build/contracts
PEERS := .venv-bench
COSMOS := .venv-fleet
WORKERS := .venv-celery

# Nothing phones home.
export DO_NOT_TRACK := 1
export DBT_SEND_ANONYMOUS_USAGE_STATS := False
export GX_ANALYTICS_ENABLED := False
export AIRFLOW__COSMOS__ENABLE_TELEMETRY := False

# Every process of Airflow and dbt would compile its imports again: 3.5 s to start instead of 2.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

# uv and node would trust nobody but their own list of authorities, pip trusts the machine's: a company's proxy is there.
export UV_SYSTEM_CERTS := 1
export NODE_USE_SYSTEM_CA := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo up down status docs test test-long test-contracts test-celery test-image redis lint chaos fuzz \
    bench-load bench-transform bench-score bench-writeback bench-fleet bench-scale screenshot lock clean

help: ## list what make can do
	@while IFS= read -r line; do case "$$line" in [a-z]*:*' ## '*) \
	    printf '  make %-16s %s\n' "$${line%%:*}" "$${line##*' ## '}";; esac; done < Makefile

setup: $(VENV)/runtime ## make .venv with all that the platform runs on
	@echo 'setup: $(VENV) is ready'

demo: $(VENV)/runtime ## three tenants from their vendors and files to their scores, in real Airflow
	@$(BIN)/clarity demo

up: $(VENV)/runtime ## start PostgreSQL and Airflow, say where they are
	@$(BIN)/clarity up

down: $(VENV)/runtime ## stop both cleanly
	@$(BIN)/clarity down

status: $(VENV)/runtime ## what runs, what does not, and what to do about it
	@$(BIN)/clarity status

docs: $(VENV)/runtime ## dbt's documentation of every model and column, with the lineage: one HTML file
	@$(BIN)/clarity docs

test: lint ## lint, then every test but the long stories: ten minutes at most on two cores
	@$(side-by-side) -m 'not long'
	@echo 'test: the long stories are left to be told: make test-long'

test-long: $(VENV)/development ## the long stories: a platform wounded, upgraded, moved, searched for secrets; minutes
	@$(side-by-side) -m long

# Five for two cores: there is always one that waits for a server to start or a run to end.
side-by-side = $(BIN)/pytest --numprocesses=5 --dist=loadfile --no-loadscope-reorder --ignore=tests/contracts --ignore=tests/celery

test-contracts: $(VENV)/development $(FOREIGN)/python ## the connectors against servers that none of us wrote
	@if [ -n "$${CLARITY_CONTRACTS:-}" ]; then $(MAKE) --no-print-directory $(FOREIGN)/node; fi
	@$(BIN)/pytest tests/contracts tests/sandbox/test_salesforce_bare.py

test-image: $(VENV)/development ## every step of the image's build that needs no engine, in a clean folder; minutes
	@$(BIN)/python -m tests.deploy.build

test-celery: redis $(VENV)/development $(WORKERS)/ready ## two workers and a real Redis, killed and restarted half-way
	@$(BIN)/pytest tests/celery

redis:
	@$(call or-refuse,command -v redis-server >/dev/null,$(NO_REDIS))

lint: $(VENV)/development ## ruff, mypy, sqlfluff, and the borders between the rooms
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/python tests/borders.py
	@$(BIN)/mypy & types=$$!; $(BIN)/sqlfluff lint dbt; sql=$$?; wait $$types && exit $$sql

chaos: $(VENV)/development ## kill runs and syncs 50 times each or CHAOS_KILLS=n, and print the seed; long stories for dbt
	@ROUNDS=20 $(BIN)/pytest tests/end_to_end/test_pipeline.py tests/dbt/test_added_column.py -k "round_after_round or new_column"
	@CHAOS_KILLS=$${CHAOS_KILLS:-50} $(BIN)/pytest tests/chaos --capture=no
	@WEBHOOK_SECONDS=60 $(BIN)/pytest tests/webhooks -k fifty_a_second --capture=no
	@DAYS_PER_RUN=1 STORIES=200 CHAPTERS=14 $(BIN)/pytest tests/dbt/test_thirty_days.py tests/dbt/test_any_order.py

fuzz: $(VENV)/development ## the properties of the engine with 5,000 examples each, where CI has 200
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest tests/scoring/test_properties.py --numprocesses=3 --dist=worksteal --timeout=3600

bench-score: $(VENV)/development ## a night for a million people, next to bare numpy, SQL, reading and writing; OPTIONS=--help
	@$(BIN)/python -m benchmarks.score $(OPTIONS)

bench-writeback: $(VENV)/development ## a hundred thousand changed scores into the CRM: seconds, calls, memory; OPTIONS=--help for sizes
	@$(BIN)/python -m benchmarks.writeback $(OPTIONS)

bench-load: $(VENV)/development $(PEERS)/ready ## a million rows into raw, next to dlt and to a bare COPY; OPTIONS=--help for sizes
	@$(BIN)/python -m benchmarks.load $(OPTIONS)

bench-transform: $(VENV)/development ## a million activities from raw to rollups, next to SQL by hand and to dbt; OPTIONS=--help
	@$(BIN)/python -m benchmarks.transform $(OPTIONS)

bench-fleet: $(VENV)/development $(COSMOS)/ready ## a hundred idle tenants in real Airflow: who spends the processor; OPTIONS=--help
	@$(BIN)/python -m benchmarks.fleet $(OPTIONS)

bench-scale: $(VENV)/development ## bytes per activity, processor per tenant, and what 5,000 tenants need; OPTIONS=--help
	@$(BIN)/python -m benchmarks.scale $(OPTIONS)

screenshot: $(VENV)/development ## take the pictures in the README
	@$(BIN)/python docs/take_screenshots.py

lock: $(VENV)/development ## compile the requirements anew from their .in files
	@$(call compile,requirements)
	@$(call compile,requirements-dev) --constraint requirements.txt
	@$(call compile,requirements-contracts)
	@$(call compile,requirements-bench)
	@$(call compile,requirements-fleet) --constraint requirements-dev.txt
	@$(call compile,requirements-celery) --constraint requirements.txt
	@! grep -n '://' requirements*.txt || { echo 'The lock names an address; it must not.' >&2; exit 1; }

clean: ## remove .venv and all caches; the data in .clarity stays
	rm -rf $(VENV) $(PEERS) $(COSMOS) $(WORKERS) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis dbt/target dbt/logs

compile = $(BIN)/uv pip compile $(1).in --output-file $(1).txt --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Two stamps say what .venv holds. The development set includes the runtime set, so it leaves both.
$(VENV)/runtime: requirements.txt pyproject.toml
	$(call install,$<)
	@touch $(VENV)/runtime

$(VENV)/development: requirements-dev.txt pyproject.toml
	$(call install,$<)
	@touch $(VENV)/runtime $(VENV)/development

# The foreign servers keep to themselves: a virtual environment for those from PyPI, which brings node for the others.
$(FOREIGN)/python: requirements-contracts.txt
	@rm -rf $(FOREIGN) && mkdir -p $(FOREIGN)
	@echo 'test-contracts: installing a Salesforce that others wrote, and node'
	@$(BIN)/python -m venv $(FOREIGN)/venv
	@{ $(uv-is-here) && $(uv) pip install --python $(FOREIGN)/venv/bin/python $(locked) --requirement $<; } || \
	    $(FOREIGN)/venv/bin/python -m pip install $(locked) --requirement $<
	@touch $@

$(FOREIGN)/node: $(FOREIGN)/python tests/contracts/package-lock.json
	@echo 'test-contracts: installing prism'
	@cp tests/contracts/package.json tests/contracts/package-lock.json $(FOREIGN)
	@PATH="$(CURDIR)/$(FOREIGN)/venv/bin:$$PATH" npm ci --prefix $(FOREIGN) --ignore-scripts --no-audit --no-fund \
	    --loglevel=error >/dev/null
	@touch $@

# The peers that we are measured against bring versions of their own.
$(PEERS)/ready: requirements-bench.txt
	@rm -rf $(PEERS) && $(BIN)/python -m venv $(PEERS)
	@echo 'bench-load: installing dlt'
	@{ $(uv-is-here) && $(uv) pip install --python $(PEERS)/bin/python $(locked) --requirement $<; } || \
	    $(PEERS)/bin/python -m pip install $(locked) --requirement $<
	@touch $@

# Cosmos runs within Airflow, and each Airflow that finds it loads it: it has one of its own.
$(COSMOS)/ready: requirements-fleet.txt
	@rm -rf $(COSMOS) && $(BIN)/python -m venv $(COSMOS)
	@echo 'bench-fleet: installing Airflow with Cosmos'
	@{ $(uv-is-here) && $(uv) pip install --python $(COSMOS)/bin/python $(locked) --requirement $<; } || \
	    $(COSMOS)/bin/python -m pip install $(locked) --requirement $<
	@touch $@

# Celery and its provider are for those who have workers: on one machine nobody is to load them.
$(WORKERS)/ready: requirements-celery.txt
	@rm -rf $(WORKERS) && $(BIN)/python -m venv $(WORKERS)
	@echo 'test-celery: installing Airflow with Celery'
	@{ $(uv-is-here) && $(uv) pip install --python $(WORKERS)/bin/python $(locked) --requirement $<; } || \
	    $(WORKERS)/bin/python -m pip install $(locked) --requirement $<
	@touch $@

# A package that was being installed when someone pulled the plug looks whole to uv and pip ever after:
# where an installation left its mark `unfinished`, .venv is made anew.
define install
@if [ -e $(VENV)/unfinished ] || ! $(BIN)/python -c '' 2>/dev/null; then $(python-will-do) && $(make-venv); fi
@touch $(VENV)/unfinished
@{ { $(uv-is-here) || $(fetch-uv); } && $(with-uv); } || $(with-pip)
@echo 'setup: installing the project itself, in place'
@$(pip) install --quiet --no-deps --no-build-isolation --editable .
@rm $(VENV)/unfinished
endef

python-will-do = $(call or-refuse,command -v $(PYTHON) >/dev/null,$(NO_PYTHON)) && \
    $(call or-refuse,$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3$(,) 11))',$(OLD_PYTHON)) && \
    $(call or-refuse,$(PYTHON) -c 'import ensurepip' 2>/dev/null,$(NO_ENSUREPIP))
NO_PYTHON = GTM Clarity needs Python 3.11 or later: install it, or say where it is: make setup PYTHON=/path/to/python3
OLD_PYTHON = GTM Clarity needs Python 3.11 or later and found $$($(PYTHON) --version): say where a later one is: make setup PYTHON=/path/to/python3
NO_ENSUREPIP = $(PYTHON) cannot make a virtual environment, its ensurepip is missing: on Debian and Ubuntu, apt install python3-venv
NO_REDIS = test-celery needs a Redis to run workers with: on Debian and Ubuntu, apt install redis-server
or-refuse = { $(1) || { echo "$(2)" >&2; exit 1; }; }
, := ,

make-venv = echo "setup: making $(VENV) with $$($(PYTHON) --version)" && \
    rm -rf $(VENV) && mkdir $(VENV) && touch $(VENV)/unfinished && $(PYTHON) -m venv $(VENV)

uv = $$(command -v uv || echo $(BIN)/uv)
uv-is-here = $(uv) --version >/dev/null 2>&1
fetch-uv = { echo 'setup: fetching uv, which is quicker than pip' && \
    $(BIN)/python -c 'import re; print(re.search(r"(?ms)^uv==.*?[^\\]$$", open("requirements.txt").read())[0])' >$(VENV)/uv.txt && \
    $(pip) install $(locked) --requirement $(VENV)/uv.txt; }
with-uv = { echo 'setup: installing $(1) with uv; the first time it takes a minute or so' && \
    $(uv) pip install --python $(BIN)/python $(locked) --requirement $(1); }
with-pip = { echo 'setup: installing $(1) with pip; it takes some minutes' && \
    $(pip) install --compile $(locked) --requirement $(1); }
pip = $(BIN)/python -m pip
# The lock is complete. Where pip looks for dependencies all the same, an older one trips over their extras.
locked = --quiet --require-hashes --no-deps
