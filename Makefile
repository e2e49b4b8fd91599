# Each target does its own set-up: a virtual environment with the tested versions.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.installed

.PHONY: demo smoke test lint conformance reference audit sbom clean

demo: $(READY)  ## the whole recipe on the little world, V1 to V5
	$(VENV)/bin/halter run configs/demo.yaml

smoke: $(READY)  ## the same in two minutes: two iterations
	$(VENV)/bin/halter run configs/smoke.yaml

test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

conformance: $(READY)  ## write docs/conformance.md from the tests
	$(VENV)/bin/python -m tests.conformance --write

reference: $(READY)  ## write docs/reference-config.md and docs/reference-cli.md from the code
	$(VENV)/bin/python -m tests.reference --write

audit: $(READY)  ## look the installed packages up in a database of known vulnerabilities; needs the network
	.ci/audit $(VENV)

sbom: $(READY)  ## write build/sbom.json: what is installed, as a CycloneDX bill of materials
	mkdir -p build
	$(VENV)/bin/cyclonedx-py environment $(VENV)/bin/python --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

clean:
	rm -rf $(VENV) halter-store build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(VENV)/bin/python -m flows.prefect_database
	touch $(READY)
