"""What came out: the figures of each policy and of each reward model, as tables and plots."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from data_store.catalog.whole import Measured
from data_store.figures import figure, percent, rate
from data_store.rows import AXES, RATINGS
from flows.shown.policies import Policy, measure_of, outcomes, place
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import COLOURS, Series, plot
from flows.shown.summary import Row, columns_of, judged_by, outdated
from tasks.evaluation_judges.config import GOLD
from tasks.evaluation_judges.measures import JUDGE_MARK, at_judge
from tasks.evaluations.evaluation import Measure
from tasks.train_reward import CHANCE

_INTERVALS = "Small below a figure: its 95 % interval and over how many it was taken. Intervals of shares are \
Wilson's, others are bootstrapped over prompts. «few»: fewer than 30."
_ONE_SEED = (
    "An interval tells what other prompts could have changed. What another seed would have changed it does not tell."
)


def results(facts: Facts) -> Section:
    """The policies against SFT, as the paper's human and model evaluations (figures 1, 11, 12, 17 to 19)."""
    found = facts.policies
    if not found:
        return Section("results", "Policies", ["No policy has been evaluated yet, so there are no figures of any."])
    texts = [f"Figures are {judged_by(_rows(found))}. {_INTERVALS} {_ONE_SEED}"]
    texts += [f"{line}." for line in outdated(_rows(found))]
    tables = [*_figures(found), *_outcomes(found), _everything(found)]
    return Section("results", "Policies", texts, list(_plots(found)), tables)


def reward_models(facts: Facts) -> Section:
    """How often a reward model agrees with those who judged (the paper's tables 7 and 8, figure 6)."""
    rows: list[list[Cell]] = []
    totals: dict[str, list[Measured | None]] = {axis: [] for axis in AXES}
    newest: Mapping[str, Measured] = {}
    parts = []
    for policy in _last_of_each_part(facts.policies):
        if not any(name.startswith("accuracy/") for name in policy.figures):
            continue
        parts.append(policy.part)
        newest = policy.figures
        for axis in AXES:
            found = [policy.figures.get(f"accuracy/{axis}/{rating}") for rating in (*RATINGS, "all")]
            totals[axis].append(found[-1])
            if any(found):
                rows.append([text(policy.part), text(axis), *(measured(each, _RATE) for each in found)])
    if not rows:
        return Section("reward-models", "Reward models", ["No accuracy of a reward model is known."])
    columns = ["iteration", "reward model", *(rating.replace("_", " ") for rating in RATINGS), "all"]
    notes = [
        "Share of held-out pairs of which the chosen answer scores higher, ties half; chosen by those who judged them. "
        ".5 is chance: an accuracy whose interval reaches it is not shown to be better than that.",
        "Llama 2 reports of its own pairs 94.3 / 76.3 / 65.7 / 55.3 % by rating (safety) and 80.7 / 67.5 / 60.9 / "
        "54.7 % (helpfulness).",
    ]
    table = Table(
        "accuracy", "Reward-model accuracy by how much better the chosen answer was rated", columns, rows, notes
    )
    by_rating = [Series(axis, [newest.get(f"accuracy/{axis}/{rating}") for rating in RATINGS]) for axis in AXES]
    over = [Series(axis, values) for axis, values in totals.items()]
    short = [rating.replace("_better", "").replace("_", " ") for rating in RATINGS]
    plots = [
        _plot(
            "accuracy-over-iterations", "Reward-model accuracy over iterations", "share of pairs", parts, over, (0.5, 1)
        ),
        _plot(
            "accuracy-by-rating",
            f"Reward-model accuracy by rating, {parts[-1]}",
            "share of pairs",
            short,
            by_rating,
            (0.5, 1),
        ),
    ]
    return Section("reward-models", "Reward models", [_INTERVALS], [each for each in plots if each.picture], [table])


_RATE = Measure("", "", form=rate, chance=CHANCE)


def _figures(found: Sequence[Policy]) -> Iterator[Table]:
    """The figures that matter most, then the others, as `halter status` has them."""
    judges = judged_by(_rows(found))
    known = columns_of(_judges(found), [name for policy in found for name in policy.figures])
    absent = [t for t, m in known.items() if not any(m.name in policy.figures for policy in found)]
    lacking = [title for title in absent if JUDGE_MARK not in title]
    for key, caption, is_first in (("figures", "Figures per policy", True), ("further", "Further figures", False)):
        columns = {t: m for t, m in known.items() if m.first is is_first and t not in absent}
        rows = [
            [
                text(policy.label),
                *([text(policy.state, mark=policy.state)] if is_first else []),
                *(measured(policy.figures.get(measure.name), measure) for measure in columns.values()),
            ]
            for policy in found
        ]
        notes = [f"Not measured of any policy: {', '.join(lacking)}."] if lacking and not is_first else []
        meanings = {title: measure.meaning for title, measure in columns.items()}
        titles = ["policy", *(["state"] if is_first else []), *columns]
        yield Table(key, f"{caption}, {judges}", titles, rows, notes, meanings)


def _outcomes(found: Sequence[Policy]) -> Iterator[Table]:
    """Win, tie, loss (figure 12)."""
    rows = []
    for policy in found:
        for judge, axis in product(("", *policy.judged), AXES):
            metric = at_judge(f"win_rate/{axis}", judge) if judge else f"win_rate/{axis}"
            counts = outcomes(policy, metric)
            if counts is None:
                continue
            total = sum(counts)
            cells = [
                Cell(
                    figure(number),
                    float(number),
                    {"run": policy.run.run.run_id, "metric": metric, "outcome": name},
                    note=percent(number / total),
                )
                for name, number in zip(("win", "tie", "loss"), counts, strict=True)
            ]
            figured = policy.figures.get(metric)
            by = "" if figured is None else figured.judge or ""
            rows.append([text(policy.label), text(axis), text(by), *cells, measured(figured, measure_of(metric))])
    if rows:
        notes = ["Against SFT's answer to the same held-out prompt; a tie is half a win."]
        yield Table(
            "outcomes",
            "Win, tie and loss against SFT",
            ["policy", "axis", "judge", "win", "tie", "loss", "win rate"],
            rows,
            notes,
        )


