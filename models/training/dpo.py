"""Direct preference optimisation (Llama 3, arXiv 2407.21783, section 4.1.4) on transformers' Trainer.

The reference is the policy as it is given here. What it makes of the pairs is computed before the first step and kept,
so that no second model is held: a whole policy needs no copy, and an adapter need not start as nothing.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.algorithms.dpo import chosen_nll, dpo_loss
from models.config import DPOConfig
from models.devices import autocast, device_of, use_threads
from models.dialogue import Renderer
from models.learning_pass import fast_learning
from models.lock_step import one_pass
from models.prefix_tree import RowCost, TreeBatch, is_tree, lay_trees, plan_batch, row_cost, tree_logprobs
from models.scoring import lay_out, pad_right, response_logprobs
from models.training.hf import PairMeanTrainer, place, run_trainer, training_arguments
from models.training.processes import data_parallel
from models.training.pulse import TrainingDivergedError
from models.training.reference_distance import ReferenceDistance
from models.training.reporting import Reporter
from models.training.sharding import as_the_main_one_decides, save_spread

# What is logged of the pairs beside the loss, each the mean over pairs.
CURVES = ("dpo_loss", "nll", "accuracy", "margin", "chosen_logprob", "rejected_logprob")


@dataclass(frozen=True)
class PreferencePair:
    """A prompt and the two responses to it as token ids, as the renderer makes them: the end of sequence included."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


class PreferenceTrainer(PairMeanTrainer, Trainer):
    """Mean over the pairs of the global batch: DPO on what the responses say, likelihood of the chosen ones."""

    config: DPOConfig

    def __init__(self, collator: "_Collator", **kwargs: Any) -> None:
        super().__init__(data_collator=collator, **kwargs)
        self.collator = collator
        self._sums = torch.zeros(len(CURVES) + 1)

    def pairs_in(self, batch: dict[str, torch.Tensor]) -> int:
        return len(batch["ref_logprobs"]) // 2

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """This pass's share of the mean over the pairs of the batch."""
        stats = self.through(model, inputs, lambda bare, batch: _judge(bare, batch, self.config))
        seen = [*(stats[name].detach() for name in CURVES), torch.ones_like(stats["loss"])]
        shares = torch.stack([self.share_of_mean(values, num_items_in_batch) for values in seen])
        self._sums = self._sums.to(shares.device) + shares
        loss = self.share_of_mean(stats["loss"], num_items_in_batch)
        return (loss, stats) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the curves: as the loss, the mean over the steps since the last time."""
        if "loss" in logs:
            *sums, steps = self.accelerator.reduce(self._sums, "mean").tolist()  # the shares of a step add up to one
            logs = {**logs, **{name: total / steps for name, total in zip(CURVES, sums, strict=True)}}
            self._sums = torch.zeros_like(self._sums)
        super().log(logs, start_time)


@data_parallel
def train_dpo(
    policy: nn.Module,
    pairs: Sequence[PreferencePair],
    validation_pairs: Sequence[PreferencePair],
    renderer: Renderer,
    config: DPOConfig,
    *,
    out: Path,
    work: Path,
    seed: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Train `policy` on pairs and write the one with the lowest loss on the validation pairs to `out`.

    That can be the policy as it came. Training stops early after `config.patience` looks without a lower loss.
    Raises ValueError where there are no pairs or one is longer than `config.max_length`, TrainingDivergedError where a
    loss is no number.
    """
    use_threads(config.threads)
    _check(pairs, "pair", config)
    _check(validation_pairs, "validation pair", config)
    arguments = TrainingArguments(
        **training_arguments(
            config,
            work,
            seed,
            num_train_epochs=config.epochs,
            warmup_steps=config.warmup_ratio,
            lr_scheduler_type="cosine",
        )
    )
    place(policy, arguments, config)
    collator = _Collator(renderer, row_cost(policy))
    trainer = PreferenceTrainer(
        config=config,
        collator=collator,
        model=policy,
        args=arguments,
        train_dataset=Dataset.from_list(_with_reference(policy, pairs, collator, config)),
        processing_class=renderer.tokenizer,
    )
    validation = _Validation(trainer, policy, validation_pairs, renderer, config, seed, work / "best", reporter)
    trainer.add_callback(validation)
    loss = run_trainer(trainer, config, reporter, "dpo", CURVES)["loss"]
    if trainer.is_world_process_zero():
        shutil.copytree(work / "best", out, dirs_exist_ok=True)  # a copy: a run that is cut off here finds it again
    best = min(_looks(trainer.state), key=lambda look: look["validation_loss"])
    return {
        "loss": loss,
        "pairs": float(len(pairs)),
        "validation_pairs": float(len(validation_pairs)),
        "steps": float(trainer.state.global_step),
        **{f"best_{name}": float(value) for name, value in best.items()},
    }


