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
