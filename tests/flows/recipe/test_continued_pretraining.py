"""A base model that is pretrained on: where the recipe puts it, and what is refused before anything is done."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_store.errors import InputError
from flows.recipe.config import RunConfig
from flows.recipe.given_models import check_pieces
from flows.recipe.plan import Plan, build_plan, groups_of
from tests.flows.recipe.test_plan import imported, on_base, reads
from tests.flows.recipe.test_table import groups

MIX: dict[str, Any] = {
    "sources": [{"name": "korean", "files": ["ko*"], "weight": 1}, {"name": "old", "files": ["en*"], "weight": 0}]
}
TRAINING = {"sequence_length": 2048, "batch_size": 4, "max_steps": 8}


def going_on(folder: Path, **changes: Any) -> RunConfig:
    return on_base(folder, **{"mix": MIX, "pretrain": TRAINING, **changes})


def fingerprints(plan: Plan) -> dict[tuple[str, str], str]:
    return {key: call.fingerprint({}) for key, call in plan.items()}


def test_the_base_is_looked_at_first_and_what_follows_begins_with_what_was_trained(tmp_path: Path) -> None:
    plan = build_plan(going_on(tmp_path))
    assert groups(plan, "base") == [
        {"check_base"},
        {"import_data"},
        {"filter_corpus", "fit_context"},
        {"describe_corpus", "pretrain"},
    ]
    call = plan["base", "pretrain"]
    assert call.files == {"base": (tmp_path,), "tokenizer": (tmp_path,)}
    assert reads(plan, "base", "pretrain") == {
        "corpus": ["dataset/corpus@base"],
        "findings": ["dataset/base-findings@base"],
    }
    assert reads(plan, "V0", "sft")["base"] == ["model/base@base"]
    adapters = build_plan(going_on(tmp_path, lora={"rank": 4}))
    assert reads(adapters, "V1", "fine_tune")["base"] == ["model/base@base"], "adapters stand on what was trained"
    for step in ("fit_context", "describe_corpus"):
        assert plan["base", step].files == {"tokenizer": (tmp_path,)}, "ids are the base's own"


def test_without_iterations_and_demonstrations_it_ends_with_the_pretrained_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    alone = {"data": {"documents": ["/data/ko.jsonl"]}, "base_model": str(tmp_path), "mix": MIX, "pretrain": TRAINING}
    plan = build_plan(RunConfig.model_validate({"name": "korean", "iterations": 0, **alone}))
    assert [step for _, step in plan] == ["check_base", "import_data", "filter_corpus", "describe_corpus", "pretrain"]
    assert groups_of(plan, "V0") == []


def test_neither_a_base_as_it_is_nor_a_model_from_nothing_knows_of_it(tmp_path: Path) -> None:
    """The shape of a model from nothing decides nothing of one that goes on, and the other way round."""
    as_it_is = build_plan(on_base(tmp_path))
    assert not {"filter_corpus", "train_tokenizer", "pretrain"} & {step for _, step in as_it_is}
    from_nothing = build_plan(imported(mix=MIX))["base", "pretrain"]
    assert "base" not in from_nothing.inputs
    assert "findings" not in from_nothing.inputs
    other = {"model": {"preset": "llama2-7b"}}
    assert fingerprints(build_plan(going_on(tmp_path, **other))) == fingerprints(build_plan(going_on(tmp_path)))


def test_rows_longer_than_the_base_reads_are_refused_with_the_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain\.sequence_length 4096 exceeds the 2048 tokens that base_model"):
        build_plan(going_on(tmp_path, pretrain={"sequence_length": 4096}))


def test_a_mix_for_a_base_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"data\.documents is empty, and mix says that base_model is pretrained"):
        going_on(tmp_path, data={"demonstrations": ["/d.jsonl"]}, iterations=0)


PIECES = {"pieces": 100, "sources": ["korean"]}


def test_new_pieces_are_learned_before_anything_is_cut_into_tokens(tmp_path: Path) -> None:
    plan = build_plan(going_on(tmp_path, extend_tokenizer=PIECES))
    assert groups(plan, "base") == [
        {"check_base"},
        {"import_data"},
        {"filter_corpus"},
        {"extend_tokenizer"},
        {"fit_context", "describe_corpus"},
        {"pretrain"},
    ]
    call = plan["base", "extend_tokenizer"]
    assert call.files == {"tokenizer": (tmp_path,)}
    assert {"vocab_size", "tokens_per_character/korean", "changed_share/old"} <= set(call.metrics)
    assert reads(plan, "base", "pretrain")["tokenizer"] == ["tokenizer/tokenizer@base"]
    assert plan["base", "pretrain"].files == {"base": (tmp_path,)}
    told = {"heldout_loss_per_character/old", "heldout_loss_before_per_character/korean"}
    assert told <= set(plan["base", "pretrain"].metrics)
    assert not told & set(build_plan(going_on(tmp_path))["base", "pretrain"].metrics)
    heavier = {"sources": [{**MIX["sources"][0], "weight": 5}, MIX["sources"][1]]}
    again = build_plan(going_on(tmp_path, extend_tokenizer=PIECES, mix=heavier))
    assert again["base", "extend_tokenizer"].fingerprint({}) == call.fingerprint({}), "weights teach no pieces"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mix": None}, "extend_tokenizer is for a base model that is pretrained on: give base_model and mix"),
        ({"base_model": None}, "extend_tokenizer is for a base model that is pretrained on: give base_model and mix"),
        (
            {"extend_tokenizer": {"pieces": 9, "sources": ["web"]}},
            r"extend_tokenizer\.sources: the mix has no web; it has korean, old",
        ),
        ({"extend_tokenizer": {"pieces": 0, "sources": ["korean"]}}, "greater than or equal to 1"),
    ],
)
def test_new_pieces_for_nothing_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = {"base_model": str(tmp_path), "mix": MIX, "pretrain": TRAINING, "extend_tokenizer": PIECES, **changes}
    with pytest.raises(ValidationError, match=message):
        imported(**given)


def test_a_base_without_a_tokenizer_of_sentencepiece_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "llama3"
    folder.mkdir()
    with pytest.raises(InputError, match=r"extend_tokenizer: .*llama3 has no tokenizer\.model, and pieces can be"):
        check_pieces(folder, "run.yaml: extend_tokenizer")
    (folder / "tokenizer.model").write_bytes(b"")
    check_pieces(folder, "run.yaml: extend_tokenizer")
