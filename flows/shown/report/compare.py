"""Two runs side by side on one page: what `halter diff` finds, with plots."""

from collections.abc import Iterator, Sequence

from data_store.commands import halter
from data_store.figures import NOT_MEASURED, figure
from data_store.records import now
from flows.shown.diff.document import AnswerDifference, Comparison, FigureDifference, compare_sides
from flows.shown.diff.sides import Sides
from flows.shown.diff.text import paired_text, value_shown
from flows.shown.policies import measure_of
from flows.shown.report.dialogues import MOST, folded
from flows.shown.report.page import Report
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import Series, plot
from flows.shown.summary import columns_of
from tasks.engine.code_today import few
from tasks.evaluation_judges.measures import JUDGE_MARK

_MOST_NAMED = 4  # differences in the first sentence


def build_comparison(sides: Sides) -> Report:
    """The page for two runs."""
    found = compare_sides(sides, MOST)
    title = f"{found.a} and {found.b}"
    about = f"The runs {found.a} (a) and {found.b} (b), of their stores alone."
    of_policies = [each for each in found.figures if measure_of(each.metric) and each.of in sides.a.evaluations]
    sections = [
        _results(found, of_policies),
        _config(found),
        _data(found),
        _answers(found),
        Section(
            "redo", "The same in the terminal", extra={"commands": [("what differs", halter("diff", found.a, found.b))]}
        ),
    ]
    return Report(title, "", about, now(), list(_lead(found, of_policies)), sections)


def _lead(found: Comparison, figures: Sequence[FigureDifference]) -> Iterator[str]:
    paired = [each for each in figures if each.paired is not None]
    told = [each for each in paired if each.paired is not None and each.paired.is_shown]
    names = [f"{each.metric} of {each.of} {paired_text(each.paired)}" for each in told if each.paired is not None]
    yield (
        f"{figure(len(figures))} figures of policies that both runs have; {figure(len(paired))} can be paired by "
        f"prompts that both answered, and {figure(len(told))} of these differ by more than other prompts could have "
        f"changed{': ' if names else ''}{'; '.join(names[:_MOST_NAMED])}{' …' if len(names) > _MOST_NAMED else ''}."
    )
    if len(paired) > 20 and told:
        yield f"By chance alone about {figure(round(0.05 * len(paired)))} would."
    yield f"Keys of the config that differ: {figure(len(found.config))}; source files: {figure(len(found.code))}."
    yield from (f"{note}." for note in found.notes)
    yield "Each is one run with one seed: what another seed would have changed is not known."


def _results(found: Comparison, figures: Sequence[FigureDifference]) -> Section:
    metrics = [each.metric for each in figures]
    judges = dict.fromkeys(metric.partition(JUDGE_MARK)[2] for metric in metrics)
    columns = columns_of((judge for judge in judges if judge), metrics)
    titled = {measure.name: title for title, measure in columns.items()}
    tables = [
        _table("figures", "Figures per policy", [each for each in figures if each.metric in titled], titled),
        _table(
            "further",
            "Everything that steps of both reported",
            [e for e in found.figures if e not in figures],
            {},
            True,
        ),
    ]
    texts = ["Differences are b minus a. Where both answered the same prompts and have the same judge they are paired."]
    plots = [drawn for title, metric in _PLOTS.items() if (drawn := _plot(found, figures, title, metric)).picture]
    return Section("results", "Figures", texts, plots, [each for each in tables if each.rows])


_PLOTS = {
    "Win rate against SFT, helpfulness": "win_rate/helpfulness",
    "Win rate against SFT, safety": "win_rate/safety",
    "Violations": "violation",
    "False refusals": "false_refusal",
    "Score by the annotator": "oracle_score",
    "KL to SFT, nats per response": "kl_to_sft",
}


def _plot(found: Comparison, figures: Sequence[FigureDifference], title: str, metric: str) -> Plot:
    chosen = [each for each in figures if each.metric == metric]
    series = [Series(found.a, [each.a for each in chosen]), Series(found.b, [each.b for each in chosen])]
    picture = plot(title, "", [each.of for each in chosen], series, within=(0, 0))
    judges = sorted({str(point.judge) for each in chosen for point in (each.a, each.b) if point.judge})
    return Plot(metric.replace("/", "-"), title, picture, f"Judged by: {', '.join(judges)}." if judges else "")


def _table(
    key: str, caption: str, figures: Sequence[FigureDifference], titled: dict[str, str], is_folded: bool = False
) -> Table:
    rows = [
        [
            text(each.of),
            text(titled.get(each.metric, each.metric)),
            measured(each.a, measure_of(each.metric)),
            measured(each.b, measure_of(each.metric)),
            Cell(f"{each.difference:+.3g}", each.difference, {"of": "difference"}, _pairs(each)),
        ]
        for each in figures
    ]
    return Table(
        key, caption, ["policy" if titled else "step", "figure", "a", "b", "b minus a"], rows, folded=is_folded
    )


def _pairs(each: FigureDifference) -> str:
    return "" if each.paired is None else paired_text(each.paired)


def _config(found: Comparison) -> Section:
    keys = [[text(e.key), text(value_shown(e.a)), text(value_shown(e.b)), text(few(e.steps))] for e in found.config]
    files = [
        [text(e.path), text((e.a or NOT_MEASURED)[:12]), text((e.b or NOT_MEASURED)[:12]), text(few(e.steps))]
        for e in found.code
    ]
    tables = [
        Table("config", "Keys that differ", ["key", "a", "b", "where"], keys),
        Table(
            "code", "Source files that differ, by the first digits of their hash", ["file", "a", "b", "steps"], files
        ),
    ]
    only = [f"Only {side} has: {', '.join(found.only[side])}." for side in ("a", "b") if found.only[side]]
    return Section("config", "Config and code", only, tables=[each for each in tables if each.rows])


def _data(found: Comparison) -> Section:
    rows = [
        [
            text(each.name),
            text(each.unit),
            *(text(figure(number)) for number in (each.added, each.dropped, each.changed, each.kept)),
            text(each.note),
        ]
        for each in found.data
    ]
    columns = ["data", "counted in", "added", "dropped", "changed", "kept", "note"]
    table = Table("data", "What b has and a has not, and the other way round", columns, rows)
    return Section("data", "Data", tables=[table] if rows else [])


def _answers(found: Comparison) -> Section:
    shown = [_shown(found, each) for each in found.answers]
    texts = ["Those whose score by the judge changed most, among equals those whose words did."]
    return Section("dialogues", "Answers that changed most", texts, extra={"dialogues": shown})


def _shown(found: Comparison, each: AnswerDifference) -> dict[str, object]:
    sides = zip((found.a, found.b), each.runs, (each.a, each.b), (each.score_a, each.score_b), strict=True)
    return {
        "id": each.prompt_id,
        "group": each.of,
        "messages": [{"role": m["role"], **folded(m["content"])} for m in each.messages],
        "answers": [
            {
                "policy": name,
                "judge": each.judge or "its own judge",
                "run": run,
                "score": score,
                "score_text": figure(score, 2),
                "said": [],
                "text": folded(said),
            }
            for name, run, said, score in sides
        ],
    }
