"""A report as one HTML file that asks nobody for anything: no script, no font, no picture from elsewhere.

Texts of models, people and other stores are escaped by the template, every one; the style sheet alone may style, by its
hash, and the policy in the file lets a browser fetch nothing.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flows.shown.report.parts import Section, Table
from flows.shown.visible import visible

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Report:
    """What a page shows. `lead`: the sentences at its top; `about`: what is small below its title."""

    title: str
    description: str
    about: str
    made_at: datetime
    lead: Sequence[str]
    sections: Sequence[Section]

    def as_json(self) -> dict[str, Any]:
        """All data of the page as plain values, pictures left out."""
        return {
            "title": self.title,
            "description": self.description,
            "at": self.made_at.isoformat(timespec="seconds"),
            "what_changed": list(self.lead),
            "sections": {
                section.key: {
                    "title": section.title,
                    "texts": list(section.texts),
                    "tables": {table.key: table.as_json() for table in section.tables},
                    **{name: value for name, value in section.extra.items() if name != "curves"},
                }
                for section in self.sections
            },
        }


def render(report: Report) -> str:
    """The page."""
    style = (_HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    document = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
    page = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            style=Markup(style),  # noqa: S704  (our own file)
            policy=f"{_POLICY}; style-src 'sha256-{digest}'",
            document=_data_url("application/json", document),
            csv=lambda table: _data_url("text/csv", table.as_csv()),
            name="".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in report.title),
        )
    )
    return page.encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair is no text of a file


def numbers(table: Table) -> list[bool]:
    """Which columns hold numbers, and stand at the right."""
    return [any(row[i].value is not None for row in table.rows) for i in range(len(table.columns))]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["exact"] = _exact
    environment.filters["numbers"] = numbers
    environment.filters["of"] = _of
    return environment


def _shown(value: Any) -> Any:
    """Control characters are shown and not obeyed, in every text of the page but our own markup."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _exact(value: float) -> str:
    return repr(float(value))


def _of(of: Mapping[str, str]) -> str:
    return json.dumps(of, sort_keys=True)


def _data_url(kind: str, content: str) -> str:
    encoded = base64.b64encode(content.encode("utf-8", "backslashreplace")).decode()
    return f"data:{kind};charset=utf-8;base64,{encoded}"
