"""Paths of a config that lead to models, judges and pre-prompts: made absolute, and looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from data_store.errors import InputError
from data_store.reading.preprompts import read_preprompts
from models.tokenizer_config import TokenizerSectionConfig
from tasks.collect_preferences import CollectConfig
from tasks.distill_context import ContextDistillationConfig
from tasks.evaluation_judges.config import GOLD, GOLD_NAME, EvaluationConfig
from tasks.judging.people import BatchConfig
from tasks.judging.registry import LMJudgeConfig
from tasks.similar import SimilarConfig

DESCRIPTION = "config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model")
_People = TypeVar("_People", bound=BatchConfig)


def resolved_collect(collect: CollectConfig, folder: Path) -> CollectConfig:
    """With paths beside the config file's folder as they are from anywhere."""
    people, judge = collect.people, collect.judge
    if people is not None:
        people = _resolved(people, folder)
    if judge is not None:
        paths = {key: (folder / path).resolve() for key, path in folders_of(judge).items()}
        judge = judge.model_copy(update=paths)
    return collect.model_copy(update={"people": people, "judge": judge})


def resolved_tokenizer(section: TokenizerSectionConfig, folder: Path) -> TokenizerSectionConfig:
    """The same of a folder with a tokenizer."""
    if section.folder is None:
        return section
    return section.model_copy(update={"folder": (folder / section.folder).resolve()})


def resolved_evaluate(evaluate: EvaluationConfig, folder: Path) -> EvaluationConfig:
    """The same of the judges of evaluations."""
    judges = []
    for judge in evaluate.judges:
        given: dict[str, object] = {}
        if judge.folder is not None:
            given["folder"] = (folder / judge.folder).resolve()
        if judge.people is not None:
            given["people"] = _resolved(judge.people, folder)
        judges.append(judge.model_copy(update=given))
    against = [
        each
        if isinstance(each, str) or each.folder is None
        else each.model_copy(update={"folder": (folder / each.folder).resolve()})
        for each in evaluate.against
    ]
    return evaluate.model_copy(update={"judges": tuple(judges), "against": tuple(against)})


def check_judges(evaluate: EvaluationConfig, gold_percent: int, *, labelled: bool) -> None:
    """Raises ValueError for a judge of evaluations that nothing trains, for labels that train none, and for a judge
    with the name of the gold reward model."""
    kinds = {judge.name: judge.kind for judge in evaluate.judges}
    if ("safety_classifier" in kinds.values()) != labelled:
        raise ValueError("data.labelled_responses and a judge of kind safety_classifier in evaluate.judges go together")
    if GOLD in kinds.values() and not gold_percent:
        raise ValueError("a judge of kind gold_reward needs pairs of its own: set reward.gold_percent, such as 20")
    if gold_percent and GOLD not in kinds.values() and GOLD_NAME in kinds:
        raise ValueError(f"evaluate.judges: {GOLD_NAME} is the gold reward model: take another name")


def check_known_pairs(collect: CollectConfig, evaluate: EvaluationConfig, where: str) -> None:
    """Raises InputError for a file of pairs with known answers that is not there."""
    asked: dict[str, BatchConfig | None] = {"collect.people": collect.people}
    asked |= {f"evaluate.judges: {judge.name}: people": judge.people for judge in evaluate.judges}
    for key, people in asked.items():
        if people is not None and people.known_pairs is not None and not people.known_pairs.is_file():
            raise InputError(f"{where}: {key}.known_pairs: there is no file {people.known_pairs}")


def check_compared(evaluate: EvaluationConfig, iterations: int, final_stage: str) -> None:
    """Raises ValueError for a policy of `evaluate.against` that no step of the run makes."""
    for each in evaluate.compared:
        part, _, step = (each.policy or "").partition(":")
        number = int(part.removeprefix("V") or 0)
        steps = ["fine_tune", *([final_stage] if 0 < number == iterations and final_stage != "none" else [])]
        if number > iterations:
            raise ValueError(f"evaluate.against: {each.name}: there is no {part}; iterations is {iterations}")
        if step and step not in steps:
            raise ValueError(
                f"evaluate.against: {each.name}: {step} makes no policy of {part}; {', '.join(steps)} does"
            )


