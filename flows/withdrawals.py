"""What withdrawn rows reached, over the runs of one home, and which commands redo just that. Knows no Prefect."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass

from data_store.annotation.book import BOOK_FILE, Book
from data_store.annotation.handover import hand_over_again
from data_store.annotation.people import annotators
from data_store.closest import did_you_mean
from data_store.errors import InputError
from data_store.identity import CONFIG_FILE, check_identity
from data_store.incoming.adoption import adopted_from
from data_store.layout import MARKER
from data_store.records import Withdrawal
from data_store.store import Store
from data_store.upkeep.upkeep import Collected, collect
from data_store.upkeep.withdrawals import Taint, names_in, readmit, taint_of, withdraw
from flows.orders import descendants, rerun_command
from flows.recipe.config import RunConfig
from flows.recipe.plan import Plan, build_plan, intakes_of, plan_today
from flows.recipe.table import STEPS
from flows.session import store_root, stored_config
from tasks.incoming.judged import Judged

PASSED_ON = {
    (step.name, role): output.passes_on
    for step in STEPS.values()
    for role, output in step.outputs.items()
    if output.passes_on
}
Key = tuple[str, str]


@dataclass(frozen=True)
class TaintedVersion:
    """A version that withdrawn rows reached. `rows` of them are in it, 0 where it was made from what holds them;
    `current`: some asset points to it now; `erased`: its content is gone."""

    run: str
    assets: tuple[str, ...]
    version: str
    rows: int
    why: str
    current: bool
    erased: bool


@dataclass(frozen=True)
class Reach:
    """What withdrawn rows reached in one run: versions old and current, the steps to redo and the commands for that.

    `left_behind` are tainted assets that today's config does not make, so that no command redoes them.
    """

    run: str
    versions: tuple[TaintedVersion, ...]
    steps: tuple[Key, ...]
    commands: tuple[str, ...]
    left_behind: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def taint_today(store: Store, seen: frozenset[str] = frozenset()) -> Taint:
    """What all withdrawn rows reached in this store, those among them that another run withdrew after this one took its
    picks. While the other run's store is gone, what it withdrew cannot be known."""
    seen |= {store.root.name}
    there: dict[str, Taint] = {}
    for run in adopted_from(store):
        root = store.root.parent / run
        if run not in seen and (root / MARKER).is_file():
            check_identity(root)
            there[run] = taint_today(Store.open(root), seen)
    return taint_of(store, store.withdrawals(), PASSED_ON, _taken(store, there))


def _taken(store: Store, there: Mapping[str, Taint]) -> dict[str, str]:
    """Versions that this store took from other runs and that are tainted there, with why."""
    return {
        version: f"was taken from run {run}, where it is tainted"
        for run, versions in adopted_from(store).items()
        for version in versions
        if run in there and version in there[run].versions
    }


def tainted_cells(store: Store, plan: Plan, taint: Taint) -> dict[Key, str]:
    """The steps of the plan whose present outputs are tainted, with why."""
    heads = store.heads()
    found: dict[Key, str] = {}
    for key, call in plan.items():
        for asset in call.outputs.values():
            head = heads.get(asset)
            if head is not None and head.run_id is not None and (head.run_id, head.version_id) in taint.made:
                found.setdefault(key, taint.made[head.run_id, head.version_id])
    return found


def redo_commands(plan: Plan, keys: Iterable[Key], run: str) -> tuple[str, ...]:
    """The fewest commands that redo these steps and all that they feed."""
    wanted, covered, commands = set(keys), set[Key](), []
    for key in plan:
        if key in wanted and key not in covered:
            covered |= {key, *descendants(plan, *key)}
            commands.append(rerun_command(*key, run, downstream=True))
    return tuple(commands)


def reach(config: RunConfig, store: Store, taint: Taint) -> Reach:
    """What these withdrawn rows reached in a run."""
    plan = plan_today(config, store)
    cells = tainted_cells(store, plan, taint)
    made = {asset for call in plan.values() for asset in call.outputs.values()}
    heads = store.heads()
    behind = sorted(
        str(asset)
        for asset, head in heads.items()
        if head.run_id is not None and asset not in made and (head.run_id, head.version_id) in taint.made
    )
    versions = _versions(store, taint, config.name)
    return Reach(config.name, versions, tuple(cells), redo_commands(plan, cells, config.name), tuple(behind))


