"""Where the recipe or a step is started in the browser, every file that would stop it is named, too."""

from pathlib import Path

import pytest

from tests.flows.commands.test_serve import serving
from tests.flows.recipe_runs import Home
from tests.flows.test_cli import document, files_config, pair


@pytest.mark.slow
@pytest.mark.conformance(
    "a run that is started in the browser names one bad file at a time", equation="flows.data_look:look_into_files"
)
def test_a_served_run_names_every_bad_file_and_has_begun_no_step(tmp_path: Path) -> None:
    config = files_config(
        tmp_path,
        documents=[document(1), '{"text": "brok'],
        helpfulness_preferences=[pair(0), pair(1, rating="fine")],
        safety_preferences=[pair(2), {"note": "?"}],
    )
    home = Home(tmp_path / "home", name="files")
    with serving(home, config) as served:
        for deployment in ("recipe/recipe", "rerun/step-import-data"):
            over = served.end(served.start(deployment))
            assert over["state_type"] == "FAILED"
            said = over["state"]["message"]
            for file in ("documents", "helpfulness_preferences", "safety_preferences"):
                assert f"data.{file}: " in said, deployment
                assert f"{file}.jsonl line 2" in said, deployment
        assert home.runs() == []
