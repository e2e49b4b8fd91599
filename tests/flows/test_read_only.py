"""A store that cannot be written to is read by every command that reads, and the others say why they do not work."""

import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_store.annotation.book import Book
from data_store.annotation.people import annotators
from data_store.catalog import events
from data_store.store import Store
from flows.cli import app
from flows.session import remember, store_root
from tests.data_store.store_bench import Bench
from tests.data_store.upkeep.test_withdrawals import judgements
from tests.flows.read_only_bench import CANNOT
from tests.flows.recipe_runs import POCKET, ROOT
from tests.flows.test_identity import contents, named
from tests.reference import commands

READERS = {
    "status": "status --json",
    "lineage": "lineage model/policy@V1 --json",
    "plan": "plan OUT/pocket.yaml --hardware a100 --json",
    "query": "query|SELECT annotator, count(*) FROM preferences GROUP BY 1 ORDER BY 1|--json",
    "report": "report --out OUT/report.html --json",
    "diff": "diff V0 V1 --json",
    "stale": "stale --json",
    "verify": "verify --json",
    "gc": "gc --json --keep-versions 0 --keep-days 0",
    "withdrawals": "withdrawals --json",
    "annotators list": "annotators list --json",
    "red-team status": "red-team status --json",
    "preferences export": "preferences export OUT/preferences.parquet --format datasets --json",
    "export parquet": "export parquet OUT/tables --json",
    "export openlineage": "export openlineage OUT/lineage.jsonl --json",
    "chat": "chat V9",
    "export model": "export model model/policy@V1 OUT/model --json",
    "export dataset": "export dataset dataset/preferences@V1 OUT/pairs --json",
    "backup": "backup OUT/backup --json",
    "withdraw annotator": "withdraw annotator ben --dry-run --json",
    "withdraw source": "withdraw source prompts.jsonl --dry-run --json",
}
WRITERS = {
    "run": "run OUT/pocket.yaml",
    "study": "study OUT/pocket.yaml --vary reward.margins=none",
    "rerun": "rerun V1 evaluate",
    "serve": "serve",
    "annotate": "annotate",
    "annotators add": "annotators add zoe",
    "annotators disable": "annotators disable anna",
    "repair": "repair",
    "gc": "gc --delete",
    "restore": "restore OUT/backup --as new",
    "rename": "rename pocket new",
    "move-store": "move-store pocket --journal here",
    "join-store": "join-store OUT/pocket.yaml --journal postgresql://host/database",
    "import": "import OUT/backup",
    "withdraw annotator": "withdraw annotator ben --reason asked",
    "withdraw source": "withdraw source prompts.jsonl --reason asked",
    "red-team open": "red-team open --against model/policy@V1",
    "red-team close": "red-team close session",
}
LACKS_PYTHON = (0, "", "who runs this may not start this Python")  # what the bench says of commands that start one
MOMENT = re.compile(r'"at": ".*"')  # that of a withdrawal that is only tried
Run = Callable[[list[str]], list[tuple[int, str, str]]]


def words_of(text: str, out: Path) -> list[str]:
    return text.replace("OUT", str(out)).split("|" if "|" in text else None)


