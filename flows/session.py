"""What a running flow works with: the store, the plan and the worker process, shared by the flows of one process."""

import fcntl
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_store.catalog.journals import journal_of
from data_store.closest import did_you_mean
from data_store.commands import halter, speak_of
from data_store.errors import InputError, StoreError
from data_store.figures import size
from data_store.files import atomic_write, write_all
from data_store.identity import CONFIG_FILE, CURRENT_FILE, check_identity, check_run_name, stores_of
from data_store.layout import prepare
from data_store.locks import LOCK_WAIT_SECONDS
from data_store.read_only import check_writable
from data_store.store import Store
from flows.energy import EnergyMeter, check_energy
from flows.gates import check_gates
from flows.recipe.config import RunConfig, dump_config, parse_config
from flows.recipe.plan import Plan, build_plan, intakes_of, parts_of, plan_today
from flows.recipe.table import STEPS
from flows.resources import check_resources
from flows.server.supervision import end_with
from flows.trackers import Trackers, check_trackers
from tasks.engine.alone import is_at_work
from tasks.engine.execute import adopt_inputs, check_inputs
from tasks.engine.on_ray.cluster import Clusters
from tasks.engine.processes import Workers

LOCK_FILE = "config.lock"
_SECONDS_TO_STOP = 20.0

Listener = Callable[[str, str, float, str], None]


class Session:
    """One named run at work. `on_progress(part, step, fraction, text)` hears of every step in this process; `taken_in`
    says what the recipe has taken in, where the config has it do so. `looked_at` are the steps whose files have been
    looked into (flows/data_look.py). `kin`: stores of other runs, whose finished steps
    this one takes over where it would compute the same."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.store = Store.open(store_root(config.name))
        self.store.source_hashes.on_large = _tell_of_reading
        self.workers = Workers(step.module for step in STEPS.values())
        self.clusters = Clusters()
        self.trackers = Trackers(config.trackers, config.name, self.store.root)
        self.energy = EnergyMeter(config.energy_country)
        self.listeners: list[Listener] = []
        self.taken_in = ""
        self.kin: tuple[Store, ...] = ()
        self._planned: tuple[int, Plan, list[str]] | None = None
        self.looked_at: set[tuple[str, str]] = set()

    @property
    def plan(self) -> Plan:
        """Today's plan; made anew when something has happened in the store."""
        return self._plan()[1]

    @property
    def parts(self) -> list[str]:
        """The iterations in force, V1 … Vn."""
        return self._plan()[2]

    def _plan(self) -> tuple[int, Plan, list[str]]:
        planned = self._planned
        if planned is None or not self.store.catalog.is_newest(planned[0]):
            with self.store.one_state():
                parts = parts_of(self.config, intakes_of(self.store))
                planned = self.store.catalog.seq(), plan_today(self.config, self.store), parts
            self._planned = planned
        return planned

    def remember(self) -> None:
        """Keep the config beside its store, as `remember` says; the plan is made of the same state of the catalog."""
        with self.store.one_state():
            remember(self.config, self.store)
            self._plan()

    def check(self, computed: Iterable[tuple[str, str]]) -> None:
        """Look what these steps, which are to be computed, will miss when their turn comes: InputError names it."""
        calls = [self.plan[place] for place in computed]
        anew = {asset for call in calls for asset in call.outputs.values()}
        heads = {asset: head for asset, head in self.store.heads().items() if asset not in anew}
        check_inputs(self.store, heads, calls)

    def adopt(self) -> None:
        """Copy what the plan takes from other runs, before anything is trained. Raises InputError for what they
        lack."""
        for call in self.plan.values():
            adopt_inputs(self.store, call)

    def heard(self, part: str, step: str, fraction: float, text: str) -> None:
        """Pass progress on."""
        for listener in self.listeners:
            listener(part, step, fraction, text)


def _tell_of_reading(path: Path, count: int) -> None:
    """A line for people who wait: a file outside the store is read whole."""
    sys.stderr.write(f"reading {path} ({size(count)}), which is new or has changed\n")


_lock = threading.Lock()
_open: dict[Path, tuple[Session, int]] = {}


@contextmanager
def session_of(config: RunConfig) -> Iterator[Session]:
    """The session of this run in this process; nested flows share it, the last one out ends the worker process."""
    root = store_root(config.name)
    speak_of(config.name)
    with _lock:
        if not _open and "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker started this process
            # Without that worker nobody could cancel it any more, and it would go on asking a server that may be gone.
            watch = (os.getppid(), signal.SIGTERM, _SECONDS_TO_STOP)
            threading.Thread(target=end_with, args=watch, daemon=True).start()
        session, users = _open.get(root) or (Session(config), 0)
        _open[root] = (session, users + 1)
    try:
        yield session
    except Exception:
        raise  # a step beside the one that failed comes to its end, so that its work is not lost
    except BaseException:  # Ctrl-C and cancellation reach this thread alone, and Prefect would wait for the others
        session.workers.stop()
        raise
    finally:
        with _lock:
            session, users = _open.pop(root)
            if users > 1:
                _open[root] = (session, users - 1)
        if users == 1:
            session.workers.close()
            session.clusters.close()
            session.energy.close()


