import base64
import math
import re
from pathlib import Path

from data_store.names import AssetName
from data_store.records import Metric, RunInput
from tasks.artifacts import plot, report
from tasks.execute import Outcome
from tests.tasks.bench import call_of
from tests.tasks.little_steps import WordConfig, write_word


def test_a_report_shows_figures_what_was_read_and_what_was_made() -> None:
    call = call_of(write_word, WordConfig(ledger=Path("/ledger")), name="word")
    outcome = Outcome(
        "run-2" * 8,
        False,
        {"text": (AssetName.parse("model/word@V1"), "b" * 64)},
        (RunInput("texts", AssetName.parse("model/old@V0"), "a" * 64, "run-1" * 8),),
        {"letters": 5.0},
        1.0,
    )
    text = report(call, outcome)
    assert "| letters | 5 |" in text
    assert "| read | texts | `model/old@V0` | `aaaaaaaaaaaa` | `run-1run-1ru` |" in text
    assert "| made | text | `model/word@V1` | `bbbbbbbbbbbb` | `run-2run-2ru` |" in text
    assert "`halter lineage model/word@V1`" in text


def test_curves_are_one_picture_that_names_each_metric_with_its_extremes_and_steps() -> None:
    curves = [Metric("loss", 3.0 - step, step) for step in (1, 2, 4)] + [Metric("reward", 0.5, 1)]
    start, _, content = plot(curves).partition(",")
    assert start == "data:image/svg+xml;base64"
    picture = base64.b64decode(content).decode()
    assert "<svg" in picture
    assert re.findall("<!-- (.*?) -->", picture) == ["loss", "-1", "2", "1", "4", "reward", "0.5", "1"]
    assert picture.count('<g id="line2d_') == 2


def test_a_value_that_is_no_number_does_not_end_the_step() -> None:
    curves = [Metric("loss", value, step) for step, value in enumerate((1.0, math.nan, math.inf), 1)]
    assert plot(curves).startswith("data:image/svg+xml;base64,")
