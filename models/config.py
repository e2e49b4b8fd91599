"""Every hyper-parameter of the torch code, declared once.

These classes need pydantic alone, so that checking a config or showing a status never waits for torch. Each trainer
reads its own class; nobody else does. Defaults are the paper's (Llama 2, arXiv 2307.09288) where it gives a value.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Templates ask for today's date (Llama 3.2, gpt-oss, SmolLM3): ids, and all that is learned from them, would be others
# tomorrow. Llama 3.1's template names this one.
TEMPLATE_DATE = date(2024, 7, 26)


SafetyThreshold = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="Below this safety score the safety model decides; 0: on safety prompts alone. A safety "
        "model that learned from no labelled pairs has no such score: then it is 0",
    ),
]
"""Where the safety model decides in place of the helpfulness model (Llama 2, section 3.2.3)."""


class Config(BaseModel):
    """Base of every config section: unknown keys are errors, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class TokenizerConfig(Config):
    """SentencePiece BPE (Llama 2, section 2.2)."""

    vocab_size: int = Field(default=32_000, ge=300, description="Pieces, with the 256 bytes and the control symbols")
    character_coverage: float = Field(
        default=0.9995,
        gt=0.9,
        le=1,
        description="Share of characters with a piece of their own; the rest fall back to bytes",
    )
    sample_sentences: int = Field(default=1_000_000, ge=0, description="Lines drawn for training, 0 for all")
    max_sentence_length: int = Field(default=4096, ge=64, description="Longer lines are cut, in characters")


class ArchitectureConfig(Config):
    """A Llama that is trained from nothing. `preset` names a published size; every other value given overrides it."""

    preset: str | None = Field(default=None, description="A published size, as llama2-7b; little is the demo's")
    hidden_size: int | None = Field(default=None, ge=8, description="Width of the model")
    num_layers: int | None = Field(default=None, ge=1, le=1000, description="Transformer blocks")
    num_heads: int | None = Field(default=None, ge=1, description="Attention heads; they share hidden_size evenly")
    num_kv_heads: int | None = Field(default=None, ge=1, description="Fewer than num_heads: grouped-query attention")
    ffn_size: int | None = Field(default=None, ge=8, description="Width of the SwiGLU feed-forward")
    context_length: int | None = Field(default=None, ge=32, description="Most tokens that are read at once")
    rope_theta: float | None = Field(
        default=None, gt=0, description="Base of the rotary position embedding; a larger one serves a longer context"
    )
    rms_norm_eps: float | None = Field(default=None, gt=0, description="Keeps RMSNorm from dividing by zero")
    tie_embeddings: bool | None = Field(default=None, description="Input and output embeddings share their weights")
    initializer_range: float | None = Field(default=None, gt=0, description="Standard deviation of fresh weights")


class LoraConfig(Config):
    """Low-rank adapters (peft) on a frozen base instead of full fine-tuning."""

    rank: int = Field(default=16, ge=1, description="Rank of each update: more learns more, and takes more memory")
    alpha: int = Field(default=32, ge=1, description="The update is scaled by alpha / rank")
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Linear layers that get an adapter",
    )


Kernel = Literal["auto", "torch", "onednn"]
Sampler = Literal["torch", "vllm-0.32.0"]


