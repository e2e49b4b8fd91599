"""docs/extend.md is true: its blocks, applied to a copy of the tree, make a new kind of everything that there are kinds
of, and each is used. One run of the recipe in the copy uses them all."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.recipe_runs import POCKET, ROOT

PAGE = (ROOT / "docs" / "extend.md").read_text()
PACKAGES = ("flows", "tasks", "models", "data_store", "world", "web", "tests")
MOST_FILES = {
    "A step": 3,
    "A final stage": 5,
    "A judge": 2,
    "A preference format": 2,
    "A filter": 2,
    "An evaluation": 2,
    "A kind of outside input": 3,
}
_BLOCK = re.compile(
    r"^`(?P<file>\S+)`, (?P<how>new|below|in the place of)(?: `(?P<line>[^\n]*)`)?:\n\n```\w+\n(?P<text>.*?)```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of the page: the text of a new file, or lines below or in the place of one line of a file."""

    file: str
    how: str
    line: str | None
    text: str

    def apply(self, tree: Path) -> None:
        """Change a copy of the tree."""
        path = tree / self.file
        if self.line is None:
            assert self.how == "new", self
            assert not path.exists(), f"{self.file} is there already"
            path.write_text(self.text)
            return
        lines = path.read_text().splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if self.line in line]
        assert len(found) == 1, f"{self.file} has {len(found)} lines with {self.line!r}"
        added = [line.removeprefix("+") for line in self.text.splitlines(keepends=True)]
        lines[found[0] : found[0] + 1] = [*([] if self.how == "in the place of" else [lines[found[0]]]), *added]
        path.write_text("".join(lines))


def recipes() -> dict[str, list[Block]]:
    """The blocks under each heading."""
    _, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return {
        section.partition("\n")[0]: [Block(**match.groupdict()) for match in _BLOCK.finditer(section)]
        for section in sections
    }


RECIPES = recipes()


