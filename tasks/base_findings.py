"""What check_base found of the base model, for the steps whose way of training it decides."""

from data_store.rows import ONE_DIALOGUE_A_ROW
from tasks.engine.step import Input, StepRun

FINDINGS = Input("dataset", "finding", optional=True)  # a base that is trained here packs, and needs no look


def reads_alone(run: StepRun) -> bool:
    """Whether the base model reads what shares a row into each other."""
    return any(row["consequence"] == ONE_DIALOGUE_A_ROW for row in run.records("findings"))


def packs(run: StepRun) -> bool:
    """Whether several dialogues may stand in one row of a training."""
    alone = reads_alone(run)
    if alone:
        run.log("each dialogue has a row of its own: check_base found that the model reads packed ones into each other")
    return not alone
