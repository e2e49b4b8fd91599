"""A local HTTP server that answers as a test tells it, wrongly mostly."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Asked(BaseHTTPRequestHandler):
    """A request, with what came with it."""

    body = b""


Answer = Callable[[Asked], None]


def says(body: bytes, status: int = 200) -> Answer:
    """An answer with this body."""

    def answer(request: Asked) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def drips(request: Asked) -> None:
    """A byte at a time, and never to an end."""
    request.send_response(200)
    request.end_headers()
    with suppress(OSError):
        for _ in range(90):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.02)


@contextmanager
def answering(answers: dict[str, Answer]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the paths that were asked for so far."""
    asked: list[str] = []

    class Handler(Asked):
        def do_GET(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            answers.get(self.path, says(b"not found", 404))(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
