"""Pretraining a Llama on a corpus (Llama 2, section 2.2), on transformers' Trainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from datasets import Dataset
from torch import nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedConfig, Trainer, TrainingArguments

from models.ceiling import ceiling
from models.checkpoint import load_policy, save_checkpoint
from models.config import ArchitectureConfig, PretrainConfig
from models.costs import flops_per_token, utilisation
from models.devices import use_threads
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import Architecture, resolve_architecture, shape_in
from models.tokenizer import load_tokenizer
from models.training.hf import ResumableTrainer, run_trainer, training_arguments
from models.training.mix import MixedRows
from models.training.packing import PackedCollator, pack
from models.training.processes import data_parallel
from models.training.reporting import SPEED, UTILISATION, Reporter
from models.vocabulary_extension import extend_embeddings

OPEN_ROWS = 64  # of documents of 29 tokens in rows of 128, one fills 88.5 %, 8 fill 94.8, 64 fill 95.7, all 95.9


class PretrainTrainer(ResumableTrainer, Trainer):
    """Next-token loss, the mean over all real tokens of the global batch."""


class MixedTrainer(PretrainTrainer):
    """The same on rows whose order is theirs."""

    def row_order(self) -> Sampler[int]:
        return SequentialSampler(cast(MixedRows, self.train_dataset))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.row_order()


@data_parallel
def pretrain(
    texts: Sequence[str],
    renderer: Renderer,
    start: ArchitectureConfig | Path,
    config: PretrainConfig,
    *,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
    mix: MixedRows | None = None,
) -> dict[str, float]:
    """Train a model on `texts`, or on the rows of a mix in their order, and write it to `out`. Returns the metrics of
    the run.

    `start`: a new Llama of this shape, or the folder of a model to go on from, whose weights and context it keeps. A
    row of `sequence_length` tokens holds several documents, kept apart by position ids that start anew. Raises
    ValueError where the context holds no such row.
    """
    use_threads(config.threads)
    tokenizer = renderer.tokenizer
    model, shape = _begun(start, renderer, config, seed)
    size = config.sequence_length
    if mix is None:
        rows, tokens = _packed(texts, renderer, size, seed)
        trained = tokens / len(rows) * config.batch_size * config.max_steps
    else:
        tokens, trained = sum(stream.tokens.total for stream in mix.streams), float(len(mix) * size)
    arguments = TrainingArguments(
        **training_arguments(
            config,
            work,
            seed,
            max_steps=config.max_steps,
            warmup_steps=config.warmup_steps,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
        )
    )
    trainer = (PretrainTrainer if mix is None else MixedTrainer)(
        config=config,
        model=model,
        args=arguments,
        train_dataset=rows if mix is None else mix,
        data_collator=PackedCollator(renderer.pad_id),
        processing_class=tokenizer,
    )
    found = run_trainer(trainer, config, reporter, "pretrain", tokens=trained)
    if trainer.is_world_process_zero():
        save_checkpoint(model, tokenizer, out)
        found |= _utilised(found, shape, config, reporter)
    return {
        **found,
        "parameters": float(sum(p.numel() for p in model.parameters())),
        "corpus_tokens": float(tokens),
        "trained_tokens": float(trained),
    }


def _packed(texts: Sequence[str], renderer: Renderer, size: int, seed: int) -> tuple[Dataset, int]:
    """The rows of all documents, and how many tokens they hold. What they are made of is gone before training."""
    pieces = [
        ids[start : start + size]
        for ids in renderer.documents(texts)
        for start in range(0, len(ids), size)
        if len(ids) - start > 1  # one token predicts nothing
    ]
    return pack(pieces, pieces, size, seed, open_rows=OPEN_ROWS), sum(map(len, pieces))


def _begun(
    start: ArchitectureConfig | Path, renderer: Renderer, config: PretrainConfig, seed: int
) -> tuple[nn.Module, Architecture | None]:
    """The model before its first step, and its shape where it is a Llama."""
    if isinstance(start, Path):
        model = load_policy(start, trainable=True, dtype=config.dtype)
        own = load_tokenizer(start)
        if len(own) < len(renderer.tokenizer):
            extend_embeddings(model, own, renderer.tokenizer)
        known = cast(PreTrainedConfig, model.config)
        shape = shape_in(known.to_dict()) if known.model_type == "llama" else None
        context = int(known.max_position_embeddings)
    else:
        tokenizer = renderer.tokenizer
        shape = resolve_architecture(start, len(tokenizer))
        model = build_llama(shape, seed, renderer.pad_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        model.config.use_cache = False
        context = shape.context_length
    if config.sequence_length > context:
        raise ValueError(f"pretrain.sequence_length {config.sequence_length} exceeds the context of {context}")
    return model, shape


def _utilised(
    found: Mapping[str, float], shape: Architecture | None, config: PretrainConfig, reporter: Reporter
) -> dict[str, float]:
    """The share of what the devices can do, as `mfu`, and what they can do, as `peak_flops` operations a second."""
    if SPEED not in found:
        return {}
    if shape is None:
        reporter.log(f"pretrain: {found[SPEED]:,.0f} tokens/s; mfu is of Llamas alone, whose operations are known here")
        return {}
    most = ceiling(config.dtype)
    peak = most.flops * config.processes
    share = utilisation(found[SPEED], flops_per_token(shape, config.sequence_length), peak)
    reporter.log(
        f"pretrain: {found[SPEED]:,.0f} tokens/s, {share:.1%} of {peak / 1e9:,.0f} GFLOP/s ({most.origin}; "
        f"processes: {config.processes})"
    )
    return dict(zip(UTILISATION, (share, peak), strict=True))
