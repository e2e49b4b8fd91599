"""A chat model's folder judges by the log-probabilities of its verdict, in both orders of a pair: nothing is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from data_store.reading.bad_rows import RefusedRowError
from models.config import Config, SamplingConfig
from tasks.answers import open_renderer
from tasks.engine.step import Input, StepRun
from tasks.judging.guidelines import LETTERS, comparison, response_in, safety_by_letter
from tasks.judging.judge import Judging, ModelJudge, Need, Rows
from tasks.judging.lm import LMConfig, LMStepConfig, lm_step_config
from tasks.judging.verdicts import ModelVerdict, PairRow, Ruling, ruling
from tasks.sampling import verdict_odds

JUDGE = Input("file", optional=True, is_model=True)


class FolderConfig(Config):
    """Which folder."""

    folder: Path | None = Field(default=None, description="Chat model that transformers opens (safetensors)")


class Folder(ModelJudge):
    """Of each question the log-odds of A against B. A response is safe where the mean over both meanings of the letters
    says so."""

    key = "folder"
    inputs = {"judge": JUDGE}

    def name(self, model: FolderConfig) -> str:
        """The folder's."""
        return "" if model.folder is None else model.folder.name

    def needs(self, judging: Judging) -> Mapping[str, Need]:
        """The folder itself."""
        return {"judge": judging.model.folder}

    def step_config(self, judging: Judging) -> LMStepConfig:
        """Nothing of its own."""
        return lm_step_config(judging)

    def verdicts(self, run: StepRun, config: LMStepConfig, pairs: Rows) -> dict[str, Ruling]:
        """A pair that the model cannot hold is refused."""
        asked = {pair["pair_id"]: _questions(pair) for pair in pairs}
        odds, too_long = ask_folder(run, asked, config.reading)
        found: dict[str, Ruling] = dict(too_long)
        for pair in pairs:
            key = pair["pair_id"]
            if key in found:
                continue
            verdict = from_log_odds(odds[key, "a_first"], odds[key, "b_first"], config)
            safe = {
                side: odds[key, f"safety_{side}_{LETTERS[0]}"] - odds[key, f"safety_{side}_{LETTERS[1]}"] > 0
                for side in "ab"
                if pair["axis"] == "safety"
            }
            try:
                found[key] = ruling(verdict, safe)
            except RefusedRowError as refusal:
                found[key] = refusal
        return found


def ask_folder(
    run: StepRun, asked: Mapping[str, Mapping[str, str]], reading: SamplingConfig
) -> tuple[dict[tuple[str, str], float], dict[str, RefusedRowError]]:
    """Ask the step's input `judge` each item's questions, which have names. Gives (item, name) → log p(A) - log p(B),
    and the items of which a question is longer than the model reads."""
    from models.checkpoint import load_policy
    from models.devices import use_threads
    from models.verdicts import verdict_tokens

    use_threads(reading.threads)
    folder: Path = run.path("judge")
    renderer = open_renderer(folder)
    model = load_policy(folder)
    tokens = verdict_tokens(renderer, LETTERS)
    longest = _context_length(model) - len(tokens.before)
    rows: dict[tuple[str, str], list[int]] = {}
    too_long: dict[str, RefusedRowError] = {}
    for item, questions in asked.items():
        written = {name: renderer.prompt([{"role": "user", "content": text}]) for name, text in questions.items()}
        length = max(map(len, written.values()))
        if length > longest:
            too_long[item] = RefusedRowError("too_long", f"{length} tokens; the judge reads {longest}")
        else:
            rows |= {(item, name): ids for name, ids in written.items()}
    keys = list(rows)

    def heard(done: float) -> None:
        run.progress(done, f"{round(done * len(keys))} of {len(keys)} questions")

    odds = verdict_odds(model, list(rows.values()), tokens, renderer.pad_id, reading, heard)
    return dict(zip(keys, odds, strict=True)), too_long


def from_log_odds(first: float, second: float, config: LMConfig) -> ModelVerdict | None:
    """The judgement of a folder. `first` is log p(A) - log p(B) with a shown as A, `second` with b shown as A.

    None where the orders disagree and such pairs are dropped, or where nothing at all tells the two apart.
    """
    mean = (first - second) / 2
    if first * second < 0:
        return ModelVerdict("a" if mean > 0 else "b", config.log_odds.word(abs(mean)), agreed=True)
    if config.disagreement == "drop" or mean == 0:
        return None
    return ModelVerdict("a" if mean > 0 else "b", "negligibly_better", agreed=False)


def _questions(pair: PairRow) -> dict[str, str]:
    """What a folder is asked: both orders, and on the axis of safety each response with either letter for safe."""
    messages, a, b = pair["messages"], response_in(pair, "a"), response_in(pair, "b")
    asked = {
        "a_first": comparison(pair["axis"], messages, a, b, rated=False),
        "b_first": comparison(pair["axis"], messages, b, a, rated=False),
    }
    if pair["axis"] == "safety":
        for side in "ab":
            for letter in LETTERS:
                asked[f"safety_{side}_{letter}"] = safety_by_letter(messages, response_in(pair, side), letter)
    return asked


def _context_length(model: Any) -> int:
    return int(model.config.max_position_embeddings)
