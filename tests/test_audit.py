"""The audit of the installed packages where there is no network: it must say so, and must not stop a change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def audit(venv: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE, "NO_PROXY": "", "no_proxy": ""}
    return subprocess.run([ROOT / ".ci" / "audit", venv], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_without_a_network_the_audit_says_that_it_did_not_happen_and_lets_the_rest_go_on(tmp_path: Path) -> None:
    done = audit(sys.prefix, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOT AUDITED" in done.stderr
    assert not (tmp_path / "build" / "audit.json").exists()


def test_an_audit_that_fails_for_another_reason_is_not_taken_for_one_without_network(tmp_path: Path) -> None:
    done = audit(str(tmp_path / "no-such-venv"), tmp_path)
    assert done.returncode == 2
    assert "NOT AUDITED" not in done.stderr


@pytest.mark.parametrize("target", ["audit", "sbom"])
def test_it_is_part_of_what_must_hold_before_a_change_lands(target: str) -> None:
    assert f"make {target}" in (ROOT / ".ci" / "run").read_text()
