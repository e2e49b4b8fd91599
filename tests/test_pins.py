"""`constraints.txt`: every machine can install what it names, and it names what is installed."""

import sys
import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.pins import CONSTRAINTS, ROOT, differences, faults_of, in_venv, requirements


def test_every_pin_is_an_exact_version_that_the_public_index_holds() -> None:
    assert faults_of(requirements(CONSTRAINTS.read_text())) == []


def test_what_checks_the_manifests_is_pinned_too() -> None:
    assert faults_of(requirements((ROOT / "constraints-manifests.txt").read_text())) == []


def test_what_the_harness_brings_is_pinned_too_and_nowhere_otherwise() -> None:
    pins = requirements((ROOT / "constraints-eval.txt").read_text())
    assert faults_of(pins) == []
    others = {pin.name: str(pin.specifier) for pin in requirements(CONSTRAINTS.read_text())}
    assert all(others.get(pin.name, str(pin.specifier)) == str(pin.specifier) for pin in pins)
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["eval"]
    (version,) = (str(pin.specifier).removeprefix("==") for pin in pins if pin.name == "lm_eval")
    assert [Requirement(one).specifier.contains(version) for one in asked] == [True]


def test_the_project_asks_for_nothing_by_address_or_local_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(text for texts in project["project"]["optional-dependencies"].values() for text in texts),
    ]
    assert len(asked) > 30
    for one in map(Requirement, asked):
        assert one.url is None, one
        assert not any("+" in each.version for each in one.specifier), one


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("torch==2.13.0+cpu", "torch==2.13.0+cpu has a local version label"),
        ("torch @ https://example.com/torch-2.13.0-py3-none-any.whl", "torch is pinned by an address"),
        ("torch>=2.13", "torch>=2.13 is no exact version"),
        ("torch==2.*", "torch==2.* is no exact version"),
        ("torch", "torch is no exact version"),
        ("torch==2.13.0,!=2.12", "is no exact version"),
    ],
)
def test_a_pin_that_not_every_machine_can_install_is_refused(line: str, said: str) -> None:
    (fault,) = faults_of(requirements(f"numpy==2.4.6  # a sound one\n{line}\n"))
    assert said in fault


class Installed(Distribution):
    """A package as its metadata tell of it."""

    def __init__(self, name: str, version: str, *requires: str) -> None:
        wants = "".join(f"Requires-Dist: {each}\n" for each in requires)
        self.text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wants}"

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


PREFECT = Installed("prefect", "3.9.1", 'pendulum>=3; python_version < "3.13"', 'redis; extra == "redis"')
TORCH = Installed("torch", "2.13.0+cpu", "setuptools>=77")


def test_the_build_of_torch_for_a_cpu_and_what_another_python_wants_differ_in_nothing() -> None:
    pins = requirements("prefect==3.9.1\ntorch==2.13.0\nsetuptools==84.2.1\npendulum==3.3.0\nnvidia-cublas==13.1.1.3")
    main = [PREFECT, TORCH, Installed("setuptools", "84.2.1"), Installed("pip", "23.2"), Installed("Halter", "0.1.0")]
    seeded = [Installed("setuptools", "65.5.0"), Installed("pip", "23.2")]
    assert differences(pins, [main, seeded]) == []


def test_a_missing_pin_a_needless_one_and_another_version_are_named() -> None:
    pins = requirements("prefect==3.9.0\nredis==8.1.0\n")
    assert differences(pins, [[PREFECT], [TORCH, Installed("setuptools", "65.5.0")]]) == [
        "prefect 3.9.1 is installed, prefect==3.9.0 is pinned",
        "setuptools 65.5.0 is installed and not pinned: add setuptools==65.5.0",
        "torch 2.13.0+cpu is installed and not pinned: add torch==2.13.0",
        "redis is pinned and not installed: take it out",
    ]


def test_the_packages_of_a_virtual_environment_are_read_from_it() -> None:
    """The one that runs this test, whatever else lies on its path."""
    found = {each.metadata["Name"].lower() for each in in_venv(Path(sys.prefix))}
    assert {"prefect", "torch", "pytest"} <= found