def reaches(config: RunConfig, store: Store, withdrawal: Withdrawal) -> list[Reach]:
    """What the rows of one withdrawal, made or not, reached in this run and then in the runs that took its picks."""
    there = {config.name: taint_of(store, [withdrawal], PASSED_ON, {})}
    found = [reach(config, store, there[config.name])]
    waiting = [config.name]
    while waiting:
        run = waiting.pop(0)
        for place in sorted(store.root.parent.glob(f"*/{CONFIG_FILE}")):
            name = place.parent.name
            if name in there:
                continue
            other = Store.open(place.parent)
            if run not in adopted_from(other):
                continue
            check_identity(place.parent)
            taint = taint_of(other, (), PASSED_ON, _taken(other, there))
            if taint.versions:
                there[name] = taint
                found.append(reach(stored_config(name), other, taint))
                waiting.append(name)
    return found


def _versions(store: Store, taint: Taint, run: str) -> tuple[TaintedVersion, ...]:
    names: dict[str, list[str]] = {}
    for version_id, asset in store.catalog.read("SELECT DISTINCT version_id, asset_id FROM head ORDER BY asset_id"):
        names.setdefault(version_id, []).append(asset)
    gone = {
        version for (version,) in store.catalog.read("SELECT DISTINCT version_id FROM current_object WHERE is_retired")
    }
    current = {head.version_id for head in store.heads().values()}
    return tuple(
        TaintedVersion(
            run, tuple(names[version]), version, taint.rows.get(version, 0), why, version in current, version in gone
        )
        for version, why in sorted(taint.versions.items(), key=lambda item: (names.get(item[0], []), item[0]))
        if version in names
    )


def check_known(config: RunConfig, store: Store, what: str, name: str) -> None:
    """Raises InputError for an annotator or a source of which there is nothing, naming those there are."""
    if any(each.step.takes_in(each.config, each.files, what, name) for each in plan_today(config, store).values()):
        return
    known = names_in(store, what)
    if what == "annotator" and (store.root / BOOK_FILE).exists():
        book = Book.open(store.root)
        try:
            known = sorted({*known, *(each.name for each in annotators(book))})
        finally:
            book.close()
    if not any(each == name or (what == "source" and each.endswith(f"/{name}")) for each in known):
        listed = f"{', '.join(known) or 'none'}{did_you_mean(name, known)}"
        raise InputError(f"run {config.name} has nothing of {what} {name!r}; it has: {listed}")


def set_withdrawal(store: Store, what: str, name: str, reason: str) -> None:
    """Withdraw, and hand over what people judged anew."""
    withdraw(store, what, name, reason)
    hand_over_again(store)


def take_back(
    config: RunConfig, store: Store, withdrawal: Withdrawal, reason: str, *, dry_run: bool
) -> tuple[str, ...]:
    """Undo a withdrawal; gives the commands that bring its rows back. With `dry_run` only these."""
    held = store.withdrawals()
    today = plan_today(config, store)
    others = [each for each in held if each.seq != withdrawal.seq]
    without = build_plan(config, store.overrides(), others, intakes_of(store))
    again = {key for key in today if today[key].recipe() != without[key].recipe()}
    if withdrawal.what == "annotator":
        rows = taint_of(store, [withdrawal], PASSED_ON, {}).rows
        for key, call in today.items():
            again |= {key for each in call.of(Judged) if _judged(store, call.part, each) & set(rows)}
    if not dry_run:
        readmit(store, withdrawal.what, withdrawal.name, reason)
        hand_over_again(store)
    return redo_commands(today, again, config.name)


def _judged(store: Store, part: str, judged: Judged) -> set[str]:
    """The versions that people's judgements of these pairs ever were."""
    head = store.head(judged.pairs)
    return set() if head is None else {each.version_id for each in store.history(judged.source(part, head.version_id))}


def erase(found: Collection[Reach], withdrawal: Withdrawal, *, dry_run: bool) -> dict[str, Collected]:
    """Remove the content of every version that withdrawn rows reached, by run. What the catalog knows of them stays.

    Raises InputError while something current is tainted, naming the commands.
    """
    commands = [command for each in found for command in each.commands]
    if commands:
        raise InputError(f"something current is still tainted; first: {'; '.join(commands)}")
    for each in found:
        held = sorted({name for version in each.versions if version.current for name in version.assets})
        if held:
            raise InputError(
                f"run {each.run}: {', '.join(held)} still points to withdrawn rows, and today's config does not make it"
            )
    done = {}
    for each in found:
        going = {version.version: f"erased: {withdrawal}" for version in each.versions if not version.erased}
        done[each.run] = collect(Store.open(store_root(each.run)), dry_run=dry_run, erased=going)
    return done
