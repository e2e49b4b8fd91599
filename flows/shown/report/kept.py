"""Whether an instruction of turn 1 is still kept, turn by turn (Llama 2, table 30 in appendix A.3.5)."""

from collections.abc import Iterator, Sequence

from data_store.figures import percent
from flows.shown.policies import Policy
from flows.shown.report.facts import Facts
from flows.shown.report.judged_plots import judged_plot
from flows.shown.report.parts import Plot, Table, measured, text
from flows.shown.report.plots import COLOURS, Series
from tasks.evaluations.evaluation import Measure

_GROUPS = {"trained": "trained on", "held_out": "not trained on"}
_CONDITIONS = {"": "first turn", "reminded/": "every turn"}
_SHARE = Measure("", "", form=percent)


def kept_tables(facts: Facts) -> Iterator[Table]:
    """A row for each policy, group of instructions and place of the instruction, a column for each turn."""
    turns, rows = _turns(facts.policies), []
    for policy in facts.policies:
        for group, said in _GROUPS.items():
            for condition, where in _CONDITIONS.items():
                figures = [policy.figures.get(f"instruction/{group}/{condition}turn_{turn}") for turn in turns]
                known = [each for each in figures if each is not None]
                if known:
                    learned = text("yes" if _has_learned(facts, policy) else "no")
                    cells = (measured(each, _SHARE) for each in figures)
                    judge = text(known[0].judge or "")
                    rows.append([text(policy.label), learned, text(said), text(where), judge, *cells])
    if rows:
        columns = ["policy", "Ghost Attention", "instructions", "said in", "judge", *(f"turn {turn}" for turn in turns)]
        notes = [
            "Share of answers that keep the instruction of turn 1. Dialogues end where the context is full, so later "
            "turns are of fewer. The paper's table 30 (RLHF-V3) has 100 % up to turn 20 with Ghost Attention, and "
            "without it 100 % at turn 2, 10 % at turn 4, and 0 % from turn 6 on."
        ]
        yield Table("kept", "Instruction kept, by turn", columns, rows, notes, folded=True)


def kept_plots(facts: Facts) -> Iterator[Plot]:
    """Over the policies, for instructions that were trained on and for others; of the last policy, where the
    instruction was said in every turn, too."""
    turns = _turns(facts.policies)
    places = [f"turn {turn}" for turn in turns]
    for group, said in _GROUPS.items():
        chosen = [each for each in facts.policies if any(f"instruction/{group}/" in name for name in each.figures)]
        series = [_series(policy, policy.label, group, "", turns) for policy in chosen[-COLOURS:]]
        title = f"Instruction of turn 1 kept, {said}"
        yield judged_plot(f"turns-{group}", title, "share of dialogues", places, series, (0, 1), percent)
    last = [each for each in facts.policies if any("/reminded/" in name for name in each.figures)][-1:]
    for policy in last:
        series = [
            _series(policy, f"{said}, said in the {where}", group, condition, turns)
            for group, said in _GROUPS.items()
            for condition, where in _CONDITIONS.items()
        ]
        title = f"Instruction kept by {policy.label}"
        yield judged_plot("turns-reminded", title, "share of dialogues", places, series, (0, 1), percent)


def _series(policy: Policy, name: str, group: str, condition: str, turns: Sequence[int]) -> Series:
    return Series(name, [policy.figures.get(f"instruction/{group}/{condition}turn_{turn}") for turn in turns])


def _turns(found: Sequence[Policy]) -> list[int]:
    names = {name for policy in found for name in policy.figures}
    return [turn for turn in range(1, 65) if any(f"instruction/{group}/turn_{turn}" in names for group in _GROUPS)]


def _has_learned(facts: Facts, policy: Policy) -> bool:
    """Whether this policy, or one before it, was fine-tuned on dialogues of Ghost Attention."""
    learned = (part for part, step in facts.maker_of if step == "synthesize_gatt")
    return any(int(part[1:]) <= int(policy.part[1:]) for part in learned)