class TrainerConfig(Config):
    """What every trainer has. AdamW with beta 0.9 and 0.95, eps 1e-5, weight decay 0.1, clip 1.0 (section 2.2)."""

    learning_rate: float = Field(gt=0, description="Peak learning rate")
    batch_size: int = Field(ge=1, description="Rows of one optimizer step")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW: how slowly the mean of the gradients moves")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="AdamW: how slowly the mean of their squares moves")
    adam_eps: float = Field(default=1e-5, gt=0, description="AdamW: added to the denominator")
    weight_decay: float = Field(default=0.1, ge=0, description="AdamW: pull of the weights towards 0")
    max_grad_norm: float = Field(default=1.0, gt=0, description="A longer gradient is scaled down to this norm")
    accumulation_steps: int = Field(
        default=1, ge=1, description="Forward passes of one optimizer step; batch_size is their sum"
    )
    checkpoint_seconds: float = Field(
        default=60, gt=0, description="A training that is cut off loses at most this much"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="With bfloat16 the matrix products are in it, as are models that are only read here: the base of "
        "adapters, PPO's reward models. What is trained is held, and saved, in float32",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Activations are computed again on the way back, not kept: less memory, about a third more time",
    )
    kernel: Kernel = Field(
        default="auto",
        exclude_if=lambda kernel: kernel == "auto",
        description="Who makes float32 products on a CPU: torch, oneDNN, or oneDNN the large ones where that is faster",
    )
    threads: int = Field(default=1, ge=1, description="CPU threads of torch; more can be slower on a shared machine")
    processes: int = Field(
        default=1,
        ge=1,
        description="Processes that share each optimizer step, which keeps its rows: of this machine, or of all the "
        "nodes that resources gives the step. Where there are GPUs each takes one",
    )
    step_rows: ClassVar[str] = "batch_size"
    """The field that says how many rows one optimizer step has."""

    @property
    def shards(self) -> int:
        """Processes over which weights, gradients and Adam's moments are spread; 1: each process has all of them."""
        return 1

    @property
    def pass_rows(self) -> int:
        """Rows that one process reads in one forward pass."""
        rows: int = getattr(self, self.step_rows)
        return rows // (self.accumulation_steps * self.processes)

    @model_validator(mode="after")
    def _every_pass_has_rows(self) -> Self:
        if getattr(self, self.step_rows) % (self.accumulation_steps * self.processes):
            raise ValueError(
                f"{self.step_rows} {getattr(self, self.step_rows)} must be a multiple of accumulation_steps "
                f"{self.accumulation_steps} times processes {self.processes}"
            )
        return self


class ShardedConfig(TrainerConfig):
    """A trainer whose model may be spread over its processes."""

    sharded: bool = Field(
        default=False,
        exclude_if=lambda sharded: not sharded,  # results without it are those of before there was such a key
        description="Weights, gradients and Adam's moments are spread over the processes, each of which holds a part: "
        "for a model that does not fit one GPU",
    )

    @property
    def shards(self) -> int:
        return self.processes if self.sharded else 1

    @model_validator(mode="after")
    def _has_processes_to_be_spread_over(self) -> Self:
        if self.sharded and self.processes == 1:
            raise ValueError("sharded spreads the model over processes, and processes is 1: raise it, or take it out")
        return self


class PretrainConfig(ShardedConfig):
    """Pretraining (section 2.2): cosine to 10% of the peak after the warm-up."""

    learning_rate: float = Field(default=3e-4, gt=0, description="Peak learning rate")
    batch_size: int = Field(default=1024, ge=1, description="Packed rows of one optimizer step")
    max_steps: int = Field(default=500_000, ge=1, description="Optimizer steps")
    warmup_steps: int = Field(default=2000, ge=0, description="Optimizer steps in which the learning rate rises from 0")
    sequence_length: int = Field(
        default=4096, ge=8, description="Tokens of a row; longer documents are cut into several rows"
    )


class SFTConfig(ShardedConfig):
    """Supervised fine-tuning (section 3.1): cosine, loss on answers only, rows filled with whole dialogues."""

    learning_rate: float = Field(default=2e-5, gt=0, description="Peak learning rate")
    batch_size: int = Field(default=64, ge=1, description="Packed rows of one optimizer step")
    epochs: float = Field(default=2, gt=0, description="Passes over the dialogues; 0.5 is half of them")
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the optimizer steps in which the learning rate rises from 0"
    )
    sequence_length: int = Field(default=4096, ge=8, description="Tokens of a packed row; a longer dialogue is refused")