def resolved_preprompts(section: ContextDistillationConfig | None, folder: Path) -> ContextDistillationConfig | None:
    """The same of the file with pre-prompts."""
    if section is None or section.file is None:
        return section
    return section.model_copy(update={"file": (folder / section.file).resolve()})


def check_own_answers(base_model: Path | None, demonstrations: Sequence[object]) -> None:
    """Raises ValueError where no model is there to answer, or nothing for its answers to stand beside."""
    if base_model is None or not demonstrations:
        raise ValueError(
            "own_answers are those of a base model, and stand beside demonstrations: give base_model and "
            "data.demonstrations, or set own_answers: null"
        )


def check_preprompts(file: Path, where: str) -> None:
    """Raises InputError for a file of pre-prompts that is not there or cannot be read."""
    if not file.is_file():
        raise InputError(f"{where}: there is no file {file}")
    read_preprompts(file)


def _resolved(people: _People, folder: Path) -> _People:
    known = people.known_pairs
    return people if known is None else people.model_copy(update={"known_pairs": (folder / known).resolve()})


def folders_of(judge: LMJudgeConfig) -> dict[str, Path]:
    """The models' folders that a judge is given, by key."""
    return {key: value for key, value in judge if isinstance(value, Path)}


def check_folders(
    base_model: Path | None,
    collect: CollectConfig,
    evaluate: EvaluationConfig,
    similar: SimilarConfig | None,
    where: str,
    *,
    opened: bool = True,
) -> None:
    """Raises InputError for the folder of a base model, a judge, a policy to compare with or a sentence encoder that
    cannot be opened; or, where none will be `opened`, that does not give the model's shape."""
    models = {} if base_model is None else {"base_model": base_model}
    if similar is not None:
        models["similar.encoder"] = similar.encoder
    if collect.judge is not None:
        models |= {f"collect.judge.{key}": path for key, path in folders_of(collect.judge).items()}
    for judge in evaluate.judges:
        if judge.folder is not None:
            models[f"evaluate.judges: {judge.name}: folder"] = judge.folder
    for each in evaluate.compared:
        if each.folder is not None:
            models[f"evaluate.against: {each.name}: folder"] = each.folder
    for key, model in models.items():
        (check_model if opened else _check_described)(model, f"{where}: {key}")


def check_tokenizer(folder: Path | None, where: str) -> None:
    """Raises InputError for a folder that cannot hold a tokenizer with its chat template."""
    if folder is None:
        return
    if not folder.is_dir():
        raise InputError(f"{where}: there is no folder {folder}")
    if not (folder / "tokenizer_config.json").is_file() or not any((folder / name).is_file() for name in TOKENIZERS):
        raise InputError(
            f"{where}: {folder} has no {' or '.join(TOKENIZERS)} with a tokenizer_config.json beside it: copy both "
            "from the folder of the model whose tokenizer it is"
        )


def check_pieces(folder: Path, where: str) -> None:
    """Raises InputError for a base model whose tokenizer is none of SentencePiece's."""
    if not (folder / "tokenizer.model").is_file():
        raise InputError(
            f"{where}: {folder} has no tokenizer.model, and pieces can be added to a tokenizer of SentencePiece alone: "
            "take extend_tokenizer out"
        )


def check_model(folder: Path, where: str) -> None:
    """Raises InputError for what is no folder that transformers can open."""
    if not folder.is_dir():
        raise InputError(f"{where}: there is no folder {folder}")
    for name in (DESCRIPTION, "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"{where}: {folder} has no {name}; give a folder that transformers can open")
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"{where}: {folder} has no .safetensors file; only safetensors are loaded")


def _check_described(folder: Path, where: str) -> None:
    if not (folder / DESCRIPTION).is_file():
        raise InputError(f"{where}: there is no {folder / DESCRIPTION}, which gives the model's shape: copy it there")
