"""`halter red-team`: sessions in which people attack a policy, and how robust it is."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from data_store.annotation.book import Book
from data_store.annotation.red_team import (
    RedTeam,
    RedTeamSpec,
    close_red_team,
    open_red_team,
    red_team_of,
    red_teams,
    robustness,
)
from data_store.annotation.red_team_export import hand_over_attacks
from data_store.commands import halter
from data_store.figures import rate
from data_store.read_only import check_writable
from data_store.store import Store
from flows.commands.command import JsonOption, RunOption, console, guarded, print_json, say
from flows.live import policy_head
from flows.session import recall, store_root

commands = typer.Typer(help="Attack a policy, and see how robust it is.", no_args_is_help=True)


@commands.command("open")
@guarded
def open_session(
    against: Annotated[str, typer.Option("--against", help="The policy to attack, such as model/policy@V2")],
    attacks: Annotated[
        int | None, typer.Option("--attacks", min=1, help="So many labelled attacks are enough.")
    ] = None,
    hours: Annotated[float | None, typer.Option("--hours", help="Or so many person-hours of active time.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="Its name; made of the policy's otherwise.")] = None,
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a session against the version that a policy's name points to now."""
    store, book = _opened(name)
    check_writable(store.root)
    head = policy_head(store, against)
    taken = {one.spec.session_id for one in red_teams(book)}
    stem = f"{head.asset.name}-{head.asset.part.lower()}"
    free = next(f"{stem}-{number}" for number in range(1, len(taken) + 2) if f"{stem}-{number}" not in taken)
    spec = RedTeamSpec(session or free, head.asset, head.version_id, attacks, hours)
    open_red_team(book, spec)
    if as_json:
        print_json(_document(red_team_of(book, spec.session_id)))
        return
    say(as_json, f"session {spec.session_id} against {against}, version {head.version_id[:16]}")
    say(as_json, f"the attackers are the people of `{halter('annotators', 'list')}`")
    say(as_json, f"start `{halter('annotate')}` anew: it loads the policy")


@commands.command("close")
@guarded
def close_session(
    session: Annotated[str, typer.Argument(help="The session's name")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "closed by hand",
    name: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take no more attacks, and hand them over to the catalog, for the prompts of the next iterations."""
    store, book = _opened(name)
    check_writable(store.root)
    close_red_team(book, session, reason)
    closed = red_team_of(book, session)
    head = hand_over_attacks(store, closed.spec.policy.part)
    if as_json:
        print_json({**_document(closed), "source": str(head.asset), "source_version": head.version_id})
        return
    say(as_json, f"{session} is closed: {closed.attacks} attacks, {closed.violations} violations")
    say(as_json, f"they are {head.asset} now; `collect.red_team` brings their prompts into the next iterations")


@commands.command("status")
@guarded
def status(name: RunOption = None, as_json: JsonOption = False) -> None:
    """Violations per person-hour of each session, and of each policy over all its sessions."""
    _, book = _opened(name)
    sessions = red_teams(book)
    policies: dict[tuple[str, str], list[RedTeam]] = {}
    for one in sessions:
        policies.setdefault((str(one.spec.policy), one.spec.policy_version), []).append(one)
    if as_json:
        print_json(
            {
                "sessions": [_document(one) for one in sessions],
                "policies": [
                    {"policy": policy, "policy_version": version, **_sums(found)}
                    for (policy, version), found in policies.items()
                ],
            }
        )
        return
    table = Table(title="red teams", title_justify="left", header_style="bold")
    columns = ("session", "policy", "version", "attacks", "violations", "people", "person-hours", "violations per hour")
    for column in (*columns, "state"):
        table.add_column(column)
    for one in sessions:
        state = "closed" if one.closed is not None else "has its quota: close it" if one.is_finished else "open"
        table.add_row(
            *(one.spec.session_id, str(one.spec.policy), one.spec.policy_version[:12]),
            *(*_figures(_sums([one]), one.people), escape(state)),
        )
    for (policy, version), found in policies.items():
        if len(found) > 1:
            table.add_row("all", policy, version[:12], *_figures(_sums(found), None), "")
    console.print(table)
    if not sessions:
        console.print(f"no session yet: {halter('red-team', 'open', '--against', 'model/policy@V1')}", highlight=False)


def _opened(name: str | None) -> tuple[Store, Book]:
    root = store_root(recall(name).name)
    return Store.open(root), Book.open(root)


def _sums(sessions: list[RedTeam]) -> dict[str, Any]:
    """Attacks, violations and active time of sessions together, and the robustness of what they attacked."""
    violations, seconds = sum(one.violations for one in sessions), sum(one.seconds for one in sessions)
    return {
        "attacks": sum(one.attacks for one in sessions),
        "violations": violations,
        "person_hours": seconds / 3600,
        "violations_per_person_hour": robustness(violations, seconds),
    }


def _figures(sums: dict[str, Any], people: int | None) -> list[str]:
    per_hour = sums["violations_per_person_hour"]
    return [
        *(str(sums["attacks"]), str(sums["violations"]), "" if people is None else str(people)),
        *(rate(sums["person_hours"]), "" if per_hour is None else rate(per_hour)),
    ]


def _document(session: RedTeam) -> dict[str, Any]:
    spec = session.spec
    return {
        "session": spec.session_id,
        "policy": str(spec.policy),
        "policy_version": spec.policy_version,
        "iteration": spec.policy.part,
        "quota": {"attacks": spec.attacks, "hours": spec.hours},
        "people": session.people,
        "finished": session.is_finished,
        "closed": session.closed,
        **_sums([session]),
    }
