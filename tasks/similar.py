"""The section `similar`: rows that say in other words what another one says."""

from pathlib import Path

from pydantic import Field

from data_store.corpus.language import Language
from models.config import Config

SIMILAR, TO_HELD_OUT = "similar", "similar_to_held_out"
"""Why a row is dropped: for one of its own kind that stays, or for a prompt that is held out."""


class SimilarChoice(Config):
    """What counts as the same, and when the encoder is not believed."""

    threshold: float = Field(
        default=0.9,
        ge=0.5,
        le=1,
        description="Two rows whose vectors have this cosine or more mean the same; the first one stays",
    )
    languages: tuple[Language, ...] | None = Field(
        default=None,
        min_length=1,
        description="Rows that the detector takes for another language are left alone; empty: all are compared",
    )
    max_unrelated_share: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="Of pairs of different rows that are drawn by chance, by language, a larger share at or above the "
        "threshold refuses the encoder: it does not tell texts of that language apart",
    )
    max_cut_letters: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="So does a larger share of letters, by language, that its tokenizer cuts up or does not know",
    )
    max_dropped_share: float = Field(
        default=0.5, ge=0, le=1, description="A larger share of dropped prompts or demonstrations stops the run"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads of torch; more can be slower on a shared machine")


class SimilarConfig(SimilarChoice):
    """Semantic duplicates are dropped from prompts and demonstrations before anything is trained on them."""

    encoder: Path = Field(
        description="Folder of a sentence encoder (safetensors), as sentence-transformers or transformers writes it"
    )

    def beside(self, folder: Path) -> "SimilarConfig":
        """With a path beside the config file's folder as it is from anywhere."""
        return self.model_copy(update={"encoder": (folder / self.encoder).resolve()})
