"""Who judges: the annotator that a config names."""

from pydantic import Field

from models.config import Config
from world.annotator import Annotator
from world.content import World


class AnnotatorConfig(Config):
    """The simulated annotator of the little world. It is named as simulated wherever its judgements appear."""

    world_seed: int = Field(description="Seed of the world whose truth it knows")
    seed: int = Field(default=0, description="Seed of its lapses")

    @property
    def name(self) -> str:
        """The name that its judgements bear."""
        return Annotator.name

    def open(self) -> Annotator:
        """The annotator itself."""
        return Annotator(World(self.world_seed), self.seed)
