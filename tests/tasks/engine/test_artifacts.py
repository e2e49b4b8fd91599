from pathlib import Path

from data_store.estimate import Estimate
from data_store.names import AssetName
from data_store.records import RunInput
from tasks.engine.artifacts import report, written
from tasks.engine.execute import Outcome
from tests.tasks.bench import call_of
from tests.tasks.little_steps import WordConfig, write_word


def test_a_report_shows_figures_what_was_read_and_what_was_made() -> None:
    call = call_of(write_word, WordConfig(ledger=Path("/ledger")), name="word")
    outcome = Outcome(
        "run-2" * 8,
        False,
        {"text": (AssetName.parse("model/word@V1"), "b" * 64)},
        (RunInput("texts", AssetName.parse("model/old@V0"), "a" * 64, "run-1" * 8),),
        {"letters": 43620.0, "share": 0.123456},
        1.0,
    )
    text = report(call, outcome)
    assert "| letters | 43,620 |" in text
    assert "| share | 0.1235 |" in text
    assert "| read | texts | `model/old@V0` | `aaaaaaaaaaaa` | `run-1run-1ru` |" in text
    assert "| made | text | `model/word@V1` | `bbbbbbbbbbbb` | `run-2run-2ru` |" in text
    assert "`halter lineage model/word@V1`" in text


def test_a_report_says_of_how_many_a_figure_is_its_interval_and_who_judged() -> None:
    call = call_of(write_word, WordConfig(ledger=Path("/ledger")), name="word")
    outcome = Outcome(
        "run",
        False,
        {},
        (),
        {"vowels": 0.4, "letters": 5.0, "kl": 2.5},
        1.0,
        {"vowels": Estimate(0.4, 5, 0.12, 0.77, "a `reader` | <b>"), "kl": Estimate(2.5, 1200)},
    )
    text = report(call, outcome)
    assert "| vowels | 0.4 | 5 few | .12–.77 | `a 'reader' / <b>` |" in text
    assert "| letters | 5 |  |  |  |" in text
    assert "| kl | 2.5 | 1,200 |  |  |" in text


def test_the_numbers_in_a_table_are_written_as_in_a_report_and_texts_stay_what_they_are() -> None:
    assert [written(value) for value in (0.333333333, 12000, True, None, "0.1000")] == [
        "0.3333",
        "12,000",
        True,
        None,
        "0.1000",
    ]
