"""An OpenAI-compatible server on loopback that answers a small task and fails on purpose.

In a test::

    with FaultServer(Faults(rate=0.2, mode="once")) as server:
        model("openai/small", api_base=server.address, price=(0.1, 0.2))

In a process of its own, which outlives a client that is killed::

    python tests/faults/server.py --log requests.jsonl --latency 20

Answers depend on the request alone, so two studies that send the same get the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, Literal, Self, get_args

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.answers import answer

Kind = Literal["429", "500", "reset", "hang", "truncated", "html", "slow", "400", "401"]
"""What can go wrong: refused for now, server error, connection reset before an answer, no answer at all,
half a JSON body, a web page in place of JSON, an answer that trickles; and refused for good, with a body that
repeats the key and the address it was sent."""

Mode = Literal["each", "once"]

REFUSALS: tuple[Kind, ...] = ("400", "401")

KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind not in REFUSALS)
"""What another attempt may mend."""


@dataclass(frozen=True)
class Faults:
    """Which requests fail, and how.

    Attributes:
        rate: Share of requests that fail, in [0, 1].
        kinds: What happens to them, each as often as any other.
        mode: ``each`` decides on every arrival by its number; ``once`` decides by the request's
            content and fails only its first arrival, so that one retry is always answered.
        seed: Another seed fails other requests.
        retry_after: Seconds a 429 asks to wait.
        hang: Seconds before a hanging connection is closed; choose more than the client's timeout.
        slow: Seconds over which a slow answer trickles.
    """

    rate: float = 0.0
    kinds: Sequence[Kind] = KINDS
    mode: Mode = "each"
    seed: int = 0
    retry_after: int = 0
    hang: float = 2.0
    slow: float = 0.5

    def decide(self, number: int, content: str, first: bool) -> Kind | None:
        """The fault of a request, or None.

        Args:
            number: Its place in the order of arrival, from 1.
            content: Hash of its body.
            first: Whether this content arrives for the first time.
        """
        if self.mode == "once" and not first:
            return None
        drawn = Random(f"{self.seed} {content if self.mode == 'once' else number}")
        return drawn.choice(self.kinds) if drawn.random() < self.rate else None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The requests a server wrote down, in order of arrival.

    Each has ``number``, ``time`` (seconds since the epoch), ``body`` (sha256), ``model``, ``id``
    (the client's request id or None), ``fault`` and ``complete``; the last two are None for
    a request that was still open when the server ended.
    """
    requests: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        requests.setdefault(entry["number"], {"fault": None, "complete": None}).update(entry)
    return list(requests.values())


class Book:
    """Counts requests and writes each down when it arrives and when it ends."""

    def __init__(self, faults: Faults, most: int, log: Path | None) -> None:
        self._faults, self._most = faults, most
        self._counts = {"received": 0, "completed": 0, "faulted": 0}
        self._ended = 0
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(log, flags, 0o644) if log else None

    def counts(self) -> dict[str, int]:
        """``received``, ``completed`` (true answers written to the end) and ``faulted`` requests.

        A slow answer that reaches its end counts as completed and as faulted.
        """
        with self._lock:
            return dict(self._counts)

    def receive(self, body: bytes, model: str, identity: str | None) -> tuple[int, Kind | None] | None:
        """Number a request and decide its fault; None when there were enough requests."""
        content = hashlib.sha256(body).hexdigest()
        with self._lock:
            if self._counts["received"] >= self._most:
                return None
            self._counts["received"] += 1
            number = self._counts["received"]
            fault = self._faults.decide(number, content, content not in self._seen)
            self._counts["faulted"] += fault is not None
            self._seen.add(content)
            self._write(number=number, time=time.time(), body=content, model=model, id=identity)
            return number, fault

    def end(self, number: int, fault: Kind | None, complete: bool) -> bool:
        """Note how a request ended; returns whether it was the last one allowed."""
        with self._lock:
            self._counts["completed"] += complete and fault in (None, "slow")
            self._ended += 1
            self._write(number=number, fault=fault, complete=complete)
            return self._ended >= self._most

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _write(self, **entry: Any) -> None:
        if self._file is not None:
            os.write(self._file, f"{json.dumps(entry)}\n".encode())


