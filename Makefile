# Every target is one command that you could type; what needs an `if` is a script.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := .tools/uv/bin/uv
RUN := .venv/bin

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(UV): scripts/uv
	scripts/uv $(PYTHON)

.venv/ready: $(UV) requirements/dev.txt requirements/build.txt */pyproject.toml tests/mock_agent/pyproject.toml
	scripts/venv $(PYTHON)

.PHONY: venv
venv: .venv/ready ## the development environment in .venv

.PHONY: lock
lock: $(UV) ## renew the hash-pinned locks in requirements/
	scripts/lock

.PHONY: schema
schema: .venv/ready ## renew the published schema of the peers file
	$(RUN)/switchboard schema > docs/peers.schema.json

.PHONY: engine
engine: ## a container engine that answers: the one there is, or the distribution's
	@scripts/engine

.PHONY: chromium
chromium: ## the browser that tests drive: the one there is, or the distribution's
	@scripts/chromium

.PHONY: base
base: engine ## the image that all of ours are built on
	@scripts/base

.PHONY: images
images: base ## all images, into the local engine
	@images/build

.PHONY: up
up: images ## a simulated fleet of three machines: asked one question, then left running
	@scripts/up

.PHONY: down
down: ## end the simulated fleet and remove what it left
	docker compose --file compose/compose.yaml down --volumes --remove-orphans

.PHONY: bench
bench: .venv/ready ## proxy and coordinator side by side with others, and what ours weigh (QUICK=1: at most 90 s)
	@bench/packages
	@bench/environment
	$(RUN)/python -m bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))
	$(if $(QUICK),,$(RUN)/python -m bench.page)

.PHONY: demo
demo: .venv/ready ## the same fleet as plain processes with mock agents, until Ctrl-C; needs no engine
	PYTHONPATH=tests $(RUN)/python -m fleet

.PHONY: lint
lint: .venv/ready ## style and types
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy relay service proxy coordinator tests bench

.PHONY: test
test: lint images chromium ## every check there is
	$(RUN)/pytest --cov --cov-report term --cov-fail-under 90

.PHONY: test-fast
test-fast: .venv/ready ## what needs no engine, no real agent, no smuggler and no faults, in at most 60 s
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint loopback

.PHONY: loopback
loopback: .venv/ready
	$(RUN)/pytest --numprocesses auto --cov --cov-report term --cov-fail-under 90 \
	  $(addprefix --ignore tests/,containers real_agent browser crash faults proxy/smuggling)

.PHONY: test-real
test-real: .venv/ready chromium ## the tests against real hermes-agents alone, their dashboard in a browser too
	$(RUN)/pytest tests/real_agent tests/browser

.PHONY: fuzz
fuzz: .venv/ready ## requests to smuggle, mutated by chance, through the proxy (N=1000000; SEED=… repeats a run)
	PYTHONPATH=tests:tests/proxy $(RUN)/python -m smuggling $(or $(N),100000) $(SEED) $(if $(FIRST),--first $(FIRST))

.PHONY: faults
faults: .venv/ready ## schedules of faults by chance, against a real coordinator (N=10000; N=1 SEED=… repeats one)
	PYTHONPATH=tests $(RUN)/python -m faults $(or $(N),1000) $(SEED)

.PHONY: test-long
test-long: .venv/ready ## the properties with fifty times the examples, and a million requests to smuggle: about half an hour
	$(RUN)/pytest --hypothesis-profile long tests/relay tests/proxy tests/coordinator tests/crash
	@$(MAKE) --no-print-directory fuzz N=1000000

.PHONY: clean
clean: ## remove what make brought: the environment, the tools, the caches
	rm -rf .venv .tools .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*
