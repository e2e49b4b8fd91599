"""The tokenizer of a Llama that is trained from nothing."""

from collections.abc import Mapping

from models.config import TokenizerConfig
from tasks.engine.step import Input, Output, StepRun, step


@step(
    version=1,
    config=TokenizerConfig,
    inputs={"corpus": Input("dataset", "document")},
    outputs={"tokenizer": Output("tokenizer")},
    metrics=("vocab_size", "characters_per_token"),
    headline="vocab_size",
    about="Trains the SentencePiece tokenizer.",
    tags=("foundation", "trainer"),
)
def train_tokenizer(run: StepRun, config: TokenizerConfig) -> Mapping[str, float]:
    """Train SentencePiece BPE on the filtered corpus."""
    from models.tokenizer import train_tokenizer as train

    texts = run.rows("corpus").column("text").to_pylist()
    tokenizer = train(texts, run.output("tokenizer"), config, run.seed)
    sample = texts[:: max(1, len(texts) // 1000)]
    tokens = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in sample)
    return {"vocab_size": float(len(tokenizer)), "characters_per_token": sum(map(len, sample)) / max(tokens, 1)}
