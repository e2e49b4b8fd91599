"""The policies by name that the run's are compared with: which answers are theirs, and the rows of those that have to
answer first."""

from collections.abc import Iterator

from data_store.names import AssetName
from flows.recipe.conditions import has_final_stage
from flows.recipe.config import RunConfig
from flows.recipe.places import FOUNDATION, Place, Reads, Row, here, only, under_adapters, where
from tasks.answer_held_out import AnswerHeldOutConfig, answered_as
from tasks.evaluation_judges.compared import ComparedConfig
from tasks.evaluations.registry import EvaluateConfig
from tasks.incoming.files import File
from tasks.incoming.stored import Asset
from tasks.incoming.stored_model import StoredModel


def compared_rows(config: RunConfig) -> Iterator[Row]:
    """Of the foundation: a row for each policy that is none of the run's; none where no policy is compared."""
    yield from (_answering(each) for each in config.evaluate.compared if each.answers_here and config.iterations)


def compared_at(at: Place, *, sampled: bool) -> list[tuple[str, Asset]]:
    """What the policies are called that the policy of this place is compared with, and their answers. `sampled`: it is
    the one before the final stage. Policies of this run are those that were made before it."""
    found = []
    for each in at.config.evaluate.compared:
        if each.policy is None:
            found.append((each.name, Asset(AssetName("dataset", _asset(each), FOUNDATION))))
            continue
        part, _, step = each.policy.partition(":")
        there = Place(at.config, part, int(part.removeprefix("V")), at.intakes)
        is_sampled = step == "fine_tune" and has_final_stage(there)
        if there.number < at.number or (part == at.part and is_sampled and not sampled):
            name = "evaluation-responses-sampled" if is_sampled else "evaluation-responses"
            found.append((each.name, Asset(AssetName("dataset", name, part))))
    return found


def _asset(each: ComparedConfig) -> str:
    return f"answers-as-{each.name}"


def _answering(each: ComparedConfig) -> Row:
    policy: Reads = lambda _at: () if each.version is None else (StoredModel(each.version, each.name),)  # noqa: E731
    folder: Reads = lambda _at: () if each.folder is None else (File(each.folder),)  # noqa: E731
    return Row(
        answered_as(each.name),
        lambda at: AnswerHeldOutConfig(**only(EvaluateConfig, at.config.evaluate), name=each.name),
        {
            "policy": policy,
            "folder": folder,
            "prompts": here("dataset/prompts"),
            "base": where(lambda _at: each.version is not None, under_adapters),
        },
        {"responses": _asset(each)},
    )
