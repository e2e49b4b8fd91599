"""What a report consists of: sections with tables, plots and texts, as plain values that the page, the JSON and the CSV
are made of.

A number stands in a cell with what it is the value of, so that anybody can ask the catalog for the same: a metric of a
run, rows or bytes of a version, seconds of a run.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from markupsafe import Markup

from data_store.catalog.whole import Measured
from data_store.figures import NOT_MEASURED, figure, marks
from tasks.evaluations.evaluation import Measure

Of = Mapping[str, str]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


@dataclass(frozen=True)
class Cell:
    """One cell. `value`: the number that `text` writes, and `of` what it is the value of; `note` stands small below;
    `href` leads to a place on the page; `mark` is a word for its looks, such as the state of a step."""

    text: str
    value: float | None = None
    of: Of = field(default_factory=dict)
    note: str = ""
    href: str = ""
    mark: str = ""
    n: int | None = None
    low: float | None = None
    high: float | None = None
    judge: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption and, below it, what must be known to read it. `meanings`: column → what it means."""

    key: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)
    folded: bool = False

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [[_bare(cell) for cell in row] for row in self.rows]
        return {"caption": self.caption, "columns": list(self.columns), "rows": rows, "notes": list(self.notes)}

    def as_csv(self) -> str:
        """The table; beside each column of numbers with an interval, n and both ends. What a spreadsheet would take for
        a formula begins with an apostrophe."""
        measured = [any(row[i].n is not None or row[i].low is not None for row in self.rows) for i in range(self._wide)]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        header: list[str] = []
        for title, has_interval in zip(self.columns, measured, strict=True):
            header += [title, *([f"{title}: {more}" for more in ("n", "low", "high", "judge")] if has_interval else [])]
        writer.writerow(map(_harmless, header))
        for row in self.rows:
            line: list[Any] = []
            for cell, has_interval in zip(row, measured, strict=True):
                line.append(cell.text if cell.value is None else cell.value)
                line += [cell.n, cell.low, cell.high, cell.judge] if has_interval else []
            writer.writerow([_harmless(value) if isinstance(value, str) else value for value in line])
        return out.getvalue()

    @property
    def _wide(self) -> int:
        return len(self.columns)


@dataclass(frozen=True)
class Plot:
    """A picture as SVG, with its title and what it shows in words."""

    key: str
    title: str
    picture: Markup
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One part of the page. `texts` are paragraphs; `extra` is what the page lays out in its own way, by name."""

    key: str
    title: str
    texts: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def text(value: object, **more: Any) -> Cell:
    """A cell with a text of whatever origin."""
    return Cell(str(value), **more)


def count(number: int | None, of: Of) -> Cell:
    """A cell with a whole number."""
    return Cell(figure(number), None if number is None else float(number), of)


def measured(found: Measured | None, measure: Measure | None = None) -> Cell:
    """A cell with a figure: its value, below it n and the interval."""
    if found is None:
        return Cell(NOT_MEASURED)
    form = figure if measure is None else measure.form
    known = {"run": found.run_id, "metric": found.name}
    return Cell(
        text=form(found.value),
        value=found.value,
        of=known,
        note=surely(found, form, None if measure is None else measure.chance),
        n=found.n,
        low=found.low,
        high=found.high,
        judge=found.judge,
    )


def surely(found: Measured, form: Callable[[float], str] = figure, chance: float | None = None) -> str:
    """The interval of a figure and its n, with its marks, a line each, as far as they are known."""
    interval = "" if found.low is None or found.high is None else f"{form(found.low)} to {form(found.high)}"
    over = "" if found.n is None else ", ".join([f"n {figure(found.n)}", *marks(found.n, found.low, chance)])
    return "\n".join(each for each in (interval, over) if each)


def _bare(cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in asdict(cell).items() if value not in (None, "", {}) or name == "text"}


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
