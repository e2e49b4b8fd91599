"""The row of semantic duplicates: it reads what was imported, and what fits the context is looked at after it."""

from flows.recipe.check_row import the_encoder
from flows.recipe.conditions import has_demonstrations, has_prompts, has_similar
from flows.recipe.places import Makes, Place, Row, here, only, where
from tasks.check_base import check_base
from tasks.drop_similar import drop_similar
from tasks.similar import SimilarChoice


def _comparing(at: Place) -> SimilarChoice:
    """Without the encoder's folder: a path is in no fingerprint."""
    section = at.config.similar
    if section is None:
        raise AssertionError("the row is there where rows are compared")
    return SimilarChoice(**only(SimilarChoice, section))


def _made(at: Place) -> Makes:
    there = {"prompts": has_prompts(at), "demonstrations": has_demonstrations(at)}
    return {**{role: f"distinct-{role}" for role, is_there in there.items() if is_there}, "dropped": "similar"}


SIMILAR_ROW = Row(
    drop_similar,
    _comparing,
    {
        "prompts": where(has_prompts, here("dataset/raw-prompts")),
        "demonstrations": where(has_demonstrations, here("dataset/raw-demonstrations")),
        "encoder": the_encoder,
    },
    _made,
    when=has_similar,
    after=(check_base,),
)