class _Validation(TrainerCallback):
    """Looks at pairs that are not trained on, keeps the best policy, stops where nothing gets better.

    What it has seen lies in the trainer's log, and so in its checkpoints. Every process looks at all of them, and draws
    all answers: of a model that is spread over them none could make a pass alone.
    """

    def __init__(
        self,
        trainer: PreferenceTrainer,
        reference: nn.Module,
        pairs: Sequence[PreferencePair],
        renderer: Renderer,
        config: DPOConfig,
        seed: int,
        best: Path,
        reporter: Reporter,
    ) -> None:
        """`reference` is the policy before its first step; it is read here and now."""
        self.trainer, self.renderer, self.config, self.best, self.reporter = trainer, renderer, config, best, reporter
        self.rows = _with_reference(reference, pairs, trainer.collator, config)
        self.distance = ReferenceDistance(reference, [pair.prompt_ids for pair in pairs], renderer, config, seed)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not _looks(state):
            self._look(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step % self.config.validate_every and state.global_step < state.max_steps:
            return
        self._look(state)
        losses = [look["validation_loss"] for look in _looks(state)]
        best = losses.index(min(losses))
        if self._all(len(losses) - 1 - best >= self.config.patience):
            self.reporter.log(f"dpo: no lower validation loss since step {_looks(state)[best]['step']}, stopped")
            control.should_training_stop = True

    def _all(self, wanted: bool) -> bool:
        """What all processes do: those of a spread policy see the same to rounding, and must do the same."""
        return as_the_main_one_decides(wanted) if self.config.shards > 1 else wanted

    @torch.no_grad()
    def _look(self, state: TrainerState) -> None:
        model = cast(nn.Module, self.trainer.model)
        totals: dict[str, float] = {}
        for batch in _batches(self.rows, self.config.pass_rows):
            laid_out = _to_device(self.trainer.collator(batch), model)
            stats = one_pass(model, _judge, model, laid_out, self.config)
            for name in ("loss", *CURVES):
                totals[name] = totals.get(name, 0.0) + float(stats[name].sum())
        seen = {f"validation_{name}": total / len(self.rows) for name, total in totals.items()}
        seen["validation_kl"] = self.distance.measure(model)
        for name, value in seen.items():
            if not math.isfinite(value):
                raise TrainingDivergedError(f"dpo: {name} is {value} at step {state.global_step}")
            self.reporter.metric(f"dpo/{name}", value, state.global_step + 1)  # point k: what step k begins with
        if self._all(all(seen["validation_loss"] < look["validation_loss"] for look in _looks(state))):
            save_spread(model, self.renderer.tokenizer, self.best, here=self.trainer.is_world_process_zero())
        state.log_history.append({**seen, "step": state.global_step})


class _Collator:
    """Chosen responses first, rejected ones after them. A prompt is read once for both, and rows are filled, where that
    costs less; else each response has a row, prompts padded on the left and responses on the right."""

    def __init__(self, renderer: Renderer, cost: RowCost | None) -> None:
        self.pad_id, self.cost = renderer.pad_id, cost
        self.formatting = torch.tensor(sorted(renderer.formatting_ids))

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """N rows → a TreeBatch of 2N sequences and starts (2N), the lengths of their prompts; or input_ids and
        attention_mask (2N, P + T). response_mask and said_mask (2N, T): real response tokens, and those of them that
        are no formatting; ref_logprobs (2N)."""
        prompts = [row["prompt_ids"] for row in rows] * 2
        responses = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
        dialogues = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
        groups = plan_batch(dialogues, self.cost)
        laid_out: dict[str, torch.Tensor]
        if any(map(is_tree, groups)):
            starts = torch.tensor([len(prompt) for prompt in prompts])
            laid_out = {**vars(lay_trees(dialogues, groups, self.pad_id)), "starts": starts}
        else:
            ids, attention, _ = lay_out(prompts, responses, self.pad_id)
            laid_out = {"input_ids": ids, "attention_mask": attention}
        ids, mask = pad_right(responses, self.pad_id)
        ref_logprobs = [row["ref_chosen_logprob"] for row in rows] + [row["ref_rejected_logprob"] for row in rows]
        return {
            **laid_out,
            "response_mask": mask.bool(),
            "said_mask": mask.bool() & ~torch.isin(ids, self.formatting),
            "ref_logprobs": torch.tensor(ref_logprobs),
        }


def _judge(model: nn.Module, batch: dict[str, torch.Tensor], config: DPOConfig) -> dict[str, torch.Tensor]:
    """Per pair, each (N,): the loss, its two terms, and what they are made of; only `loss` has a gradient."""
    logprobs = _token_logprobs(model, batch, config)
    said = (logprobs * batch["said_mask"]).sum(1)
    chosen, rejected = said.chunk(2)
    ref_chosen, ref_rejected = batch["ref_logprobs"].chunk(2)
    result = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=config.beta)
    nll = chosen_nll(logprobs[: len(chosen)], batch["response_mask"][: len(chosen)])
    margin = result.chosen_rewards - result.rejected_rewards
    return {
        "loss": result.loss + config.nll_coef * nll,
        "dpo_loss": result.loss.detach(),
        "nll": nll.detach(),
        "accuracy": (margin > 0).float() + 0.5 * (margin == 0).float(),
        "margin": margin,
        "chosen_logprob": chosen.detach(),
        "rejected_logprob": rejected.detach(),
    }


