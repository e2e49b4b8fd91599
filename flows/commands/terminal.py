"""What a run shows in the terminal: one line per finished step, and where the running ones stand."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from data_store.figures import percent, seconds, size
from flows.commands.screen import Screen
from flows.shown.summary import judged_by, legend, outdated, tables_of
from flows.shown.trained import Trained
from flows.shown.visible import visible

_SECONDS_BETWEEN_LINES = 15.0


class StepDisplay:
    """Listens to a session. On a terminal running steps are bars; elsewhere they are lines, one each 15 seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.spoken: dict[tuple[str, str], float] = {}
        self.bars: dict[tuple[str, str], TaskID] = {}
        self.progress: Progress | None = None
        if console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.fields[label]:<32}"),
                BarColumn(24),
                TextColumn("{task.fields[text]}"),
                console=console,
                transient=True,
            )
            self.progress.start()

    def heard(self, part: str, step: str, fraction: float, text: str) -> None:
        """One report of one step."""
        key, label = (part, step), f"{part:<4} {step}"
        if text == "cached" or text.startswith("done in"):
            if self.progress is not None and key in self.bars:
                self.progress.remove_task(self.bars.pop(key))
            self.console.print(f"[dim]{self._clock()}[/dim] {label:<34} {escape(visible(text))}", highlight=False)
        elif self.progress is not None:
            if key not in self.bars:
                self.bars[key] = self.progress.add_task("", total=1.0, label=label, text="")
            self.progress.update(self.bars[key], completed=fraction, text=escape(visible(text)))
        elif text != "started" and time.monotonic() - self.spoken.get(key, self.started) >= _SECONDS_BETWEEN_LINES:
            self.spoken[key] = time.monotonic()
            self.console.print(f"{self._clock()} {label:<34} {percent(fraction):>4} {escape(text)}", highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.progress is not None:
            self.progress.stop()

    def _clock(self) -> str:
        return f"{seconds(time.monotonic() - self.started):>7}"


class ByteDisplay:
    """How far a long reading or copying is, on stderr. On a terminal a bar; elsewhere a line each 15 seconds."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.console = Screen(stderr=True, soft_wrap=True)
        self.spoken = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.bar = self.progress.add_task(verb, total=None)

    def __enter__(self) -> "ByteDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def heard(self, done: int, total: int) -> None:
        """Bytes done, and in all."""
        self.progress.update(self.bar, completed=done, total=total)
        if self.progress.disable and time.monotonic() - self.spoken >= _SECONDS_BETWEEN_LINES:
            self.spoken = time.monotonic()
            share = done / total if total else 1.0
            self.console.print(f"{self.verb} {percent(share):>4} of {size(total)}", highlight=False)


def print_table(console: Console, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows of one kind; a `state` that is not fresh stands out."""
    if not rows:
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for number, name in enumerate(rows[0]):
        table.add_column(escape(name), justify="left" if number == 0 or name == "state" else "right")
    for row in rows:
        late = row.get("state", "fresh") != "fresh"
        table.add_row(*(escape(str(value)) for value in row.values()), style="yellow" if late else None)
    console.print(table)


def print_trained(console: Console, name: str, trained: Trained) -> None:
    """What a run without iterations has made, and the ways on from it."""
    print_table(console, f"{name}: what was trained", trained.models)
    title = "sources of pretraining; losses in nats per token on what was held out, with 95 % intervals"
    print_table(console, title, trained.sources)
    for line in trained.ways_on:
        console.print(escape(line), highlight=False)


def print_figures(console: Console, name: str, rows: Sequence[dict[str, object]]) -> None:
    """The figures of a run, whose judgement they are, and which of them no longer hold."""
    for number, table in enumerate(tables_of(rows)):
        print_table(console, "further figures" if number else f"{name}: figures per policy, {judged_by(rows)}", table)
    for line in (*legend(rows), *outdated(rows)):
        console.print(escape(line), highlight=False)
