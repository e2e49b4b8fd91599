"""How the tokenizer of a model from nothing comes about."""

from pathlib import Path

from pydantic import Field, model_validator

from models.config import TokenizerConfig


class TokenizerSectionConfig(TokenizerConfig):
    """SentencePiece BPE (Llama 2, section 2.2) that is trained on the corpus, or the tokenizer of another model."""

    folder: Path | None = Field(
        default=None,
        description="Folder with the tokenizer of another model and its chat template, such as Llama 3's, which is "
        "taken as it is; empty: one is trained",
    )

    @model_validator(mode="after")
    def _trains_or_takes(self) -> "TokenizerSectionConfig":
        trained = TokenizerConfig()
        others = [name for name in TokenizerConfig.model_fields if getattr(self, name) != getattr(trained, name)]
        if self.folder is not None and others:
            raise ValueError(f"folder is taken as it is, and {', '.join(others)} would train one: take one of them out")
        return self

    def check_alone(self, base_model: Path | None) -> None:
        """Raises ValueError where a base model brings its own."""
        if self.folder is not None and base_model is not None:
            raise ValueError("base_model brings its own tokenizer: take tokenizer.folder out")
