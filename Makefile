# Each target does its own set-up: a virtual environment with the tested versions.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.installed

.PHONY: demo smoke test lint conformance reference clean

demo: $(READY)  ## the whole recipe on the little world, V1 to V5
	$(VENV)/bin/halter run configs/demo.yaml

smoke: $(READY)  ## the same in two minutes: two iterations
	$(VENV)/bin/halter run configs/smoke.yaml

test: $(READY)
	$(VENV)/bin/python -m pytest

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

conformance: $(READY)  ## write docs/conformance.md from the tests
	$(VENV)/bin/python -m tests.conformance --write

reference: $(READY)  ## write docs/reference-config.md and docs/reference-cli.md from the code
	$(VENV)/bin/python -m tests.reference --write

clean:
	rm -rf $(VENV) halter-store

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