class RewardConfig(ShardedConfig):
    """A reward model (section 3.2): ranking loss with a margin by rating, auxiliary safety loss, data mix."""

    learning_rate: float = Field(default=1e-5, gt=0, description="Peak learning rate")
    batch_size: int = Field(default=512, ge=1, description="Pairs of one optimizer step")
    epochs: float = Field(default=1, gt=0, description="More over-fits at the paper's size (section 3.2.2)")
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the optimizer steps in which the learning rate rises from 0"
    )
    min_warmup_steps: int = Field(default=5, ge=0, description="At least so many steps, where the share is fewer")
    margins: Literal["none", "small", "large"] = Field(default="small", description="Margin scale by rating (table 27)")
    safety_loss_coef: float = Field(
        default=1.0, ge=0, description="Weight of the safety classification in the safety model"
    )
    unlabelled_safety_pairs: Literal["order_only", "rejected_is_unsafe"] = Field(
        default="order_only",
        description="order_only: they teach which answer is safer, and no level; without any label safety_threshold "
        "counts as 0. rejected_is_unsafe: they count as a safe and an unsafe answer",
    )
    safety_other_share: float = Field(
        default=0.1, ge=0, lt=1, description="Share of helpfulness pairs in the safety model's training data"
    )
    helpfulness_other_share: float = Field(
        default=0.5, ge=0, lt=1, description="Share of safety pairs in the helpfulness model's training data"
    )
    gold_percent: int = Field(
        default=0,
        ge=0,
        le=90,
        description="Share of the prompts whose pairs train a gold reward model alone: it judges, nothing optimises it",
    )
    max_length: int = Field(default=4096, ge=8, description="Tokens of prompt and response; a longer pair is refused")


class SamplingConfig(Config):
    """How responses are drawn."""

    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Below 1 the likely tokens gain, above 1 the unlikely ones. Where the section above has a "
        "temperature, or temperatures, of its own, those count and not this one",
    )
    max_new_tokens: int = Field(default=1024, ge=1, description="Tokens of a response; a longer one is cut here")
    batch_size: int = Field(default=64, ge=1, description="Rows that are decoded together")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Of the weights and activations of the models that answer, and of those that score the answers. "
        "Where the section above has a dtype of its own, that counts and not this one",
    )
    shards: int = Field(
        default=1, ge=1, description="Processes that share the work on a machine without an accelerator"
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="CPU threads of torch; more can be slower on a shared machine, and go with one shard alone. Where "
        "the section above has threads of its own, those count and not this one",
    )
    sampler: Sampler = Field(
        default="torch",
        exclude_if=lambda sampler: sampler == "torch",
        description="Who draws in `collect`, `rejection`, `evaluate` and, with `lora`, `ppo`: torch, or the engine "
        "that `vllm` tells of",
    )

    @model_validator(mode="after")
    def _threads_or_shards(self) -> Self:
        if self.threads > 1 and self.shards > 1:
            raise ValueError(f"threads {self.threads} and shards {self.shards} do not go together: set one to 1")
        return self


