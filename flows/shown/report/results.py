"""What came out: the figures of each policy, as tables and plots."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from data_store.figures import figure, percent
from data_store.rows import AXES
from flows.shown.policies import Policy, measure_of, outcomes, place
from flows.shown.report.by_group import by_group
from flows.shown.report.facts import Facts
from flows.shown.report.judged_plots import INTERVALS, judged_plot
from flows.shown.report.kept import kept_plots, kept_tables
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import Series
from flows.shown.summary import Row, columns_of, judged_by, outdated
from tasks.evaluation_judges.config import GOLD
from tasks.evaluation_judges.measures import JUDGE_MARK, at_judge

_ONE_SEED = (
    "An interval tells what other prompts could have changed. What another seed would have changed it does not tell."
)


def results(facts: Facts) -> Section:
    """The policies against SFT, as the paper's human and model evaluations (figures 1, 11, 12, 17 to 19)."""
    found = facts.policies
    if not found:
        return Section("results", "Policies", [f"{facts.not_evaluated}, so there are no figures of any."])
    texts = [f"Figures per policy, {judged_by(_rows(found))}. {INTERVALS} {_ONE_SEED}"]
    texts += [f"{line}." for line in outdated(_rows(found))]
    tables = [*_figures(found), *by_group(found), *kept_tables(facts), *_outcomes(found), _everything(found)]
    plots = [*_plots(found), *(each for each in kept_plots(facts) if each.picture)]
    return Section("results", "Policies", texts, plots, tables)


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
        return judged_plot(key, title, unit, places, series, within, form)

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
    ]
    yield from (each for each in plots if each.picture)


def _judges(found: Sequence[Policy]) -> list[str]:
    """The judges of evaluations, in the order of the config."""
    return list(dict.fromkeys(judge for policy in found for judge in policy.judged))


def _gold(found: Sequence[Policy]) -> list[str]:
    """Those of the judges that are gold reward models."""
    kinds = {judge: run.run.config.get("config") for policy in found for judge, run in policy.judged.items()}
    return [judge for judge, config in kinds.items() if isinstance(config, Mapping) and config.get("kind") == GOLD]


def _rows(found: Sequence[Policy]) -> list[Row]:
    """As `summary` speaks of them."""
    return [
        {"policy": p.label, "judge": p.judge, "judges": tuple(p.judged), "state": p.state, "why": p.why} for p in found
    ]
