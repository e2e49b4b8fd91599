"""What the commands say of a run whose small files a fault of the disk cut short."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.recipe.config import load_config
from flows.session import CONFIG_FILE, CURRENT_FILE, home, recall, remember, store_root

SMOKE = Path(__file__).resolve().parents[2] / "configs" / "smoke.yaml"


@pytest.fixture
def smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a run of which only the config is known."""
    monkeypatch.setenv("HALTER_HOME", str(tmp_path / "home"))
    remember(load_config(SMOKE))
    return store_root("smoke")


@pytest.mark.parametrize("command", ["status", "stale", "query", "verify", "withdrawals", "gc"])
@pytest.mark.parametrize("place", [CONFIG_FILE, f"../{CURRENT_FILE}", "halter-store.json"])
def test_a_file_that_is_cut_short_is_named_and_no_traceback_is_shown(smoke: Path, place: str, command: str) -> None:
    file = (smoke / place).resolve()
    file.write_bytes(b"" if file.name == CURRENT_FILE else file.read_bytes()[:-4])
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 1
    assert f"failed: {file} is cut short or damaged" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b"null", b"{" * 100_000])
def test_remembering_the_config_again_puts_it_right_as_the_message_says(smoke: Path, content: bytes) -> None:
    config = recall("smoke")
    (smoke / CONFIG_FILE).write_bytes(content)
    result = CliRunner().invoke(app, ["status", "--run", "smoke"])
    assert "give the run's YAML file to `halter run CONFIG` again" in result.stderr.replace("\n", " ")
    remember(load_config(SMOKE))
    assert recall("smoke") == config


def test_a_name_of_the_last_run_that_leads_elsewhere_is_refused(smoke: Path) -> None:
    (home() / CURRENT_FILE).write_text("../beside")
    assert CliRunner().invoke(app, ["status"]).exit_code == 1
    assert not (home().parent / "beside").exists()
