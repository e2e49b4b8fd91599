"""A real HTTP server that speaks chat completions, in this process."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[str, int], tuple[int, Any]]


def later_is_better(question: str, _: int) -> tuple[int, Any]:
    """A judge without bias: it prefers what comes later in the alphabet."""
    if "Response A" not in question:
        return 200, "safe"
    a, b = (re.search(rf"\[Response {letter}.*\]\n(.*)", question)[1] for letter in "AB")  # type: ignore[index]
    return 200, ("A" if a > b else "B") + " better"


@dataclass
class ChatServer:
    """What it was asked, and how it replies: (status, text or body) for a question and the number of its request."""

    url: str = ""
    reply: Reply = later_is_better
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """The server, while the block lasts."""
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                state.asked.append({**content, "path": self.path})
                state.keys.add(self.headers.get("authorization"))
                number = len(state.asked)
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            status, text = state.reply(content["messages"][0]["content"], number)
            with state.lock:
                state.at_once -= 1
            body = text
            if status == 200 and isinstance(text, str):
                body = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
