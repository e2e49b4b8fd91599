# Each target does its own set-up: a virtual environment with the tested versions.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.installed

.PHONY: demo smoke test test-slow lint conformance reference audit sbom clean

demo: $(READY)  ## the whole recipe on the little world, V1 to V5
	$(VENV)/bin/halter run configs/demo.yaml

smoke: $(READY)  ## the same in 80 seconds: two iterations
	$(VENV)/bin/halter run configs/smoke.yaml

PYTEST = $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY)  ## every test that is quick
	$(PYTEST)

test-slow: $(READY)  ## those that take half a minute or more each: whole runs that are killed, cancelled, served, judged
	$(PYTEST) -m slow

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

# In an environment of its own: what it brings would take part in every start of Prefect, and cost 1.5 s of it.
SBOM := build/sbom-venv

sbom: $(READY) $(SBOM)/.installed  ## write build/sbom.json: what is installed, as a CycloneDX bill of materials
	$(SBOM)/bin/cyclonedx-py environment $(VENV)/bin/python --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

$(SBOM)/.installed: constraints.txt
	$(PYTHON) -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt cyclonedx-bom
	touch $(SBOM)/.installed

clean:
	rm -rf $(VENV) halter-store build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(VENV)/bin/python -m flows.prefect_database
	touch $(READY)
