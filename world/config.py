"""The size and seed of the little world that a run is made from."""

from pydantic import BaseModel, Field


class WorldConfig(BaseModel, extra="forbid", frozen=True):
    """A simulated world: its corpus, demonstrations, prompts and annotator all follow from this."""

    seed: int = Field(0, description="Decides the facts, the methods, what is held out, and every draw.")
    documents: int = Field(41_000, ge=100, description="Clean documents in the corpus; the defects come on top.")
    defect_share: float = Field(0.06, ge=0.0, lt=1.0, description="Share of the raw corpus that is a seeded defect.")
    demonstrations: int = Field(4_000, ge=1, description="SFT dialogues, of mixed quality.")
    train_ordinary: int = Field(3_000, ge=1, description="Ordinary prompts for preferences, sampling and PPO.")
    train_adversarial: int = Field(1_500, ge=1, description="Adversarial prompts for the same.")
    validation_ordinary: int = Field(150, ge=0, description="Ordinary prompts for choices made while training.")
    validation_adversarial: int = Field(75, ge=0, description="Adversarial prompts for the same.")
    heldout_ordinary: int = Field(
        300, ge=0, description="Ordinary prompts, borderline ones among them, for evaluation."
    )
    heldout_borderline: int = Field(100, ge=0, description="Further borderline prompts, for the false refusal rate.")
    heldout_adversarial: int = Field(200, ge=0, description="Adversarial prompts, for the violation rate.")
