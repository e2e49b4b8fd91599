"""What a report is made of, read once, of one state of the catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_store.catalog.whole import WholeCatalog, read_curves, read_whole
from data_store.names import AssetName
from data_store.records import Head, RunSummary
from flows.session import Session
from flows.shown.answered import AnswerReader
from flows.shown.policies import Policy, evaluations, policies
from flows.shown.status import Cell, look_at


@dataclass(frozen=True)
class Facts:
    """A run as it stands: its session, the cells of its grid, the catalog, and its policies.

    `curves`: run → (name, training step, value) of what a training reported again and again.
    """

    session: Session
    cells: Sequence[Cell]
    whole: WholeCatalog
    policies: Sequence[Policy]
    curves: Mapping[str, Sequence[tuple[str, int, float]]]

    @property
    def name(self) -> str:
        """Of the run."""
        return self.session.config.name

    @property
    def parts(self) -> list[str]:
        """The parts of the grid, in order."""
        return list(dict.fromkeys(cell.part for cell in self.cells))

    @property
    def maker_of(self) -> Mapping[tuple[str, str], RunSummary]:
        """(part, step) → the run behind a cell's outputs."""
        found = {}
        for key, call in self.session.plan.items():
            heads = [self.whole.heads[asset] for asset in call.outputs.values() if asset in self.whole.heads]
            ids = [head.run_id for head in heads if head.run_id in self.whole.runs]
            if ids and ids[0] is not None:
                found[key] = self.whole.runs[ids[0]]
        return found

    @property
    def not_evaluated(self) -> str:
        """Why there is no policy with figures, in words."""
        steps = {cell.step for cell in self.cells}
        if "evaluate" in steps:
            return "No policy has been evaluated yet"
        if "sft" in steps:
            return "No policy is evaluated in this run, for it has no prompts"
        return "This run ends with the pretrained model, which answers no prompts"

    @property
    def last_model(self) -> AssetName:
        """The last one that the plan makes, or that its last policy is."""
        outputs = [asset for call in self.session.plan.values() for asset in call.outputs.values()]
        return next(asset for asset in reversed(outputs) if asset.kind == "model" and asset.name in ("policy", "base"))

    def head(self, name: str, part: str) -> Head | None:
        """Where `kind/name` of a part points."""
        kind, _, rest = name.partition("/")
        return self.whole.heads.get(AssetName(kind, rest, part))


def facts_of(session: Session) -> Facts:
    """All of it. Files outside the store that are new are read first, as for `status`. Called inside `one_look`."""
    store, config = session.store, session.config
    cells = look_at(store, session.plan, config.gates).cells
    whole = store.catalog.ask("whole", read_whole)
    there = evaluations(whole, session.plan, session.parts, config.final_stage)
    found = policies(AnswerReader(store, whole), there, cells)
    return Facts(session, cells, whole, found, store.catalog.ask("curves", read_curves))