def copied(folder: Path) -> Path:
    """The packages of the project in a folder."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def python(tree: Path, *arguments: str, home: Path | None = None) -> str:
    """What a Python that loads the project from the tree prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment = {**kept, "PYTHONPATH": str(tree), "HALTER_HOME": str(home or tree / "home")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{arguments}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def asked(tree: Path, code: str) -> Any:
    """What a piece of code in the tree prints as JSON."""
    return json.loads(python(tree, "-c", code))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all the recipes applied."""
    tree = copied(tmp_path_factory.mktemp("extended"))
    for blocks in RECIPES.values():
        for block in blocks:
            block.apply(tree)
    return tree


def test_every_block_of_the_page_is_applied_by_this_test() -> None:
    assert set(RECIPES) == set(MOST_FILES)
    assert sum(map(len, RECIPES.values())) == PAGE.count("```") // 2


@pytest.mark.parametrize("name", MOST_FILES)
def test_a_new_kind_touches_no_more_files_than_this(name: str) -> None:
    files = {block.file for block in RECIPES[name]}
    assert 2 <= len(files) <= MOST_FILES[name], files


@pytest.mark.slow
@pytest.mark.parametrize("name", MOST_FILES)
def test_each_recipe_is_complete_without_the_others(tmp_path: Path, name: str) -> None:
    tree = copied(tmp_path)
    for block in RECIPES[name]:
        block.apply(tree)
    assert asked(tree, "from flows.recipe.table import STEPS; import json; print(json.dumps(len(STEPS)))") >= 19


def test_what_the_blocks_make_passes_the_checks_of_the_project(extended: Path) -> None:
    files = sorted({block.file for blocks in RECIPES.values() for block in blocks})
    python(extended, "-m", "ruff", "check", "--no-cache", *files)
    python(extended, "-m", "ruff", "format", "--check", "--no-cache", *files)


@pytest.mark.slow
def test_the_new_filter_counts_its_reason(extended: Path) -> None:
    code = """
import json
import pyarrow as pa
from data_store.corpus.filtering import filter_documents
from data_store.corpus.registry import FilterConfig
from data_store.rows import row_kind
texts = ["a plain sentence that is always kept here", "THIS IS WHAT NOBODY WANTS TO READ IN A CORPUS"]
table = pa.table([["a", "b"], ["a", "b"], texts], schema=row_kind("document").schema)
print(json.dumps(filter_documents(table.to_batches(), FilterConfig(), lambda kept, dropped: None).dropped))
"""
    assert {reason: count for reason, count in asked(extended, code).items() if count} == {"shouting": 1}


@pytest.mark.slow
def test_the_new_format_is_recognised_and_its_votes_are_read(extended: Path, tmp_path: Path) -> None:
    answers = {"orig_instruction": "hello?", "orig_response_A": "hi", "orig_response_B": "no", "output": "…"}
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps({**answers, "orig_preference": who}) + "\n" for who in ("B", "TIE")))
    code = f"""
import json
from pathlib import Path
from data_store.reading.preference_readers import read_preferences
read = read_preferences([Path({str(file)!r})])
print(json.dumps([read.rows.to_pylist(), read.refused.to_pylist()]))
"""
    (row,), (refused,) = asked(extended, code)
    assert (row["response_a"], row["response_b"], row["chosen"]) == ("hi", "no", "b")
    assert (row["annotator"], refused["reason"]) == ("import:prometheus", "tie")


@pytest.mark.slow
def test_the_new_outside_input_is_what_the_first_run_that_has_it_offers(extended: Path, tmp_path: Path) -> None:
    code = f"""
import json
from pathlib import Path
from data_store.names import AssetName
from data_store.store import Store
from tasks.incoming.first_offered import FirstOffered
from tasks.engine.reading import Reading
from tests.data_store.store_bench import Bench
home, picks = Path({str(tmp_path)!r}), AssetName("dataset", "picks", "V1")
runs = {{name: Bench(Store.open(home / name), home / "work" / name) for name in ("here", "empty", "full")}}
made = runs["full"].store.publish("dataset", runs["full"].documents("one"), row_kind="document")
runs["full"].run("write", {{str(picks): made}})
here = runs["here"].store
at = Reading(here, here.heads(), "V1", "fine_tune", "picks", 0)
incoming = FirstOffered(("empty", "full"), picks)
looked, read = incoming.look(at), incoming.resolve(at)
print(json.dumps([looked.version_id, read.version_id, made.version_id, str(read.asset)]))
"""
    looked, read, made, asset = asked(extended, code)
    assert looked == read == made
    assert asset == "source/full-picks-v1@external"


@pytest.mark.slow
def test_the_new_outside_input_stands_in_the_plan_where_the_config_asks_for_it(extended: Path) -> None:
    content = {**yaml.safe_load(POCKET), "gatt": None, "final_stage": "none"}
    plans = []
    for distill in ({"run": "big"}, {"run": "big", "otherwise": ["bigger"]}):
        code = f"""
import json
from flows.recipe.config import RunConfig
from flows.recipe.plan import build_plan
config = RunConfig.model_validate(json.loads({json.dumps(json.dumps({**content, "distill": distill}))}))
print(json.dumps(list(map(str, build_plan(config)["V1", "fine_tune"].inputs["picks"]))))
"""
        plans.append(asked(extended, code))
    assert plans == [["adopted big dataset/picks@V1"], ["first offered of big, bigger dataset/picks@V1"]]


@pytest.mark.slow  # a whole run of the recipe
def test_one_run_uses_the_new_step_stage_judge_filter_and_evaluation(extended: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(POCKET)
    content |= {"iterations": 1, "final_stage": "average", "gatt": None, "count_words": {"min_letters": 2}}
    content["collect"] |= {"judge": {"longer": {}}, "sources": {"simulated": 0.5, "lm": 0.5}}
    config = tmp_path / "pocket.yaml"
    config.write_text(yaml.safe_dump(content))
    home = tmp_path / "home"

    def halter(*arguments: str) -> str:
        return python(extended, "-m", "flows.cli", *arguments, home=home)

    def rows(sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(halter("query", "--json", sql))["rows"]
        return found

    halter("run", str(config))
    states = {(cell["part"], cell["step"]): cell["state"] for cell in json.loads(halter("status", "--json"))["steps"]}
    assert states["base", "count_words"] == states["V1", "average"] == states["V1", "judge_pairs"] == "fresh"
    metrics = {
        (row["part"], row["step"], row["name"]): row["value"]
        for row in rows("SELECT part, step, name, value FROM metrics WHERE name IN ('repetition', 'dropped/shouting')")
    }
    assert set(metrics) == {
        ("base", "filter_corpus", "dropped/shouting"),
        *((part, "evaluate", "repetition") for part in ("V0", "V1")),
        ("V1", "evaluate_sampled", "repetition"),
    }
    judges = {row["annotator"] for row in rows("SELECT DISTINCT annotator FROM preferences")}
    assert judges == {"simulated:little-world", "lm:longer"}
    lineage = halter("lineage", "model/policy@V1", "--depth", "1")
    assert "average" in lineage
    assert "model/policy@V0" in lineage
    assert "dataset/corpus@base" in halter("lineage", "report/word-counts@base")