class FaultServer:
    """The server, listening as soon as it is made.

    Args:
        faults: What goes wrong; nothing if left out.
        port: Port on 127.0.0.1; the system chooses if left out.
        latency: Seconds before every answer.
        log: File to append requests to, see :func:`read_log`.
        max_requests: Requests after which it stops by itself.
        max_seconds: Seconds after which it stops by itself.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        port: int = 0,
        latency: float = 0.0,
        log: Path | None = None,
        max_requests: int = 100_000,
        max_seconds: float = 600.0,
    ) -> None:
        self.faults, self.latency = faults or Faults(), latency
        self.book = Book(self.faults, max_requests, log)
        self.stopping = threading.Event()
        self._over = threading.Event()
        self._max_seconds = max_seconds
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._loop = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._loop.start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    @property
    def address(self) -> str:
        """What to give a client as ``api_base``."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def stats(self) -> dict[str, int]:
        """The counters, as ``GET /stats`` gives them."""
        return self.book.counts()

    def stop(self) -> None:
        """Stop and close every connection."""
        self.ask_to_stop()
        self._keeper.join()

    def ask_to_stop(self) -> None:
        """Stop soon; safe in a signal handler and in a request's own thread."""
        self._over.set()

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._keeper.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _keep(self) -> None:
        self._over.wait(self._max_seconds)
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()
        self.book.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: FaultServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open_connections: set[socket.socket] = set()

    def shutdown_request(self, request: Any) -> None:
        # Without the polite shutdown before it, a close with no lingering is a reset.
        self.close_request(request)

    def hang_up(self) -> None:
        for connection in list(self.open_connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that vanish are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.open_connections.add(self.connection)

    def finish(self) -> None:
        self.server.open_connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._send(200, self.server.owner.stats())
        else:
            self._send(404, _problem("there is nothing here"))

    def do_POST(self) -> None:
        owner = self.server.owner
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        chat = self.path.endswith("/chat/completions")
        if not chat and not self.path.endswith("/completions"):
            self._send(404, _problem("there is nothing here"))
            return
        request = json.loads(body)
        arrived = owner.book.receive(body, request["model"], self.headers.get("X-Request-Id"))
        if arrived is None:
            self.close_connection = True
            return
        number, fault = arrived
        complete = False
        try:
            owner.stopping.wait(owner.latency)
            complete = not self._gone() and self._respond(fault, answer(request, chat=chat))
        except OSError:
            self.close_connection = True
        finally:
            if owner.book.end(number, fault, complete):
                owner.ask_to_stop()

    def _respond(self, fault: Kind | None, reply: dict[str, Any]) -> bool:
        """Send the reply or its fault; returns whether a whole response was written."""
        faults, stopping = self.server.owner.faults, self.server.owner.stopping
        match fault:
            case None:
                self._send(200, reply)
            case "429":
                self._send(429, _problem("too many requests"), f"Retry-After: {faults.retry_after}\r\n")
            case "500":
                self._send(500, _problem("the server failed"))
            case "400" | "401":
                key = self.headers.get("Authorization", "")
                self._send(int(fault), _problem(f"{key} is refused at {self.path}"))
            case "html":
                self._write(200, b"<html><body>Please log in.</body></html>", "text/html")
            case "truncated":
                whole = json.dumps(reply).encode()
                self._write(200, whole[: len(whole) // 2])
            case "slow":
                self._trickle(json.dumps(reply).encode(), faults.slow)
            case "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
            case "hang":
                stopping.wait(faults.hang)
                self.close_connection = True
        return fault not in ("reset", "hang")

    def _gone(self) -> bool:
        """Whether the client has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _trickle(self, body: bytes, seconds: float) -> None:
        self.connection.sendall(_head(200, len(body)))
        for byte in body:
            self.server.owner.stopping.wait(seconds / len(body))
            self.connection.sendall(bytes([byte]))

    def _send(self, status: int, content: Mapping[str, Any], headers: str = "") -> None:
        self._write(status, json.dumps(content).encode(), headers=headers)

    def _write(self, status: int, body: bytes, kind: str = "application/json", headers: str = "") -> None:
        # In one piece: a client sees the whole of it or nothing.
        self.connection.sendall(_head(status, len(body), kind, headers) + body)


def _head(status: int, length: int, kind: str = "application/json", headers: str = "") -> bytes:
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    return f"{line}Content-Type: {kind}\r\nContent-Length: {length}\r\n{headers}\r\n".encode()


def _problem(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "fault", "code": None}}


def main() -> None:
    """Serve until a limit is reached or SIGTERM comes; prints the address as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--log", type=Path, help="file to append requests to, as JSON lines")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before every answer")
    parser.add_argument("--rate", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=KINDS)
    parser.add_argument("--mode", choices=get_args(Mode), default="each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--retry-after", type=int, default=0, help="seconds a 429 asks to wait")
    parser.add_argument("--hang", type=float, default=2.0, help="seconds before a hanging connection closes")
    parser.add_argument("--slow", type=float, default=0.5, help="seconds a slow answer takes")
    parser.add_argument("--max-requests", type=int, default=1_000_000)
    parser.add_argument("--max-seconds", type=float, default=3600.0)
    told = parser.parse_args()
    server = FaultServer(
        Faults(told.rate, told.kinds, told.mode, told.seed, told.retry_after, told.hang, told.slow),
        port=told.port,
        latency=told.latency / 1000,
        log=told.log,
        max_requests=told.max_requests,
        max_seconds=told.max_seconds,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: server.ask_to_stop())
    print(json.dumps({"address": server.address, "pid": os.getpid()}), flush=True)
    server.wait()


if __name__ == "__main__":
    main()
