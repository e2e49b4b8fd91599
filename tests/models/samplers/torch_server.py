"""A program that is started as vLLM is, and draws by torch: for steps that a server draws in, where there is no vLLM.

`python torch_server.py serve FOLDER … --uds SOCKET`. With DIES_AFTER=N in its environment it ends after N answers, with
KEEPS=1 it answers for every adapter by the first one that it was given.
"""

import json
import os
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # it is started without the paths of its parent

from models.checkpoint import load_policy
from models.config import SamplingConfig
from models.generation import Request, sample


class Server(socketserver.UnixStreamServer):
    """One request after the other."""

    policy = load_policy(Path(sys.argv[2]))
    adapters: ClassVar[dict[str, nn.Module]] = {}
    left = int(os.environ.get("DIES_AFTER", "1000000"))


class Handler(BaseHTTPRequestHandler):
    """What Halter asks."""

    server: Server

    def do_GET(self) -> None:
        says = {
            "/health": {},
            "/version": {"version": "0.32.0"},
            "/v1/models": {"data": [{"id": "policy", "max_model_len": 128}]},
        }
        self._say(says[self.path])

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/completions":
            self._change(asked)
            return
        if self.server.left == 0:
            print("OutOfMemoryError: no room", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        self.server.left -= 1
        request = Request(asked["prompt"], (asked["temperature"],), asked["seed"])
        config = SamplingConfig(max_new_tokens=asked["max_tokens"])
        policy = self.server.adapters.get(asked["model"], self.server.policy)
        ((drawn,),) = sample(policy, [request], config, end_ids=asked["stop_token_ids"] or [-1], pad_id=0)
        choice = {
            "token_ids": drawn.ids,
            "prompt_token_ids": asked["prompt"],
            "logprobs": {"token_logprobs": drawn.logprobs},
            "finish_reason": "stop" if drawn.finished else "length",
        }
        self._say({"choices": [choice]})

    def _change(self, asked: dict[str, str]) -> None:
        """An adapter comes or goes."""
        adapters, name = self.server.adapters, asked["lora_name"]
        if self.path == "/v1/load_lora_adapter":
            kept = list(adapters.values())[:1] if "KEEPS" in os.environ else []
            adapters[name] = kept[0] if kept else load_policy(Path(asked["lora_path"]), self.server.policy)
            print(f"given {name}", flush=True)
        elif "KEEPS" not in os.environ:
            del adapters[name]
        self._say({})

    def _say(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """A unix socket has none."""
        return ""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    Server(sys.argv[sys.argv.index("--uds") + 1], Handler).serve_forever()
