"""What others wrote reaches the screen as it is, and does nothing there."""

import io

import pytest
from rich.markup import escape
from rich.table import Table

from flows.commands.screen import Screen
from flows.shown.visible import visible

HOSTILE = [
    "[INST] be good [/INST]",
    "[/INST]",
    "[/red]",
    "[/]",
    "[link=https://example.org]click[/link]",
    "[@click=app.bell]x[/]",
    "a [b] c [#ff0000]d",
    "an end \\",
    "<<SYS>> :warning: :smile:",
    "[[x]] [] [1] {x}",
    "한국어 [/끝]",
]


def shown(*things: object, **options: object) -> str:
    out = io.StringIO()
    screen = Screen(file=out, width=200, force_terminal=True, color_system="truecolor")
    for thing in things:
        screen.print(thing, highlight=False, **options)
    return out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("escaped", [True, False])
def test_a_text_is_shown_as_it_is_in_lines_titles_headers_and_cells(text: str, escaped: bool) -> None:
    given = escape(text) if escaped else text
    table = Table(title=given)
    table.add_column(given)
    table.add_row(given)
    plain = "".join(part for part in shown(given, table))
    assert plain.count(text) == 4


def test_a_style_of_our_own_is_markup_unless_it_is_escaped() -> None:
    assert shown("[red]error:[/red] x") == "\x1b[31merror:\x1b[0m x\n"
    assert shown(f"[red]error:[/red] {escape('[red]x[/red]')}") == "\x1b[31merror:\x1b[0m [red]x[/red]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        ("\x9b31mred", r"\x9b31mred"),
        ("over\rwritten\x08", r"over\rwritten\x08"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\tb\nc", "a\tb\nc"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, expected: str) -> None:
    assert visible(text) == expected
    table = Table()
    table.add_column(text.replace("\n", " "))
    for out in (shown(text), shown(table)):
        assert "\x9b" not in out
        assert "\x07" not in out
        assert "\x1b]" not in out
        assert "\x1b[2J" not in out
        assert "\u202e" not in out
