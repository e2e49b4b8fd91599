"""Pretraining a Llama on a corpus (Llama 2, section 2.2), on transformers' Trainer."""

from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from models.checkpoint import save_checkpoint
from models.config import ArchitectureConfig, PretrainConfig
from models.dialogue import Renderer
from models.llama import build_llama
from models.llama_presets import resolve_architecture
from models.scoring import pad_right
from models.training.hf import ResumableTrainer, run_trainer, training_arguments
from models.training.reporting import Reporter


class PretrainTrainer(ResumableTrainer, Trainer):
    """Next-token loss, the mean over all real tokens of the global batch."""


def pretrain(
    texts: Sequence[str],
    renderer: Renderer,
    architecture: ArchitectureConfig,
    config: PretrainConfig,
    *,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Train a new Llama on `texts` and write it to `out`. Returns the metrics of the run.

    With `config.pack_documents` a row of `sequence_length` tokens holds several documents, kept apart by position ids
    that start anew; else each document is a row of its own, padded.
    """
    torch.set_num_threads(config.threads)
    tokenizer = renderer.tokenizer
    shape = resolve_architecture(architecture, len(tokenizer))
    if config.sequence_length > shape.context_length:
        raise ValueError(
            f"pretrain.sequence_length {config.sequence_length} exceeds the context of {shape.context_length}"
        )
    model = build_llama(shape, seed, renderer.pad_id, tokenizer.bos_token_id, renderer.eos_id)
    model.config.use_cache = False
    rows = _rows([renderer.document(text) for text in texts], config)
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
    trainer = PretrainTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=_Collator(renderer.pad_id),
        processing_class=tokenizer,
    )
    loss = run_trainer(trainer, config, reporter, "pretrain")
    save_checkpoint(model, tokenizer, out)
    tokens = sum(rows["length"])
    return {
        "loss": loss,
        "parameters": float(sum(p.numel() for p in model.parameters())),
        "corpus_tokens": float(tokens),
        "trained_tokens": float(tokens / len(rows) * config.batch_size * config.max_steps),
    }


def _rows(documents: list[list[int]], config: PretrainConfig) -> Dataset:
    size = config.sequence_length
    pieces = [ids[start : start + size] for ids in documents for start in range(0, len(ids), size)]
    pieces = [piece for piece in pieces if len(piece) > 1]  # one token predicts nothing
    if config.pack_documents:
        packed: list[list[list[int]]] = [[]]
        for piece in pieces:
            if sum(map(len, packed[-1])) + len(piece) > size:
                packed.append([])
            packed[-1].append(piece)
    else:
        packed = [[piece] for piece in pieces]
    return Dataset.from_dict(
        {
            "input_ids": [[token for piece in row for token in piece] for row in packed],
            "starts": [[len(piece) for piece in row] for row in packed],
            "length": [sum(map(len, row)) for row in packed],
        }
    )


class _Collator:
    """Pads rows; labels are -100 on padding and on the first token of each document, which nothing predicts."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        ids, mask = pad_right([example["input_ids"] for example in examples], self.pad_id)
        labels = ids.masked_fill(mask == 0, -100)
        if all(len(example["starts"]) == 1 for example in examples):
            return {"input_ids": ids, "attention_mask": mask, "labels": labels}
        positions = torch.zeros_like(ids)
        for i, example in enumerate(examples):
            place = 0
            for length in example["starts"]:
                positions[i, place : place + length] = torch.arange(length)
                labels[i, place] = -100
                place += length
            # padding counts on by itself as one more document, so that it never joins the last one
            positions[i, place:] = torch.arange(ids.shape[1] - place)
        return {"input_ids": ids, "position_ids": positions, "labels": labels}
