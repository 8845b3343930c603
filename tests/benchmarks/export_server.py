"""An OpenAI-compatible server on loopback with a study's embedded models, which records the requests.

llama.cpp's own HTTP server answers, loaded as :mod:`optimizers.models.llama` loads it, so that window,
slots, prefix cache and threads are those of the direct runs. llama.cpp's server has one model each, so a
thin server in front finds the weights by the request's model. It also records the requests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from optimizers.models import llama

if TYPE_CHECKING:
    from optimizers.models.model import Model

SECONDS = 300


@dataclass
class LocalServer:
    """The served models and the requests for them.

    Attributes:
        address: Address for clients, with ``/v1`` at its end.
        models: Name as requests have it -> the model.
        requests: Bodies of the requests since the list was last cleared.
    """

    models: dict[str, Model]
    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    _loaded: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, content: bytes) -> tuple[int, bytes]:
        """Status and content of llama.cpp's answer."""
        body = json.loads(content)
        name = str(body.get("model"))
        if name not in self.models:
            return 404, json.dumps({"error": {"message": f"There is no model {name}."}}).encode()
        with self._lock:
            self.requests.append(body)
            if name not in self._loaded:
                model = self.models[name]
                self._loaded[name] = llama._load(llama.weights(model.name), model.context)
        request = Request(
            self._loaded[name].listening_address + path, content, {"Content-Type": "application/json"}
        )
        try:
            with urlopen(request, timeout=SECONDS) as reply:
                return reply.status, reply.read()
        except HTTPError as error:
            return error.code, error.read()

    def close(self) -> None:
        """Free the weights."""
        self._loaded.clear()


@contextmanager
def serving(models: Sequence[Model]) -> Iterator[LocalServer]:
    """Serve some models inside the block; weights are loaded at the first request for them."""
    local = LocalServer({model.name.partition("/")[2]: model for model in models})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            listed = [{"id": name, "object": "model"} for name in local.models]
            self._send(200, json.dumps({"object": "list", "data": listed}).encode())

        def do_POST(self) -> None:
            self._send(*local.answer(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def _send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    local.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        local.close()