@contextmanager
def sole_config(config: RunConfig) -> Iterator[None]:
    """Keep other configs of the same name off the store for the length of a run: they would move the heads that this
    one reads. Runs of the same config share it. Raises InputError where another one is at work."""
    mine = hashlib.sha256(dump_config(config).encode()).hexdigest()
    root = store_root(config.name)
    check_writable(root)
    prepare(root)
    lock = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            write_all(lock, mine.encode())
        except BlockingIOError:
            pass  # somebody is at work, or looks at this very moment
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.pread(lock, len(mine), 0).decode() != mine:
            raise InputError(
                f"another config is running under the name {config.name!r}: wait for its end, or give one of them "
                "another `name`"
            )
        with journal_of(root, LOCK_WAIT_SECONDS).others.of_one_config(mine) as is_alone:
            if not is_alone:
                raise InputError(
                    f"another config is running under the name {config.name!r} on another machine: wait for its end, "
                    "or give both the same"
                )
            yield
    finally:
        os.close(lock)


@contextmanager
def nobody_at_work(root: Path) -> Iterator[None]:
    """Keep runs off the store. Raises InputError where one is at work."""
    lock = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            store = Store(root)
            busy = any(is_at_work(store, run.run.fingerprint) for run in store.runs(state="running"))
        except BlockingIOError:
            busy = True
        if busy:
            raise InputError(f"a run is at work in {root}: wait for its end, or stop it")
        yield
    finally:
        os.close(lock)


def home() -> Path:
    """The folder that holds the stores of all runs: `$HALTER_HOME`, or `halter-store` in the working directory."""
    return Path(os.environ.get("HALTER_HOME", "halter-store")).absolute()


def store_root(name: str) -> Path:
    """The store of a named run. Raises InputError for what cannot be a name, and where another run's store lies."""
    try:
        root = home() / check_run_name(name)
    except InputError as error:
        if name == Path(name).name and (home() / name / CONFIG_FILE).is_file():  # made when more was allowed
            raise InputError(f"{error}. `{halter('rename', name, 'NAME')}` gives the one there another") from None
        raise
    check_identity(root)
    return root


def outside_home(target: Path) -> Path:
    """The place of something that is to be written. Raises InputError where it would overwrite, or be taken for, a part
    of a store."""
    if target.resolve().is_relative_to(home().resolve()):
        raise InputError(f"{target} lies in {home()}, where the stores of runs are; give a place elsewhere")
    return target


def remember(config: RunConfig, store: Store | None = None) -> None:
    """Keep the config beside its store, and make this run the one that other commands speak of. Raises InputError for
    what `check_fits` refuses."""
    root = store_root(config.name)
    speak_of(config.name)
    check_writable(root)
    check_fits(config, build_plan(config, intakes=intakes_of(store or Store.open(root))))
    atomic_write(root / CONFIG_FILE, dump_config(config))
    atomic_write(home() / CURRENT_FILE, config.name)


def check_fits(config: RunConfig, plan: Plan) -> None:
    """Raises InputError for gates and resources that the plan does not have, and for trackers, or meters of energy,
    that this machine does not have."""
    check_trackers(config.trackers)
    check_energy(config.energy_country)
    check_gates(config.gates, plan)
    check_resources(config.resources, plan)


def opened(name: str | None = None) -> tuple[RunConfig, Store]:
    """The config and the store of a named run, or of the last one. Raises InputError where there is none."""
    config = recall(name)
    return config, Store.open(store_root(config.name))


def recall(name: str | None = None) -> RunConfig:
    """The config of a named run, or of the last one; it is the one spoken of from now on. Raises InputError where there
    is none."""
    config = stored_config(_last() if name is None else name)
    speak_of(config.name)
    return config


def stored_config(name: str) -> RunConfig:
    """The config of a named run. Raises InputError where there is none."""
    file = store_root(name) / CONFIG_FILE
    try:
        return parse_config(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise InputError(f"there is no run {name!r} in {home()}; {_others(name)}") from None


def _last() -> str:
    """The name of the last run. Raises InputError where there was none, or its folder is gone."""
    try:
        name = _named_in(home() / CURRENT_FILE)
    except FileNotFoundError:
        start = halter("run", "configs/smoke.yaml")
        raise InputError(f"no run is known in {home()}: start one with `{start}`") from None
    if not (store_root(name) / CONFIG_FILE).exists():
        raise InputError(
            f"the last run was {name!r}, and it is no longer in {home()}: say with --run which one; {_others(name)}"
        )
    return name


def _others(name: str) -> str:
    """What there is in the place of a run that is not there."""
    known = sorted(path.parent.name for path in home().glob(f"*/{CONFIG_FILE}"))
    moved = [
        f"; {root.name} holds the store of {name}: `{halter('rename', root.name)}` makes {root.name} its name"
        for root in stores_of(home(), name)
    ]
    return f"there are: {', '.join(known) or 'none'}{''.join(moved) or did_you_mean(name, known)}"


def _named_in(file: Path) -> str:
    """The run that a file names, as one plain name. Raises StoreError for a file that is cut short or damaged."""
    content = file.read_bytes()
    try:
        name = content.decode().strip()
    except UnicodeDecodeError:
        name = ""
    if not name or name.startswith(".") or not name.isprintable() or "/" in name:
        raise StoreError(
            f"{file} is cut short or damaged: say with --run which run is meant, or start one with "
            f"`{halter('run', 'CONFIG')}`, which writes it anew"
        )
    return name
