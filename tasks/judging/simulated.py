"""The simulated annotator of the little world judges, inside collect_preferences."""

from collections.abc import Mapping
from typing import Any

from data_store.commands import halter
from data_store.errors import InputError
from tasks.engine.step import StepRun
from tasks.judging.judge import Judge, Judging, Need, Rows


class Simulated(Judge):
    """Its share of the pairs. It judges the text, and takes .2 off what was cut off at the length limit: it is told, as
    people and models are."""

    share = "simulated"

    def is_given(self, judging: Judging) -> bool:
        """By `annotator`, where anything is left to it."""
        return judging.annotator is not None and judging.shares.simulated > 0

    def reads(self, judging: Judging) -> Mapping[str, Need]:
        """The pairs themselves."""
        return {"pairs": "dataset/pairs"}

    def rows(self, run: StepRun, config: Any) -> Rows:
        """Made here. Raises InputError for an annotator that is withdrawn."""
        if config.annotator is None or not config.shares.simulated:
            return []
        if config.annotator.name in run.withdrawn("annotator"):
            raise InputError(
                f"annotator {config.annotator.name} is withdrawn: name another in the config, or take it back with "
                f"`{halter('withdraw', 'annotator', config.annotator.name, '--undo')}`"
            )
        annotator = config.annotator.open()
        rows = []
        pairs = run.records("pairs")
        mine = config.shares.pairs_of("simulated", [pair["pair_id"] for pair in pairs])
        for pair in (pair for pair in pairs if pair["pair_id"] in mine):
            judged = annotator.compare(
                pair["messages"],
                pair["response_a"],
                pair["response_b"],
                pair["axis"],
                key=pair["pair_id"],
                finished_a=pair["finished_a"],
                finished_b=pair["finished_b"],
            )
            if judged is None:
                continue
            rows.append(
                {
                    **{name: value for name, value in pair.items() if name != "pair_id"},
                    "preference_id": pair["pair_id"],
                    "source": f"collect_preferences@{run.part}",
                    "chosen": judged.chosen,
                    "rating": judged.rating,
                    "safety_label": judged.safety_label,
                    "annotator": annotator.name,
                }
            )
        return rows
