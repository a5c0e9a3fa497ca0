# The front door. Every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
#: installed extras leave a stamp, so that a second run costs nothing
SERVE := $(VENV)/.serve
DEV := $(VENV)/.dev

.DEFAULT_GOAL := help
.PHONY: help serve demo train mlflow retrain test chaos fuzz lint format ckpt lock clean docs test-rabbitmq test-postgres pictures images-check promtool data deploy
.PHONY: hashes audit bench retrain-proposal secrets

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(SERVE) ## set up and run everything on this machine: api, worker, Redis, Flower
	@exec $(BIN)/scratch serve

demo: $(SERVE) ## send sample photos to the running service
	@exec $(BIN)/scratch submit docs/samples

train: $(DEV) ## DATA=folder [NAME=name]: learn from photos in scratches/ and no_scratches/
	@exec $(BIN)/scratch train "$(DATA)" --name "$(NAME)"

test: $(DEV) ## set up and run the whole test suite
	$(BIN)/pytest

fuzz: $(DEV) ## look for files that no decoder should see, until stopped or 100000 of a kind
	$(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz --timeout=0

chaos: $(DEV) ## break things at random for SECONDS=300 with SEED=1, and check the account
	CHAOS_SECONDS=$(or $(SECONDS),300) CHAOS_SEED=$(or $(SEED),1) $(BIN)/pytest -s tests/chaos

lint: $(DEV) ## style, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --persona auditor .github
	$(BIN)/kubernetes-validate --strict --quiet --no-warn deploy/kubernetes/*.yml

bench: $(DEV) ## measure speed against other servers and the limit (needs wrk; takes long)
	for each in throughput latency memory overload kernels queue_rate; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.$$each || exit 1; done

format: $(DEV) ## rewrite the code in our style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

ckpt: $(DEV) ## make the bundled checkpoint again from params.yaml, as far as anything changed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	$(BIN)/python -m training.tracking

mlflow: $(DEV) ## look at training runs and models: http://127.0.0.1:5000
	@$(BIN)/scratch mlflow

retrain: $(DEV) ## train a candidate ([DATA=folder] [PULL=1] [IF_DRIFT=1]) and compare it with the champion
	@exec $(BIN)/scratch retrain $(if $(DATA),--data "$(DATA)") $(if $(PULL),--pull) $(if $(IF_DRIFT),--if-drift)

retrain-proposal: ## in its workflow: open a pull request with a candidate that is better
	@deploy/retrain-proposal.sh

test-rabbitmq: $(DEV) ## the test with RabbitMQ as broker (installs it; root on Debian)
	test -e /usr/lib/rabbitmq/bin/rabbitmq-server || tests/integration/install-rabbitmq.sh
	$(BIN)/pytest -m rabbitmq tests/integration/test_rabbitmq.py

test-postgres: $(DEV) ## the history on Postgres (installs it; root on Debian)
	ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 || apt-get install -y --no-install-recommends postgresql
	$(BIN)/pytest -m postgres

docs: $(DEV) ## write docs/configuration.md anew from the settings
	$(BIN)/python -m docs.generate > docs/configuration.md

secrets: ## passwords of your own for docker-compose.yml, in .secrets/
	@deploy/secrets.sh

pictures: $(DEV) ## make the pictures of the page in docs/ anew (needs Chromium)
	$(BIN)/python -m tests.e2e.pictures

images-check: $(SERVE) ## build both images without Docker and run them (root on Debian)
	PYTHON=$(BIN)/python deploy/images-check.sh

promtool: ## check alert rules with Debian's prometheus
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/alerts_test.yml

data: $(DEV) ## fetch data and model from the DVC remote, such as Google Drive
	$(PIP) --require-hashes --requirement locks/data.txt
	$(BIN)/dvc pull

deploy: ## call the deploy hooks in RENDER_DEPLOY_HOOKS, one URL a line
	@deploy/render-hooks.sh

lock: ## resolve all versions anew from pyproject.toml
	rm -f requirements.lock locks/*.txt && touch requirements.lock
	$(MAKE) hashes
	sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' locks/dev.txt locks/data.txt | sort -u > requirements.lock

hashes: $(BIN)/python ## write locks/ for the versions in requirements.lock
	$(PIP) 'uv==0.13.9'
	$(call hashed,serve,pyproject.toml locks/build.in --extra serve)
	$(call hashed,dev,pyproject.toml locks/build.in --extra dev)
	$(call hashed,data,pyproject.toml --extra gdrive --no-strip-extras)
	$(call hashed,image-build,locks/build.in)
	$(call hashed,image-api,pyproject.toml --extra api --extra flower --extra otel --extra postgres)
	$(call hashed,image-worker,pyproject.toml --extra worker --extra otel --extra postgres)
	$(call hashed,image-worker-gpu,pyproject.toml --extra worker --extra otel --extra postgres --extra torch)

# $(call hashed,NAME,WHAT IS ASKED FOR)
hashed = $(BIN)/uv pip compile --quiet $(2) --constraint requirements.lock --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header --output-file locks/$(1).txt

audit: $(DEV) ## look for known vulnerabilities in what is locked; asks a service on the internet
	$(PIP) 'pip-audit==2.10.1'
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement locks/dev.txt

clean: ## remove the virtual environment and everything that was made
	rm -rf $(VENV) .data .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(SERVE): $(BIN)/python pyproject.toml locks/serve.txt
	@echo "installing what serving needs into $(VENV)"
	$(PIP) --require-hashes --requirement locks/serve.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(BIN)/python pyproject.toml locks/dev.txt
	@echo "installing what development needs into $(VENV)"
	$(PIP) --require-hashes --requirement locks/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(SERVE)