class PPOConfig(ShardedConfig):
    """PPO on the combined reward (section 3.2.3): clip 0.2, one gradient step a mini-batch, constant learning rate
    1e-6."""

    step_rows: ClassVar[str] = "mini_batch_size"

    learning_rate: float = Field(default=1e-6, gt=0, description="Of the policy, constant")
    value_learning_rate: float = Field(default=1e-6, gt=0, description="Of the value model, constant")
    iterations: int = Field(default=400, ge=1, description="Rounds of sampling and learning, at the most")
    batch_size: int = Field(default=512, ge=1, description="Prompts of one iteration")
    mini_batch_size: int = Field(default=64, ge=1, description="Responses of one gradient step")
    epochs: int = Field(default=1, ge=1, description="Passes over each batch")
    clip_range: float = Field(
        default=0.2,
        gt=0,
        description="Beyond 1 ± this, a token's probability ratio to the sampling policy earns nothing",
    )
    value_clip_range: float | None = Field(
        default=0.2, gt=0, description="A value moves by at most this from the one at sampling; empty: not clipped"
    )
    kl_coef: float = Field(
        default=0.01,
        ge=0,
        description="Price of a nat of distance to the fine-tuned policy (the paper's beta: 0.01 for 7B and 13B, 0.005 "
        "for 34B and 70B)",
    )
    gamma: float = Field(default=1.0, gt=0, le=1, description="Discount per token: 1 counts late rewards in full")
    gae_lambda: float = Field(
        default=0.95, ge=0, le=1, description="Advantages: 1 trusts the rewards that came, 0 the value model"
    )
    safety_threshold: SafetyThreshold = 0.15
    min_reward_std: float = Field(
        default=0.0, ge=0, description="Whitening never divides by less; stops noise from being scaled up"
    )
    truncated_reward: float | Literal["lowest", "own"] = Field(
        default="lowest",
        description="Raw score of a response cut at max_new_tokens. lowest: its own, but no more than the lowest of "
        "the finished responses of the batch; own: its own; or a number",
    )
    safety_share: float = Field(default=0.33, ge=0, le=1, description="Share of adversarial prompts")
    validation_prompts: int = Field(default=100, ge=1, description="Held-out prompts that decide when to stop")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="How the policy answers, both kinds of prompts"
    )
    validate_every: int = Field(default=5, ge=1, description="Iterations between looks at held-out prompts")
    patience: int = Field(default=3, ge=1, description="Looks without a better held-out reward before training stops")
    kl_limit: float = Field(
        default=20.0,
        gt=0,
        description="Nats per response; beyond it training stops, and the best policy before it is kept",
    )
    min_entropy: float = Field(
        default=0.01, ge=0, description="Nats per token; below it the policy has collapsed and the step fails"
    )

    @model_validator(mode="after")
    def _mini_batches_fill_the_batch(self) -> "PPOConfig":
        size, part = self.batch_size, self.mini_batch_size
        if size % part:
            raise ValueError(f"batch_size {size} must be a multiple of mini_batch_size {part}")
        return self


class DPOConfig(ShardedConfig):
    """Direct preference optimisation as in Llama 3 (arXiv 2407.21783, sections 4.1.4 and 4.2.1), cosine after the
    warm-up."""

    learning_rate: float = Field(default=1e-5, gt=0, description="Peak learning rate")
    batch_size: int = Field(default=128, ge=1, description="Pairs of one optimizer step")
    epochs: float = Field(default=1, gt=0, description="Passes over the pairs, at the most")
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the optimizer steps in which the learning rate rises from 0"
    )
    beta: float = Field(default=0.1, gt=0, description="Strength of the pull to the policy before this stage")
    nll_coef: float = Field(default=0.2, ge=0, description="Weight of the chosen responses' own likelihood")
    preference_batches: int = Field(default=2, ge=1, description="Newest batches of preferences, one an iteration")
    ratings: tuple[Literal["significantly_better", "better", "slightly_better", "negligibly_better"], ...] = Field(
        default=("significantly_better", "better"), min_length=1, description="Pairs rated otherwise are left out"
    )
    max_length: int = Field(default=4096, ge=8, description="Tokens of prompt and response; a longer pair is refused")
    validation_percent: int = Field(
        default=10, ge=1, le=90, description="Share of the prompts whose pairs decide which policy is kept"
    )
    validate_every: int = Field(default=20, ge=1, description="Optimizer steps between looks at those pairs")
    patience: int = Field(default=3, ge=1, description="Looks without a lower loss before training stops")
    kl_prompts: int = Field(default=64, ge=1, description="Prompts on which the distance to the reference is measured")
    sampling: SamplingConfig = Field(
        default=SamplingConfig(), description="How the reference answers those prompts, once"
    )
