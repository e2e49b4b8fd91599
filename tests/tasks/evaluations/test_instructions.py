"""Whether instructions are kept turn by turn: a policy whose memory is known, asked as a real one is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data_store.estimate import Estimate
from models.checkpoint import load_policy
from models.config import SamplingConfig
from tasks.answers import Drawn, open_renderer
from tasks.estimates import rate_of
from tasks.evaluations import instructions as under_test
from tasks.evaluations.evaluation import Subject
from tasks.evaluations.instructions import CHECKS, Instructions
from tasks.evaluations.registry import EvaluateConfig
from tests.tasks.bench import step_run
from tests.tasks.little_policy import WORDS, little_policy
from world.annotator import Annotator
from world.content import World

GRASS = {"contains": ["grass"]}


def instruction(number: int, text: str, split: str = "train", check: dict[str, Any] | None = GRASS) -> dict[str, Any]:
    return {
        "instruction_id": f"i{number}",
        "source": "a.jsonl:1",
        "text": text,
        "short": text,
        "kind": "import",
        "split": split,
        "check": None if check is None else json.dumps(check),
    }


def prompt(number: int) -> dict[str, Any]:
    return {
        "prompt_id": f"p{number}",
        "source": "p.jsonl:1",
        "kind": "import",
        "axis": "helpfulness",
        "split": "heldout",
        "messages": [{"role": "user", "content": f"{WORDS.split()[number]} ?"}],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return little_policy(tmp_path_factory.mktemp("policy"))


def subject(work: Path, folder: Path, rows: list[dict[str, Any]], annotator: Annotator | None = None) -> Subject:
    inputs = {"instructions": ("instruction", rows), "prompts": ("prompt", [prompt(n) for n in range(12)])}
    policy, renderer = load_policy(folder, None), open_renderer(folder)
    return Subject(step_run(work, inputs=inputs), policy, renderer, None, annotator, [], [], {})


def config(**values: Any) -> EvaluateConfig:
    sampling = SamplingConfig(max_new_tokens=4)
    return EvaluateConfig.model_validate(
        {"instruction_dialogues": 4, "instruction_turns": 3, "sampling": sampling, **values}
    )


def remembering(turns: int) -> Any:
    """A policy that says «grass» where an instruction stands in one of the last `turns` turns of the user."""

    def draw(_policy: Any, _renderer: Any, dialogues: Sequence[list[dict[str, str]]], *_: Any, **__: Any) -> Any:
        found = []
        for dialogue in dialogues:
            asked = [message["content"] for message in dialogue if message["role"] == "user"][-turns:]
            text = "green grass" if any("instruction" in each for each in asked) else "llama"
            found.append([Drawn(text, [1], True, "t", "by hand")])
        return found

    return draw


@pytest.mark.conformance(
    "an instruction that is kept because the judge says so", equation="tasks.evaluations.instructions:Instructions"
)
def test_each_turn_is_counted_by_itself_and_a_reminder_shows_what_was_forgotten(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "draw", remembering(2))
    rows = [
        instruction(1, "instruction one"),
        instruction(2, "instruction two", "heldout", {"lacks": ["grass"]}),
        instruction(3, "nobody can tell", "train", None),
    ]
    of = subject(tmp_path, folder, rows)
    found = Instructions().measure(of, config(instruction_reminded=True))
    yes, no = rate_of([True] * 2, CHECKS), rate_of([False] * 2, CHECKS)
    by_turn = {name: value for name, value in found.items() if "turn_" in name and name.startswith("instruction/t")}
    assert [found[f"instruction/trained/turn_{turn}"] for turn in (1, 2, 3)] == [yes, yes, no]
    assert [found[f"instruction/held_out/turn_{turn}"] for turn in (1, 2, 3)] == [no, no, yes]
    assert found["instruction/trained/later_turns"] == rate_of([True, True, False, False], CHECKS)
    assert [found[f"instruction/trained/reminded/turn_{turn}"] for turn in (1, 2, 3)] == [yes] * 3
    assert [found[f"instruction/held_out/reminded/turn_{turn}"] for turn in (1, 2, 3)] == [no] * 3
    assert found["instruction/unchecked"] == 1
    assert "instruction/trained/turn_4" not in by_turn
    plain = Instructions().measure(of, config())
    assert plain == {name: value for name, value in found.items() if "reminded" not in name}
    known = {measure.name for measure in Instructions().metrics(config(instruction_reminded=True))}
    assert set(found) <= known


def test_dialogues_end_where_the_context_is_full_and_later_turns_are_of_fewer(tmp_path: Path, folder: Path) -> None:
    """A real policy: with instructions of two lengths, dialogues end at two turns."""
    long = "the llama eats green grass and never spits " * 2
    rows = [instruction(1, "be kind", check={"min_words": 1}), instruction(2, long, check={"min_words": 1})]
    found = Instructions().measure(
        subject(tmp_path, folder, rows), config(instruction_dialogues=8, instruction_turns=12)
    )
    counts = [found[name].n for turn in range(1, 13) if (name := f"instruction/trained/turn_{turn}") in found]  # type: ignore[union-attr]
    assert counts[0] == 4
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 4 or len(counts) < 12


def test_the_annotator_tells_of_its_world_and_a_check_goes_before_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "draw", remembering(9))
    annotator = Annotator(World(1))
    rows = [
        instruction(1, "end every answer with grass. instruction", check=None),
        instruction(2, "instruction", "heldout"),
    ]
    found = Instructions().measure(subject(tmp_path, folder, rows, annotator), config())
    trained, held_out = found["instruction/trained/turn_1"], found["instruction/held_out/turn_1"]
    assert isinstance(trained, Estimate)
    assert isinstance(held_out, Estimate)
    assert (trained.value, trained.judge) == (1.0, annotator.name)
    assert (held_out.value, held_out.judge) == (1.0, CHECKS)
    both = found["instruction/turn_4"]
    assert isinstance(both, Estimate)
    assert both.judge == f"{annotator.name} and {CHECKS}"
    assert found["instruction/unchecked"] == 0


def test_where_nobody_can_tell_nothing_is_asked(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "draw", None)
    rows = [instruction(1, "be kind", check=None), instruction(2, "be brief", "heldout", None)]
    assert Instructions().measure(subject(tmp_path, folder, rows), config()) == {"instruction/unchecked": 2}
