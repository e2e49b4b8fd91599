"""The files for Docker and Kubernetes, as far as they can be checked without either: they parse, every command, option
and variable in them exists, and nothing is open that should not be."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from prefect.settings import Settings

from flows.cli import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CLUSTER = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "postgres"}
OF_OTHERS = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "PGDATA"}


def pods() -> Iterator[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
    """(pod, its containers, those of the start among them) of the cluster."""
    for found in CLUSTER:
        if found["kind"] in ("Deployment", "StatefulSet"):
            pod = found["spec"]["template"]["spec"]
            yield pod, [*pod.get("initContainers", []), *pod["containers"]]


def words_of(command: list[str]) -> list[list[str]]:
    """The commands in a container's command, those in a shell script one by one."""
    if command[:2] == ["sh", "-ec"]:
        return [line.split() for line in command[2].splitlines()]
    return [command]


COMMANDS = [
    *(words for service in OURS.values() for words in words_of(service["command"])),
    *(words for _, found in pods() for each in found if "command" in each for words in words_of(each["command"])),
]
VARIABLES = {
    *(name for service in COMPOSE["services"].values() for name in service.get("environment", {})),
    *(each["name"] for _, found in pods() for container in found for each in container.get("env", [])),
    *re.findall(r"\b([A-Z_]{6,})=", DOCKERFILE),
}


@lru_cache
def prefect_help(command: tuple[str, ...]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *command, "--help"], capture_output=True, text=True, env={"COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_command_of_halter_exists_with_its_options() -> None:
    found = [words for words in COMMANDS if words[0] == "halter"]
    assert len(found) >= 2
    for words in found:
        command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", sorted({tuple(words) for words in COMMANDS if words[0] == "prefect"}), ids=lambda words: " ".join(words)
)
def test_each_command_of_prefect_exists_with_its_options(words: tuple[str, ...]) -> None:
    rest = [word for word in words[1:] if word != "--no-prompt"]
    verbs = rest[: 1 if rest[0] == "deploy" else 2]
    told = prefect_help(tuple(verbs))
    for option in (word for word in rest if word.startswith("--")):
        assert re.search(rf"{option}\b", told), option


def test_all_commands_are_those_of_halter_and_prefect() -> None:
    assert {words[0] for words in COMMANDS} == {"halter", "prefect"}


def test_each_variable_is_a_setting_of_prefect_or_read_by_us() -> None:
    known = set(re.findall(r'"(PREFECT_\w+)"', json.dumps(Settings.model_json_schema())))
    ours = (ROOT / "flows" / "session.py").read_text()
    for name in VARIABLES - OF_OTHERS:
        if name.startswith("PREFECT_"):
            assert name in known, name
        elif name.startswith("HALTER_"):
            assert name in ours, name
        else:
            assert name in {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "DO_NOT_TRACK", "PIP_EXTRA_INDEX_URL"}, name
    assert {"PREFECT_API_URL", "PREFECT_SERVER_API_AUTH_STRING", "HALTER_HOME"} <= VARIABLES


def test_what_is_published_is_published_on_loopback_alone() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:4200:4200", "127.0.0.1:4300:4300"]
    assert COMPOSE["networks"]["database"]["internal"] is True
    kinds = {each["kind"] for each in CLUSTER}
    assert "Ingress" not in kinds
    assert all(each["spec"].get("type", "ClusterIP") == "ClusterIP" for each in CLUSTER if each["kind"] == "Service")
    closed = {each["metadata"]["name"] for each in CLUSTER if each["kind"] == "NetworkPolicy"}
    assert closed == {"postgres", "server"}


def test_no_container_of_ours_runs_as_root_or_writes_to_its_image() -> None:
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, flags=re.MULTILINE) == ["10001"]
    for name, service in OURS.items():
        assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001", True, ["ALL"]), name
    for pod, containers in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for each in containers:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False, each["name"]
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}, each["name"]


def test_every_service_that_stays_is_watched() -> None:
    stays = {name: service for name, service in COMPOSE["services"].items() if service["restart"] != "no"}
    assert [name for name, service in stays.items() if "healthcheck" not in service] == []


def test_the_store_and_the_database_outlive_their_containers_and_the_store_is_in_one_place() -> None:
    named = {volume.split(":")[0] for s in COMPOSE["services"].values() for volume in s.get("volumes", [])}
    assert named == set(COMPOSE["volumes"]) == {"postgres", "steps", "store"}
    holder = next(each for each in CLUSTER if each["metadata"]["name"] == "halter" and each["kind"] == "StatefulSet")
    assert holder["spec"]["replicas"] == 1
    assert holder["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_what_does_single_steps_has_a_gpu_and_the_buckets_variables_and_neither_the_store_nor_the_database() -> None:
    (steps,) = (each for each in CLUSTER if each["metadata"]["name"] == "steps" and each["kind"] == "StatefulSet")
    (worker,) = steps["spec"]["template"]["spec"]["containers"]
    assert worker["command"][:5] == ["prefect", "worker", "start", "--pool", "gpu"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["requests"]["nvidia.com/gpu"] == 1
    assert [each["metadata"]["name"] for each in steps["spec"]["volumeClaimTemplates"]] == ["copies"]
    assert worker["envFrom"] == [{"secretRef": {"name": "store", "optional": True}}]
    assert "POSTGRES_PASSWORD" not in {each["name"] for each in worker["env"]}
    (server,) = (each for each in CLUSTER if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "server")
    heard = [who["podSelector"]["matchLabels"]["app"] for who in server["spec"]["ingress"][0]["from"]]
    assert heard == ["halter", "steps"]


def test_no_secret_and_no_floating_image_stands_in_a_file() -> None:
    for name in ("compose.yaml", "kubernetes.yaml", "Dockerfile"):
        text = (FOLDER / name).read_text()
        assert ":latest" not in text
        for line in text.splitlines():
            if re.search(r"PASSWORD|AUTH_STRING", line) and not line.startswith("#"):
                assert re.search(r"\$\{\w+:\?|secretKeyRef|\$\(POSTGRES_PASSWORD\)|- name: ", line), f"{name}: {line}"
    (database,) = (each for pod, found in pods() for each in found if each["name"] == "server")
    assert [each["name"] for each in database["env"]].index("POSTGRES_PASSWORD") == 0, "before what is made of it"


@pytest.mark.slow
def test_the_image_holds_what_the_wheel_and_the_commands_need() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, flags=re.MULTILINE))
    packages = re.search(
        r"\[tool.hatch.build.targets.wheel\]\npackages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text()
    )
    assert packages is not None
    assert copied == {*re.findall(r'"(\w+)"', packages[1]), "configs"}
