"""A vLLM server for the policies of one step, one after the other."""

import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self, cast

from torch import nn
from transformers import PreTrainedConfig

from models.checkpoint import is_adapter
from models.samplers.client import Client, RefusedError, VllmError, http_client
from models.samplers.config import VllmConfig
from models.samplers.replies import Served, base_of
from models.samplers.served import Called, ServedPolicy
from models.samplers.server import Server

_HOW = "start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"


class Serving:
    """Use as a context. An adapter is given to the server that serves its base; for whole weights one is started on
    them. `version`: the vLLM that it must be; `connections`: requests at the same time; `tell` hears what the server
    says, and how near its log-probabilities are to torch's."""

    def __init__(
        self, config: VllmConfig, version: str, dtype: str, connections: int, tell: Callable[[str], None]
    ) -> None:
        self.config, self._version, self._dtype = config, version, dtype
        self._connections, self._tell = connections, tell
        self._open = ExitStack()
        self.server: Server | None = None
        """The one that was started here."""
        self._weights: Path | None = None  # what is served now
        self._client: Client | None = None
        self._base = Served(id="")
        self._adapter = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_adapter()
        self._open.close()

    def policy(
        self, policy: nn.Module, folder: Path, base: Path | None, name: str, *, compared: bool = False
    ) -> ServedPolicy:
        """The policy that `folder` holds, on `base` where it is an adapter, as the server answers for it; `policy` is
        the same here. `name` is its version. What was given before is not answered for any more. `compared`: the
        caller holds its log-probabilities against torch's itself.

        Raises ValueError for what the server cannot serve, VllmError where it does not start or answer, or is another
        version.
        """
        adapts = is_adapter(folder)
        if adapts and base is None:
            raise ValueError("an adapter needs its base model: give the base's folder")
        weights = base if adapts and base is not None else folder
        client = self._serving(weights, folder if adapts else None)
        self._drop_adapter()
        context = self._base.max_model_len or cast(PreTrainedConfig, policy.config).max_position_embeddings
        if not adapts:
            called = Called.now(self._base.id, context)
            return ServedPolicy(client, called, policy, self._dtype, self._tell, compared=compared)
        called = Called.now(f"halter-{name[:32]}", context)
        # of one that is there it would keep the old weights, and say nothing
        given = {"lora_name": called.name, "lora_path": str(folder.resolve()), "load_inplace": True}
        try:
            client.ask("POST", "/v1/load_lora_adapter", given)
        except RefusedError as error:
            how = f": {_HOW}" if error.status in (404, 405) else ""
            raise ValueError(f"vLLM does not take the adapter {folder}{how}. {error}") from None
        self._adapter = called.name
        return ServedPolicy(client, called, policy, self._dtype, self._tell, compared=compared)

    def _serving(self, weights: Path, adapter: Path | None) -> Client:
        """The server on these weights."""
        if self._client is not None and (self.config.url is not None or self._weights == weights):
            return self._client
        if self.config.url is not None:
            if adapter is None:
                raise ValueError(
                    "vllm.url: a server that somebody else runs is given adapters alone, and this policy is whole "
                    "weights: give vllm.command, or lora"
                )
            http = self._open.enter_context(http_client(self.config, connections=self._connections))
            client = Client(http, self.config, lambda: None)
        else:
            self._open.close()
            rank = None if adapter is None else _rank(adapter)
            server = Server(self.config, weights, dtype=self._dtype, lora_rank=rank, tell=self._tell)
            self.server = self._open.enter_context(server)
            made = http_client(self.config, socket=server.socket, connections=self._connections)
            client = Client(self._open.enter_context(made), self.config, server.require_alive)
        self._base = base_of(client, self._version)
        self._weights, self._client, self._adapter = weights, client, ""
        return client

    def _drop_adapter(self) -> None:
        if self._client is not None and self._adapter:
            name, self._adapter = self._adapter, ""
            with suppress(RefusedError, VllmError):  # the server has gone, or forgotten it
                self._client.ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})


def _rank(adapter: Path) -> int:
    settings: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text())
    return int(settings["r"])