def make_home(home: Path, work: Path) -> None:
    """A run with a model, preferences, a withdrawal and an annotator. Its catalog is behind the journal, as where a
    leader was killed before its commit, and of its book the newest judgement is in the file beside it alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTER_HOME", str(home))
        remember(named("pocket"))
        bench = Bench(Store.open(store_root("pocket")), work)
        bench.run("collect_preferences", {"dataset/preferences@V1": judgements(bench, "anna", "ben", "ben")})
        bench.store.catalog.write(events.withdrawal_set("annotator", "anna", True, "asked", {}))
        catalog = store_root("pocket") / "catalog.duckdb"
        shutil.copyfile(catalog, work / "catalog.duckdb")
        bench.run("fine_tune", {"model/policy@V1": "weights"}, ("dataset/preferences@V1",))
        shutil.copyfile(work / "catalog.duckdb", catalog)
        killed = (
            "import os, sys; from pathlib import Path; from data_store.annotation.book import Book\n"
            "from data_store.annotation.people import add_annotator\n"
            "book = Book.open(Path(sys.argv[1])); add_annotator(book, 'anna'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", killed, store_root("pocket")], cwd=ROOT, check=True)
        (store_root("pocket") / "annotation.sqlite-shm").unlink()
        assert (store_root("pocket") / "annotation.sqlite-wal").stat().st_size > 0


@pytest.fixture(params=["mounted", "nobody"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Path, Run]]:
    """A folder with the home, which others may read, and how commands are run there without the right to write."""
    folder = Path(tempfile.mkdtemp(prefix="halter-test-"))
    folder.chmod(0o755)
    out = folder / "out"
    out.mkdir()
    out.chmod(0o777)
    (folder / "work").mkdir()
    (out / "pocket.yaml").write_text(POCKET)
    make_home(folder / "home", folder / "work")
    how = request.param
    namespace = ["unshare", "--user", "--map-root-user", "--mount"] if how == "mounted" else []

    def run(lines: list[str]) -> list[tuple[int, str, str]]:
        done = subprocess.run(
            [*namespace, sys.executable, "-m", "tests.flows.read_only_bench", how],
            input=json.dumps([words_of(line, out) for line in lines]),
            cwd=ROOT,
            env={**os.environ, "HALTER_HOME": str(folder / "home"), "TMPDIR": str(out), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode == CANNOT or "unshare" in done.stderr:
            pytest.skip(f"this machine lets nobody give up the right to write ({how})")
        assert done.returncode == 0, done.stderr
        return [(code, said, errors) for code, said, errors in json.loads(done.stdout)]

    yield folder, run
    shutil.rmtree(folder)


@pytest.mark.slow
def test_what_reads_answers_as_it_does_on_a_store_that_can_be_written_to(place: tuple[Path, Run]) -> None:
    folder, run = place
    shutil.copytree(folder / "home", folder / "twin")
    before = contents(folder / "home")
    told = dict(zip(READERS, run(list(READERS.values())), strict=True))
    assert contents(folder / "home") == before
    written = sorted(path.name for path in (folder / "out").iterdir())
    made = ["backup", "lineage.jsonl", "pairs", "pocket.yaml", "preferences.parquet", "report.html", "tables"]
    assert written == made, "no folder is left over"
    (folder / "again").mkdir()
    shutil.copy(folder / "out" / "pocket.yaml", folder / "again")
    for command, line in READERS.items():
        if told[command] == LACKS_PYTHON:
            continue
        words = words_of(line, folder / "again")
        expected = CliRunner().invoke(app, words, env={"HALTER_HOME": str(folder / "twin")})
        code, said, errors = told[command]
        assert (code, errors) == (expected.exit_code, expected.stderr.replace("twin", "home")), command
        if command not in ("backup", "gc"):  # a copy has other files, and nothing is left to catch up with
            there = expected.stdout.replace("/twin", "/home").replace("/again", "/out")
            assert MOMENT.sub("", said) == MOMENT.sub("", there), command
    if told["query"] != LACKS_PYTHON:
        assert json.loads(told["query"][1])["rows"] == [
            {"annotator": "anna", "count_star()": 1},
            {"annotator": "ben", "count_star()": 2},
        ]
    assert json.loads(told["verify"][1])["sound"]
    assert [run["step"] for run in json.loads(told["lineage"][1])["runs"]] == ["fine_tune", "collect_preferences"]
    assert [one["name"] for one in json.loads(told["annotators list"][1])["annotators"]] == ["anna"]
    people = annotators(Book.open(folder / "out" / "backup"))
    assert [one.name for one in people] == ["anna"], "who was entered last is in the backup"
    assert Store.open(folder / "out" / "backup").heads() == Store.open(folder / "twin" / "pocket").heads()


@pytest.mark.slow
def test_what_writes_says_that_it_cannot_before_it_has_done_anything(place: tuple[Path, Run]) -> None:
    folder, run = place
    CliRunner().invoke(app, ["backup", str(folder / "out" / "backup")], env={"HALTER_HOME": str(folder / "home")})
    gc.collect()  # closes the book
    before = contents(folder / "home")
    for (command, line), (code, _, errors) in zip(WRITERS.items(), run(list(WRITERS.values())), strict=True):
        assert code == 2, (line, errors)
        assert "cannot be written to (it is mounted read-only, or you lack the right)" in errors, command
    assert contents(folder / "home") == before


def test_every_command_is_known_to_read_or_to_write() -> None:
    elsewhere = {"deploy"}  # it writes to a Prefect server alone
    assert {name for name, _ in commands()} == {*READERS, *WRITERS, *elsewhere}