def _everything(found: Sequence[Policy]) -> Table:
    names = sorted({name for policy in found for name in policy.figures}, key=place)
    rows = [
        [
            text(name, note=measure.meaning if (measure := measure_of(name)) else ""),
            text(next(policy.figures[name].judge or "nobody: counted" for policy in found if name in policy.figures)),
            *(measured(policy.figures.get(name), measure_of(name)) for policy in found),
        ]
        for name in names
    ]
    columns = ["metric", "judge", *(policy.label for policy in found)]
    return Table("everything", "Every number that the evaluations reported", columns, rows, folded=True)


def _plots(found: Sequence[Policy]) -> Iterator[Plot]:
    places = [policy.label for policy in found]

    def over(
        key: str,
        title: str,
        unit: str,
        names: Mapping[str, str],
        within: tuple[float, float] | None = None,
        form: Callable[[float], str] = figure,
    ) -> Plot:
        series = [Series(said, [policy.figures.get(name) for policy in found]) for name, said in names.items()]
        return _plot(key, title, unit, places, series, within, form)

    def shares(value: float) -> str:
        return percent(value)

    plots = [
        over(
            "wins",
            "Win rate against SFT",
            "share of prompts, ties half",
            {"win_rate/helpfulness": "helpfulness", "win_rate/safety": "safety"},
            (0, 1),
        ),
        *(
            over(
                f"wins-{judge}",
                f"Win rate against SFT by {judge}",
                "share of prompts, ties half",
                {at_judge(f"win_rate/{axis}", judge): axis for axis in AXES},
                (0, 1),
            )
            for judge in _judges(found)
        ),
        *(
            over(
                f"unsafe-{judge}",
                f"Violations and refusals by {judge}",
                "share of prompts",
                {at_judge("violation", judge): "violations", at_judge("false_refusal", judge): "false refusals"},
                (0, 0),
                shares,
            )
            for judge in _judges(found)
        ),
        over(
            "unsafe",
            "Violations and refusals",
            "share of prompts",
            {"violation": "violations", "false_refusal": "false refusals", "ordinary_refusal": "refusals, ordinary"},
            (0, 0),
            shares,
        ),
        over(
            "score",
            "Score by the annotator",
            "0 to 1",
            {"oracle_score/helpfulness": "helpfulness", "oracle_score/safety": "safety"},
            (0, 1),
        ),
        over("kl", "How far from SFT", "KL, nats per response", {"kl_to_sft": "KL"}, (0, 0)),
        over("reward", "Reward by the models that were optimised", "mean combined reward", {"reward": "reward"}),
        over(
            "own-wins",
            "Win rate by reward models",
            "share of prompts, ties half",
            {
                "reward_win_rate": "those optimised",
                **{at_judge("win_rate", judge): "one that nothing was optimised against" for judge in _gold(found)},
            },
            (0, 1),
        ),
        over("ends", "Answers that came to their end", "share of answers", {"finished": "finished"}, (0, 1), shares),
        _turns(found),
    ]
    yield from (each for each in plots if each.picture)


def _turns(found: Sequence[Policy]) -> Plot:
    """Whether an instruction is kept by turn (table 30)."""
    turns = [
        number for number in range(1, 65) if any(f"instruction/held_out/turn_{number}" in p.figures for p in found)
    ]
    chosen = [policy for policy in found if any("instruction/held_out/" in name for name in policy.figures)][-COLOURS:]
    series = [
        Series(policy.label, [policy.figures.get(f"instruction/held_out/turn_{turn}") for turn in turns])
        for policy in chosen
    ]
    title = "Instruction of turn 1 kept, not trained on"
    return _plot("turns", title, "share of dialogues", [f"turn {number}" for number in turns], series, (0, 1), percent)


def _plot(
    key: str,
    title: str,
    unit: str,
    places: Sequence[str],
    series: Sequence[Series],
    within: tuple[float, float] | None,
    form: Callable[[float], str] = figure,
) -> Plot:
    judges = sorted({point.judge for each in series for point in each.points if point is not None and point.judge})
    caption = f"Judged by: {', '.join(judges)}." if judges else ""
    return Plot(key, title, plot(title, unit, places, series, within=within, form=form), caption)


def _judges(found: Sequence[Policy]) -> list[str]:
    """The judges of evaluations, in the order of the config."""
    return list(dict.fromkeys(judge for policy in found for judge in policy.judged))


def _gold(found: Sequence[Policy]) -> list[str]:
    """Those of the judges that are gold reward models."""
    kinds = {judge: run.run.config.get("config") for policy in found for judge, run in policy.judged.items()}
    return [judge for judge, config in kinds.items() if isinstance(config, Mapping) and config.get("kind") == GOLD]


def _last_of_each_part(found: Sequence[Policy]) -> list[Policy]:
    return list({policy.part: policy for policy in found}.values())


def _rows(found: Sequence[Policy]) -> list[Row]:
    """As `summary` speaks of them."""
    return [
        {"policy": p.label, "judge": p.judge, "judges": tuple(p.judged), "state": p.state, "why": p.why} for p in found
    ]
