"""A store on a disk that is mounted read-only is read as it is, in whatever state it was left."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from data_store.catalog import events
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.read_only import check_writable, is_read_only
from data_store.store import Store
from tests.data_store.store_bench import Bench

ROOT = Path(__file__).resolve().parents[2]
CANNOT = 77
ROWS = AssetName("dataset", "documents", "base")
# As root of a namespace: mounts the folder of stores read-only, reads each, and prints what it found as JSON.
READ = f"""
import json, subprocess, sys, tempfile
from pathlib import Path
from data_store.errors import InputError
from data_store.names import AssetName
from data_store.store import Store
from data_store.upkeep.verification import verify

folder = Path(sys.argv[1])
for words in (["--bind", folder, folder], ["-o", "remount,ro,bind", folder]):
    if subprocess.run(["mount", *words], capture_output=True).returncode:
        sys.exit({CANNOT})
told = {{}}
for root in sorted(folder.iterdir()):
    store = Store.open(root)
    heads = {{str(asset): head.version_id for asset, head in store.heads().items()}}
    again = Store(root)
    rows = again.rows(heads["{ROWS}"]).num_rows, len(again.dataset(heads["{ROWS}"]))
    files = sorted(path.name for path in store.checkout(heads["model/policy@V1"]).iterdir())
    try:
        store.set_override("V1", "sft", "sft.epochs", 2)
        refused = None
    except InputError as error:
        refused = str(error)
    laid_out = len(list(Path(tempfile.gettempdir()).glob("halter-*")))
    told[root.name] = [heads, rows, files, len(store.overrides()), list(verify(store).problems), refused, laid_out]
print(json.dumps(told))
"""


def read_mounted(folder: Path, scratch: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", READ, folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
    )
    if done.returncode == CANNOT or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount a folder in a namespace of their own")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_a_store_on_a_disk_that_is_mounted_read_only_is_read_in_every_state(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a folder without being root")
    stores = tmp_path / "stores"
    bench = Bench(Store.open(stores / "sound"), tmp_path / "work")
    documents = bench.store.publish("dataset", bench.documents("one", "two"), row_kind="document")
    bench.run("import_data", {str(ROWS): documents})
    catalog = stores / "sound" / "catalog.duckdb"
    shutil.copyfile(catalog, tmp_path / "earlier")
    bench.run("sft", {"model/policy@V1": "weights"})
    expected = {str(asset): head.version_id for asset, head in bench.store.heads().items()}
    assert len(expected) == 2
    for state in ("behind", "missing", "damaged", "newer", "waiting"):
        shutil.copytree(stores / "sound", stores / state)
    shutil.copyfile(tmp_path / "earlier", stores / "behind" / "catalog.duckdb")
    (stores / "missing" / "catalog.duckdb").unlink()
    (stores / "damaged" / "catalog.duckdb").write_bytes(catalog.read_bytes()[:5000])
    with duckdb.connect(str(stores / "newer" / "catalog.duckdb")) as connection:
        connection.execute("INSERT INTO migration VALUES (999, 'of a later halter', now()::TIMESTAMP)")
    waiting = Store(stores / "waiting").catalog.journal.submit(events.override_set("V1", "sft", "sft.epochs", "3"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    told = read_mounted(stores, scratch)
    assert sorted(told) == ["behind", "damaged", "missing", "newer", "sound", "waiting"]
    for state, (heads, rows, files, overrides, problems, refused, laid_out) in told.items():
        assert (heads, rows, files, problems) == (expected, [2, 2], ["weights"], []), state
        assert overrides == 0, "what waits was not acknowledged, and is left to who can write"
        assert f"{stores / state} cannot be written to" in refused
        assert laid_out > 0
    assert waiting.exists()
    assert list(scratch.iterdir()) == [], "what was laid out is gone with the process"


def test_a_store_that_can_be_written_to_is_not_taken_for_one_that_cannot(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    assert not is_read_only(store.root)
    assert not is_read_only(tmp_path / "not there yet")
    check_writable(store.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write whatever the mode says")
def test_a_folder_without_the_right_to_write_is_said_to_be_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    (store.root / "spool").chmod(0o555)
    with pytest.raises(InputError, match="cannot be written to"):
        check_writable(store.root)
