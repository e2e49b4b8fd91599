"""What our subclasses of the transformers and TRL trainers share: arguments, safe resumable checkpoints, reports,
stops."""

import json
import math
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.data_loader import DataLoaderShard, SeedableRandomSampler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments

from models.config import TrainerConfig
from models.devices import autocast, has_accelerator
from models.learning_pass import fast_learning, told_of_kernel
from models.lock_step import is_sharded, within_forward
from models.training.pulse import Pulse, TrainingDivergedError
from models.training.reporting import SPEED, Reporter
from models.training.sharding import gather, own, shard
from models.training.state import newest_checkpoint, read_checkpoint, write_checkpoint


def told_of_steps(steps: float, warmup: float) -> str:
    """What a person should know of so many optimizer steps; empty where there is nothing. Warm-up is at least one whole
    step, and its first one has a learning rate of 0."""
    if steps > 1 or not warmup:
        return ""
    return (
        "one optimizer step, which is warm-up at a learning rate of 0: nothing was learned. Give more rows, epochs or "
        "a smaller batch_size, or set warmup_ratio: 0"
    )


def training_arguments(config: TrainerConfig, work: Path, seed: int, **extra: Any) -> dict[str, Any]:
    """Keyword arguments of `TrainingArguments` and its TRL subclasses. `extra` adds schedule and length."""
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": config.pass_rows,
        "gradient_accumulation_steps": config.accumulation_steps,
        "average_tokens_across_devices": True,  # one mean over the tokens of all processes
        "learning_rate": config.learning_rate,
        "adam_beta1": config.beta1,
        "adam_beta2": config.beta2,
        "adam_epsilon": config.adam_eps,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch_fused",
        "bf16": False,  # `ResumableTrainer` sees to the precision: accelerate's way leaves out what calls no forward
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},  # the other kind gives adapters no gradients
        "ddp_broadcast_buffers": False,  # rotary frequencies, the same everywhere
        "use_cpu": not has_accelerator(),
        "seed": seed % 2**31,
        "data_seed": seed % 2**31,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",  # `Pulse` asks for a checkpoint by the clock
        "logging_strategy": "steps",
        "logging_steps": 10,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": has_accelerator(),
        "remove_unused_columns": False,
        **extra,
    }


def require_finite(model: nn.Module, name: str) -> None:
    """Raise TrainingDivergedError where a trained weight is NaN or infinite, so that no checkpoint holds it; of a model
    that is spread over processes, in the one that has it."""
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(own(parameter)).all()):
            raise TrainingDivergedError(f"{name}: the weights of {key} are no longer finite; lower the learning rate")


def place(model: nn.Module, args: TrainingArguments, config: TrainerConfig) -> None:
    """Put a model where it is trained: on the device of this process, or in parts over all of them."""
    where = args.device  # the processes meet when they ask for it
    if config.shards == 1:
        model.to(where)
    elif not is_sharded(model):
        shard(model, processes=config.shards)


