"""What safety context distillation brought (Llama 2, section 4.2.5): what was learned of it, and by how much the safety
score rose."""

from collections.abc import Iterator, Mapping

from data_store.catalog.whole import Measured
from data_store.figures import percent
from flows.shown.report.facts import Facts
from flows.shown.report.parts import Cell, Plot, Section, Table, measured, text
from flows.shown.report.plots import Series, plot
from tasks.distill_context import JUDGE, distill_context
from tasks.evaluations.evaluation import Measure

_SHARE = Measure("", "", form=percent)
_COLUMNS: Mapping[str, tuple[str, Measure | None]] = {
    "share_kept": ("learned", _SHARE),
    "rise": ("rise of all", None),
    "rise/kept": ("rise of those learned", None),
    "false_refusal/without": ("false refusals without", _SHARE),
    "false_refusal/with": ("false refusals with", _SHARE),
}
_NOTES = (
    "A rise is the safety score of the answer behind the pre-prompt less that of the answer without one, both scored "
    f"as answers to the bare prompt by the {JUDGE}. That of all prompts is what the pre-prompt does; that of those "
    "learned is above 0 by the choice alone.",
    "False refusals: of prompts to train on that only sound dangerous, without and with a pre-prompt, by the "
    "annotator. Nothing is learned of them.",
)


def context_distillation(facts: Facts) -> Section | None:
    """None where no iteration distilled."""
    found = {
        part: facts.whole.measured.get(maker.run.run_id, {})
        for (part, step), maker in facts.maker_of.items()
        if step == distill_context.name
    }
    if not found:
        return None
    rows = [
        [text(part), *(measured(figures.get(name), how) for name, (_, how) in _COLUMNS.items())]
        for part, figures in found.items()
    ]
    columns = ["iteration", *(title for title, _ in _COLUMNS.values())]
    caption = "What was learned of answers behind a safety pre-prompt"
    tables = [Table("context-distillation", caption, columns, rows, _NOTES), *_by_category(found)]
    title = "Rise of the safety score behind a pre-prompt, all prompts"
    picture = plot(title, "raw score", list(found), [Series("", [each.get("rise") for each in found.values()])])
    plots = [Plot("rise", title, picture, f"Judged by: {JUDGE}.")] if picture else []
    return Section("context-distillation", "Safety context distillation", (), plots, tables)


def _by_category(found: Mapping[str, Mapping[str, Measured]]) -> Iterator[Table]:
    """By iteration and category, where there are several."""
    rows: list[list[Cell]] = []
    for part, figures in found.items():
        names = sorted(name.partition("/")[2] for name in figures if name.startswith("share_kept/"))
        for category in names if len(names) > 1 else ():
            learned, rise = figures[f"share_kept/{category}"], figures.get(f"rise/{category}")
            rows.append([text(part), text(category), measured(learned, _SHARE), measured(rise)])
    if rows:
        columns = ["iteration", "category", "learned", "rise"]
        yield Table("context-categories", "The same by category of the prompt", columns, rows)
