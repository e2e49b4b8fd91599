"""A sentence encoder that somebody brings: whether it opens whole, and reads padded texts as each alone."""

import torch

from models.base_checks.finding import Finding
from models.sentence_encoder import SentenceEncoder

TOLERANCE = 1e-4

_TEXTS = ("The lamp of the harbour is lit.", "Who keeps it, and since when, and for which ships?", "Why?")


def check_encoder(encoder: SentenceEncoder) -> list[Finding]:
    """Raises ValueError where a text beside longer ones has another vector than alone, or vectors are no numbers."""
    rows = encoder.encode(_TEXTS)
    together, alone = encoder.embed(rows), torch.cat([encoder.embed([row]) for row in rows])
    difference = float((together - alone).abs().max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"a text that is padded has another vector than alone, {difference:.2g} apart: it does not mask padding; "
            "give another encoder"
        )
    said = f"{encoder.pooling} over tokens, {together.shape[1]} numbers a text of at most {encoder.most_tokens} tokens"
    return [Finding("encoder", said), Finding("padding", "texts are read as each alone", difference=difference)]
