"""PPO's answers drawn by a vLLM server, which is given each new policy as an adapter.

What PPO learns from are the trainer's own log-probabilities of the answers, never the server's. The two are held
against each other in each batch: they are of the same weights, and differ by rounding.
"""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed, nn

from models.algorithms.ppo import importance_weights
from models.config import SamplingConfig
from models.dialogue import Renderer
from models.generation import Request, Response
from models.samplers.client import VllmError
from models.samplers.served import BOUNDS
from models.samplers.serving import Serving
from models.training.sharding import save_spread

CAP = 2.0
"""No token counts more often than this for having been drawn too seldom."""
ANOTHER_MODEL = 1.0
"""Nats a token, in the mean: rounding makes hundredths of it."""
_DRAWING = timedelta(hours=24)


class PolicyServer:
    """Draws for a policy that is trained. `base`: the folder of the model that its adapters are on; `work`: where the
    adapters are put, for as long as they are drawn by."""

    def __init__(self, serving: Serving, base: Path, work: Path) -> None:
        self._serving, self._base, self._work = serving, base, work

    def draw(
        self, policy: nn.Module, renderer: Renderer, requests: Sequence[Request], config: SamplingConfig, *, here: bool
    ) -> list[Response]:
        """The response to each request, which has one temperature, by the policy as it is now. All processes must call
        it; one asks the server, `here`, and the others wait. Raises what ServedPolicy.sample does."""
        self._work.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="policy-", dir=self._work))  # a name that no policy had before
        try:
            save_spread(policy, renderer.tokenizer, folder, here=here)
            said: list[Any] = [None]
            if here:
                served = self._serving.policy(policy, folder, self._base, folder.name, compared=True)
                drawn = served.sample(requests, config, end_ids=renderer.end_ids)
                said = [[response for [response] in drawn]]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if distributed.is_initialized():
            distributed.broadcast_object_list(said, src=0, group=_waiting())
        return cast(list[Response], said[0])

    @staticmethod
    def held_against(
        drawn: torch.Tensor, logprobs: torch.Tensor, mask: torch.Tensor, dtype: str
    ) -> tuple[torch.Tensor | None, dict[str, float]]:
        """How far the log-probabilities of whoever has `drawn` are from the trainer's, (B, T) each, over the real
        tokens of `mask`; and the weights (B, T) by which advantages are multiplied where that is more than rounding
        makes (BOUNDS: in float32 of any token, in bfloat16 in the mean), else None.

        Raises VllmError where it is so far that other weights have drawn.
        """
        apart = (logprobs - drawn).abs()[mask]
        mean, largest = float(apart.mean()), float(apart.max())
        if not mean <= ANOTHER_MODEL:
            raise VllmError(
                f"vLLM's log-probabilities are {mean:.2g} nats a token from the trainer's: other weights have answered "
                "than those of the policy, or its --logprobs-mode is not processed_logprobs; start the server anew"
            )
        beyond = (largest if dtype == "float32" else mean) > BOUNDS[dtype]
        told = {"sampler_gap": mean, "sampler_gap_max": largest, "sampler_weighted": float(beyond)}
        return importance_weights(logprobs, drawn, CAP) if beyond else None, told


@cache
def _waiting() -> distributed.ProcessGroup:
    """In which processes wait while one has answers drawn, longer than torch.distributed would let them."""
    return cast(distributed.ProcessGroup, distributed.new_group(backend="gloo", timeout=_DRAWING))
