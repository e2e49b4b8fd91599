"""What is stale in a run, why, and which command redoes it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from data_store.store import Store
from flows.orders import descendants, rerun_command
from flows.recipe.plan import Plan
from flows.shown.status import Cell


@dataclass(frozen=True)
class StaleStep:
    """A step whose result is out of date. roots: the stale steps, as `V1 sft`, that it is stale because of, or itself;
    command: redoes it, with its root where that is another. seconds: how long it took the last time.
    """

    part: str
    step: str
    reason: str
    assets: tuple[str, ...]
    roots: tuple[str, ...]
    command: str
    seconds: float | None

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def stale_steps(store: Store, plan: Plan, cells: Iterable[Cell], run: str) -> list[StaleStep]:
    """Those of the plan's cells that are stale, in its order."""
    stale = {(cell.part, cell.step): cell for cell in cells if cell.state == "stale"}
    fed = {key: [later for later in descendants(plan, *key) if later in stale] for key in stale}
    heads = store.heads()
    took = {each.run.run_id: each.seconds for each in store.runs() if each.state == "succeeded"}
    found = []
    for key, cell in stale.items():
        above = [other for other in stale if key in fed[other]]
        roots = [other for other in above if not any(other in fed[each] for each in stale)] or [key]
        makers = {heads[asset].run_id for asset in plan[key].outputs.values() if asset in heads}
        seconds = [took[maker] for maker in makers if maker in took]
        found.append(
            StaleStep(
                part=cell.part,
                step=cell.step,
                reason=cell.reason,
                assets=tuple(str(asset) for asset in plan[key].outputs.values()),
                roots=tuple(f"{part} {step}" for part, step in roots),
                command=rerun_command(*roots[0], run, downstream=bool(fed[roots[0]])),
                seconds=max((value for value in seconds if value is not None), default=None),
            )
        )
    return found
