"""Every provider's address, on loopback: a server that gives one reply, and a fence around the process.

Inside :func:`standing_in` each host name leads to the server, TLS is left out, and a connection to
anywhere else is refused, so no test can reach a provider, whatever a client makes of its settings.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

MOST_REQUESTS = 50
"""Requests of one test that are answered before the server hangs up on a client that loops."""


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; names of headers are in lower case."""

    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What is sent back: a status, a body as JSON (text is sent as it stands), headers."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Provider(ThreadingHTTPServer):
    """Gives its reply to every request and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = Reply(500, "no reply was set")
        self.asked: list[Asked] = []


class _Handler(BaseHTTPRequestHandler):
    server: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing on stderr."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(
            Asked(
                host=headers["host"],
                path=address.path,
                query=dict(parse_qsl(address.query)),
                headers=headers,
                body=json.loads(content or b"{}"),
            )
        )
        self.close_connection = len(self.server.asked) >= MOST_REQUESTS
        reply = self.server.reply
        body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST


@contextmanager
def standing_in(patch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """A server to which every host name leads, over plain HTTP; no other address can be connected to."""
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        here = ("127.0.0.1", server.server_port)
        look_up, connect = socket.getaddrinfo, socket.socket.connect

        def found(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
            return look_up(*here, type=socket.SOCK_STREAM)

        def fenced(self: socket.socket, address: Any) -> None:
            if address != here:
                raise PermissionError(f"a test may not connect to {address}")
            connect(self, address)

        patch.setattr(socket, "getaddrinfo", found)
        patch.setattr(socket.socket, "connect", fenced)
        patch.setattr(socket.socket, "connect_ex", fenced)
        patch.setattr(ssl.SSLContext, "wrap_socket", lambda self, sock, *rest, **named: sock)
        yield server
        server.shutdown()
        thread.join()
