"""What optimising did to rewards: how they moved from policy to policy (Llama 2, figure 20), and whether somebody who
was not optimised agrees while PPO trains (Gao et al., arXiv 2210.10760)."""

import re
from collections.abc import Iterator, Mapping

from data_store.catalog.whole import Measured
from data_store.figures import figure
from flows.shown.policies import Policy
from flows.shown.report.facts import Facts
from flows.shown.report.histograms import histograms
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import Series, plot
from tasks.evaluations.over_optimisation import ANNOTATOR, DISTANCE, GOLD, OPTIMISED, look_name

Figures = Mapping[str, Measured]
_LOOK = re.compile(r"look/(\d+)/kl")
_MEAN = re.compile(r"shift/(?!edge/)(.+)/mean")
_EDGE = re.compile(r"shift/edge/(\d+)")
_SAID = {OPTIMISED: "the reward models that were optimised", GOLD: "a gold reward model", ANNOTATOR: "the annotator"}


def optimisation(facts: Facts) -> Section | None:
    """None where no evaluation measured either."""
    looked = [policy for policy in facts.policies if any(map(_LOOK.fullmatch, policy.figures))]
    shifted = [policy for policy in facts.policies if any(map(_MEAN.fullmatch, policy.figures))]
    if not looked and not shifted:
        return None
    plots: list[Plot] = []
    tables: list[Table] = []
    for policy in shifted[-1:]:
        plots += _shift_plot(facts, policy)
        tables.append(_shift_table(facts, policy))
    for policy in looked[-1:]:
        plots += _look_plots(policy)
        tables += [_looks_table(policy), _gains_table(policy)]
    texts = [
        "A reward model is not what people want, but a guess at it. Where the optimised reward rises and one that "
        "nothing was optimised against does not, the policy has found the faults of its reward models."
    ]
    return Section("optimisation", "Rewards under optimisation", texts, [p for p in plots if p.picture], tables)


def _policies_of(facts: Facts, figures: Figures) -> dict[str, str]:
    """Name in the metrics → what the tables call the policy, in the order in which they were made."""
    there = {match[1] for name in figures if (match := _MEAN.fullmatch(name))}
    known: dict[str, str] = {}
    for policy in facts.policies:
        name = f"{policy.part}-sampled" if policy.step == "evaluate_sampled" else policy.part
        if name in there:
            known[name] = policy.label
    return known


def _shift_plot(facts: Facts, policy: Policy) -> Iterator[Plot]:
    figures = policy.figures
    edges = [figures[f"shift/edge/{i}"].value for i in range(sum(bool(_EDGE.fullmatch(name)) for name in figures))]
    rows = [
        (
            label,
            [figures.get(f"shift/{name}/bin/{i}") for i in range(len(edges) - 1)],
            figures.get(f"shift/{name}/mean"),
        )
        for name, label in _policies_of(facts, figures).items()
    ]
    title = "Rewards of every policy's answers"
    caption = "Share of the answers to held-out prompts by their combined reward; the line is the mean."
    picture = histograms(title, "combined reward", edges, rows)
    yield Plot("shift", title, picture, f"{caption} Judged by: newest reward models.")


def _shift_table(facts: Facts, policy: Policy) -> Table:
    rows = [
        [text(label), measured(policy.figures.get(f"shift/{name}/mean"))]
        for name, label in _policies_of(facts, policy.figures).items()
    ]
    notes = ["By one pair of reward models, the newest, so that policies compare; earlier ones were made by others."]
    return Table("shift", "Mean combined reward of each policy's answers", ["policy", "reward"], rows, notes)


def _steps(figures: Figures) -> list[int]:
    return sorted(int(match[1]) for name in figures if (match := _LOOK.fullmatch(name)))


def _look_plots(policy: Policy) -> Iterator[Plot]:
    figures, steps = policy.figures, _steps(policy.figures)
    distances = [figures[look_name(step, DISTANCE)].value for step in steps]
    groups = (
        ("over-optimisation", "Rewards against KL while PPO trains", "mean raw score", (OPTIMISED, GOLD)),
        ("over-optimisation-truth", "Annotator's score against KL while PPO trains", "0 to 1", (ANNOTATOR,)),
    )
    for key, title, unit, names in groups:
        series = [Series(_SAID[name], [figures.get(look_name(step, name)) for step in steps]) for name in names]
        picture = plot(title, unit, [f"after {step}" for step in steps], series, across=distances)
        judges = sorted({str(each.judge) for one in series for each in one.points if each is not None})
        caption = "From left to right: KL to the policy that PPO began with, nats per response. One point a look at "
        yield Plot(key, title, picture, f"{caption}validation prompts. Judged by: {', '.join(judges)}.")


def _looks_table(policy: Policy) -> Table:
    names = [name for name in _SAID if any(look_name(s, name) in policy.figures for s in _steps(policy.figures))]
    rows: list[list[Cell]] = []
    for step in _steps(policy.figures):
        cells = [measured(policy.figures.get(look_name(step, name))) for name in (DISTANCE, *names)]
        rows.append([text(figure(step)), *cells])
    columns = ["PPO iterations", "KL", *(_SAID[name] for name in names)]
    return Table("looks", "PPO's looks at validation prompts", columns, rows, folded=True)


def _gains_table(policy: Policy) -> Table:
    rows = [
        [text(said), measured(found)]
        for name, said in _SAID.items()
        if (found := policy.figures.get(f"gain/{name}")) is not None
    ]
    notes = ["Last look less first, prompt by prompt. Scores of several judges have several units."]
    return Table("gains", "What PPO gained, by whom", ["by", "gain"], rows, notes)
