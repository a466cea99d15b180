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

.tools/ansible/ready: $(UV) scripts/ansible requirements/ansible.txt
	scripts/ansible $(PYTHON)

.PHONY: ansible
ansible: .tools/ansible/ready ## Ansible as it is locked, in .tools/ansible

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

.PHONY: release
release: base ## build the images of this commit as a version, and tag it: VERSION=0.2.0
	@scripts/release "$(VERSION)"

.PHONY: up
up: images ## a simulated fleet of three machines: asked one question, then left running
	@scripts/up

.PHONY: down
down: ## end the simulated fleet and remove what it left
	docker compose --file compose/compose.yaml down --volumes --remove-orphans

.PHONY: secrets
secrets: .tools/ansible/ready ## every secret that the fleet lacks, into its vault (ENV=fleet: ansible/inventories/fleet)
	@scripts/secrets

.PHONY: deploy
deploy: .tools/ansible/ready ## a working fleet of the machines in the inventory (ENV= VERSION= LIMIT=nas TAGS=proxy CHECK=1)
	@scripts/play site.yml $(if $(VERSION),--extra-vars version=$(VERSION))

.PHONY: upgrade
upgrade: .tools/ansible/ready ## another version, one machine after another (VERSION=0.2.0)
	@scripts/play upgrade.yml $(if $(VERSION),--extra-vars version=$(VERSION))

.PHONY: rollback
rollback: .tools/ansible/ready ## what was proved before, on all machines or one (LIMIT=nas)
	@scripts/play rollback.yml

.PHONY: rotate
rotate: .tools/ansible/ready ## new secrets in place of the old ones (ONLY=basic, bearer or consumer; LIMIT=nas)
	@scripts/rotate $(ONLY)

.PHONY: verify
verify: .tools/ansible/ready ## whether the fleet is as it should be
	@scripts/play verify.yml

.PHONY: status
status: .tools/ansible/ready ## what runs where in which version
	@scripts/play status.yml

.PHONY: remove
remove: .tools/ansible/ready ## machines leave the fleet (LIMIT=nas)
	@leaving=$${LIMIT:?names the machines that leave} && unset LIMIT && scripts/play remove.yml --extra-vars "leaving=$$leaving"

.PHONY: backup
backup: .tools/ansible/ready ## a copy of keys, turns and audit log (TO=folder)
	@scripts/play backup.yml --extra-vars backup_folder=$(abspath $(or $(TO),backups))

.PHONY: restore
restore: .tools/ansible/ready ## the coordinator with the content of a backup (FROM=file)
	@scripts/play restore.yml --extra-vars backup_file=$(abspath $(or $(FROM),$(error FROM=file names the backup)))

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
lint: lint-python lint-ansible ## style and types

.PHONY: lint-python
lint-python: .venv/ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy relay service proxy coordinator tests bench

.PHONY: lint-ansible
lint-ansible: .venv/ready .tools/ansible/ready
	cd ansible && PATH=$(abspath .tools/ansible/bin):$$PATH ansible-lint --offline --profile production
	$(RUN)/mypy --config-file= --strict --ignore-missing-imports ansible/vault.py ansible/library ansible/roles/agent/library

.PHONY: test
test: lint .tools/ansible/ready images chromium ## every check but those of test-deploy
	$(RUN)/pytest -m "not deploy" --cov --cov-report term --cov-fail-under 90

.PHONY: test-fast
test-fast: .venv/ready ## what needs no engine, no real agent, no smuggler and no faults: about three minutes on two cores
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint-python loopback

.PHONY: loopback
loopback: .venv/ready
	$(RUN)/pytest --numprocesses auto \
	  $(addprefix --ignore tests/,ansible containers real_agent browser crash faults proxy/smuggling)

LONGEST := $(addprefix tests/ansible/test_,interrupted.py procedures.py real_under_load.py deploy.py faults.py)
.PHONY: test-deploy
test-deploy: .venv/ready .tools/ansible/ready images ## the playbooks against simulated machines, with real agents, faults and load
	$(RUN)/pytest -m deploy -rP --durations 0 --numprocesses 2 --dist loadfile --no-loadscope-reorder \
	  $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/ansible/test_*.py))

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
