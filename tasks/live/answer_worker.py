"""The process in which policies answer people who wait: `python -m tasks.live.answer_worker`.

It reads JSON lines until standard input closes: a policy to load, which stays loaded, or a request to answer. Each
answer is drawn alone, with a seed of its own, so that it can be drawn again whatever else was asked.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.files import write_all
from models.config import SamplingConfig
from tasks.answers import open_renderer
from tasks.sampling import draw

if TYPE_CHECKING:
    from torch import nn

    from models.dialogue import Renderer


def main() -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the page, which closes our input
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    policies = Policies()
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            _say(answers, policies.load(**request["load"]))
        else:
            _say(answers, {"id": request["id"], **policies.answer(request)})


class Policies:
    """The loaded policies, by version. Adapters on one base share its weights."""

    def __init__(self) -> None:
        self.bases: dict[str, nn.Module] = {}
        self.policies: dict[str, tuple[nn.Module, Renderer]] = {}

    def load(self, version: str, folder: str, base: str | None) -> dict[str, str]:
        """`loaded`: the version; also `error` where it cannot be, in which case the others stay."""
        from models.checkpoint import load_policy

        try:
            if base is not None and base not in self.bases:
                self.bases[base] = load_policy(Path(base))
            policy = load_policy(Path(folder), None if base is None else self.bases[base])
            self.policies[version] = policy, open_renderer(Path(folder))
        except Exception as error:
            return {"loaded": version, "error": f"{type(error).__name__}: {error}"}
        return {"loaded": version}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """`text`, `finished`, `token_ids` and `tokenizer`; or `tokens`, where the dialogue has more than
        `prompt_tokens` of them."""
        policy, renderer = self.policies[request["version"]]
        messages = request["messages"]
        tokens = len(renderer.prompt(messages))
        if tokens > request["prompt_tokens"]:
            return {"tokens": tokens}
        sampling = SamplingConfig(max_new_tokens=request["max_new_tokens"], batch_size=1)
        temperature = request["temperature_milli"] / 1000
        ((drawn,),) = draw(policy, renderer, [messages], sampling, temperatures=[temperature], seed=request["seed"])
        return {"text": drawn.text, **drawn.columns()}


def _say(answers: int, message: Mapping[str, Any]) -> None:
    write_all(answers, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