class ResumableTrainer(Trainer):
    """Mixin before a transformers or TRL trainer: checkpoints as safetensors, written atomically, resumed to the bit;
    a stop at the first loss that is no number; one device a process, and the precision of the config."""

    def __init__(self, *, config: TrainerConfig, args: TrainingArguments, **kwargs: Any) -> None:
        args._n_gpu = min(1, args.n_gpu)  # with several, transformers would spread one process over all of them
        self.config = config
        if config.shards > 1:
            place(kwargs["model"], args, config)
        super().__init__(args=args, **kwargs)

    def compute_loss_context_manager(self) -> ExitStack:
        """Of the forward pass of training."""
        stack = ExitStack()
        stack.enter_context(autocast(self.config.dtype))
        return stack

    def fast_passes(self) -> AbstractContextManager[object]:
        """Inside, the model computes as the config's kernel says."""
        return fast_learning(cast(nn.Module, self.model), self.config.kernel)

    @property
    def _work(self) -> Path:
        return Path(str(self.args.output_dir))

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        with self.fast_passes():
            loss = super().training_step(model, inputs, num_items_in_batch)
        if not bool(torch.isfinite(loss).all()):
            raise TrainingDivergedError(f"loss is {loss.item()} in step {self.state.global_step + 1}")
        return loss

    def _send_telemetry(self) -> None:
        """TRL would report each trainer to its makers."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of the same rows in the same order whatever the number of processes."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        share = RowsOfProcess(
            self.row_order(),
            self.get_total_train_batch_size(self.args),
            self.args.gradient_accumulation_steps,
            self.args.process_index,
            self.args.world_size,
        )
        loader: DataLoader[Any] = DataLoaderShard(
            self.train_dataset,
            batch_sampler=share,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return loader

    def row_order(self) -> Sampler[int]:
        """In which order the rows of an epoch are dealt out to several processes."""
        order: Sampler[int] = SeedableRandomSampler(self.train_dataset, data_seed=self.args.data_seed)
        return order

    def through(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        function: Callable[[nn.Module, dict[str, torch.Tensor]], Any],
    ) -> Any:
        """`function(bare model, inputs)`, as the forward pass of what wraps the model.

        A wrapper that is passed by never averages the gradients of the processes, and says nothing; one that spreads
        the weights wraps in place, and leaves what is passed by in parts.
        """
        bare: nn.Module = self.accelerator.unwrap_model(model)
        if bare is model and not is_sharded(model):
            return function(model, inputs)
        return within_forward(model, bare, lambda inputs: function(bare, inputs), inputs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.is_world_process_zero() and self.config.shards == 1:
            return  # each process looks at its own clock; the main one's counts
        require_finite(cast(nn.Module, self.model), f"step {self.state.global_step}")
        write_checkpoint(
            self._work,
            self.state.global_step,
            models={"model": cast(nn.Module, self.model)},
            optimizers={"model": cast(Optimizer, self.optimizer)},
            state={
                "scheduler": cast(LRScheduler, self.lr_scheduler).state_dict(),
                "trainer": json.loads(self._state_json()) if self.is_world_process_zero() else {},
            },
            here=self.is_world_process_zero(),
        )

    def _state_json(self) -> str:
        path = self._work / "trainer_state.json"
        self.state.save_to_json(str(path))
        return path.read_text()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        read_checkpoint(folder, models={"model": cast(nn.Module, self.model)}, optimizers={})
        # transformers reads its own state file from the same folder right after this, on each machine
        if self.is_local_process_zero():
            state = json.loads((folder / "state.json").read_text())
            (folder / "trainer_state.json").write_text(json.dumps(state["trainer"]))
        self.accelerator.wait_for_everyone()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            state = read_checkpoint(Path(checkpoint), models={}, optimizers={"model": cast(Optimizer, self.optimizer)})
            cast(LRScheduler, self.lr_scheduler).load_state_dict(state["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            read_checkpoint(Path(checkpoint), models={}, optimizers={})


class RowsOfProcess(Sampler[list[int]]):
    """The rows that one process takes in each forward pass.

    The rows of an optimizer step are dealt out to all passes of all processes. Every process must have a row in every
    pass. Where an epoch's last step has fewer rows than processes, each row is therefore taken equally often, which
    leaves the mean over the step as it is.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, passes: int, process: int, processes: int) -> None:
        self.sampler, self.batch_size, self.passes = sampler, batch_size, passes
        self.process, self.processes = process, processes

    def __len__(self) -> int:
        whole, rest = divmod(len(cast(Sized, self.sampler)), self.batch_size)
        return whole * self.passes + (self._passes_of(rest) if rest else 0)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            passes = self._passes_of(len(rows))
            places = passes * self.processes
            rows *= math.ceil(places / len(rows))
            for number in range(passes):
                yield rows[number * self.processes + self.process :: places]

    def _passes_of(self, rows: int) -> int:
        return max(1, min(math.ceil(rows * self.passes / self.batch_size), rows // self.processes))


class PairMeanTrainer(ResumableTrainer):
    """Mixin for losses that are a mean over the pairs of the global batch, however passes and processes share them."""

    loss_is_scaled_for_ga = True  # each pass is divided by the pairs of all passes, so that a short one weighs less

    def pairs_in(self, batch: dict[str, torch.Tensor]) -> int:
        """How many pairs a batch of the collator holds."""
        raise NotImplementedError

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device) -> Any:
        pairs = torch.tensor(sum(map(self.pairs_in, batch_samples)), device=device)
        return self.accelerator.gather(pairs).sum() if self.args.world_size > 1 else pairs

    def share_of_mean(self, losses: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """This pass's share of the mean over all `pairs`, from its `losses` (N,).

        Processes average their gradients, so it is multiplied by the number of processes.
        """
        share: torch.Tensor = losses.sum() / pairs * self.args.world_size
        return share


def run_trainer(
    trainer: Trainer,
    config: TrainerConfig,
    reporter: Reporter,
    name: str,
    curves: Sequence[str] = (),
    *,
    tokens: float = 0.0,
) -> dict[str, float]:
    """Train, from the newest checkpoint where there is one. Returns `loss`, the mean of the last tenth of the log, and
    `tokens_per_second` of the steady state, which depends on the machine and its load.

    `curves` names what else the trainer logs and the reporter should hear. `tokens`: those of the whole training, of
    which every step has its share; without them there is no speed.
    """
    pulse = Pulse(config, reporter, name, curves, tokens)
    trainer.add_callback(pulse)
    if told := told_of_kernel(cast(nn.Module, trainer.model), config.kernel):
        reporter.log(f"{name}: {told}")
    found = newest_checkpoint(Path(str(trainer.args.output_dir)))
    if found is not None:
        reporter.log(f"{name}: resumed from step {found[1]}")
    trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
    model = cast(nn.Module, trainer.model)
    require_finite(model, name)
    if is_sharded(model):
        gather(model, keep=trainer.is_world_process_zero())
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    speed = pulse.tokens_per_second
    return {"loss": float(sum(tail) / len(tail)), **({} if speed is None else {SPEED: speed})}