def _token_logprobs(model: nn.Module, batch: dict[str, torch.Tensor], config: DPOConfig) -> torch.Tensor:
    """(2N, T), in one precision for policy and reference, so that before the first step they are equal."""
    mask = batch["response_mask"]
    with fast_learning(model, config.kernel), autocast(config.dtype):
        if "places" in batch:
            logprobs, _, _ = tree_logprobs(model, TreeBatch.of(batch), batch["starts"], temperature=1.0)
        else:
            logprobs, _ = response_logprobs(
                model, batch["input_ids"], batch["attention_mask"], mask.shape[1], temperature=1.0
            )
    return logprobs


@torch.no_grad()
def _with_reference(
    reference: nn.Module, pairs: Sequence[PreferencePair], collator: _Collator, config: DPOConfig
) -> list[dict[str, Any]]:
    """The pairs as rows, with the summed log-probability of what both responses say under the reference."""
    rows: list[dict[str, Any]] = [
        {**vars(pair), "ref_chosen_logprob": 0.0, "ref_rejected_logprob": 0.0} for pair in pairs
    ]
    for some in _batches(rows, config.pass_rows):
        batch = _to_device(collator(some), reference)
        logprobs = one_pass(reference, _token_logprobs, reference, batch, config)
        sums = (logprobs * batch["said_mask"]).sum(1).tolist()
        for row, chosen, rejected in zip(some, sums[: len(some)], sums[len(some) :], strict=True):
            row |= {"ref_chosen_logprob": chosen, "ref_rejected_logprob": rejected}
    return rows


def _batches(rows: Sequence[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of like length together."""
    lengths = [_length(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), size):
        yield [rows[i] for i in order[start : start + size]]


def _to_device(batch: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device_of(model)) for name, tensor in batch.items()}


def _length(prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> int:
    return len(prompt) + max(len(chosen), len(rejected))


def _check(pairs: Sequence[PreferencePair], name: str, config: DPOConfig) -> None:
    if not pairs:
        raise ValueError(f"there is no {name}: dpo needs some to learn from and some to choose the best policy by")
    for i, pair in enumerate(pairs):
        longest = _length(pair.prompt_ids, pair.chosen_ids, pair.rejected_ids)
        if longest > config.max_length:
            raise ValueError(
                f"{name} {i + 1} has {longest} tokens; dpo.max_length is {config.max_length}: raise it or drop the pair"
            )


def _looks(state: TrainerState) -> list[dict[str, float]]:
    return [entry for entry in state.log_history if "validation_loss" in entry]
