"""Calls through LiteLLM reach Langfuse by LiteLLM's own callback; `nox -s interop` runs this.

The server on loopback takes what Langfuse takes: OTLP over HTTP, with the project's keys.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fakes import reviews
from faults.server import FaultServer

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")

KEY, PUBLIC, SECRET = "sk-Canary7Fq2xVb9LmWz4Tn", "pk-lf-1234567890", "sk-lf-Canary3Rt8Zq5Yp1"

PROGRAM = """
import litellm
import dspy
from typing import Literal
from optimizers import Task, model

litellm.callbacks = ["CALLBACK"]

class ClassifySentiment(dspy.Signature):
    '''Say whether a review is positive or negative.'''
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

def exact(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)

task = Task(
    program=dspy.Predict(ClassifySentiment), metric=exact, data="rows.json",
    models=[model("openai/small", api_base="ADDRESS", price=(0.1, 0.2), size=0.1, engine="litellm")],
)
"""


@dataclass
class Taken:
    """What came in."""

    paths: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    spans: list[Any] = field(default_factory=list)
    raw: bytes = b""


def taking(taken: Taken) -> type[BaseHTTPRequestHandler]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Ingestion(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            taken.paths.add(self.path)
            taken.keys.add(self.headers.get("Authorization", ""))
            taken.raw += body
            sent = ExportTraceServiceRequest.FromString(body)
            taken.spans += [s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    return Ingestion


@pytest.mark.parametrize("callback", ["langfuse_otel", "langfuse"])
def test_the_calls_of_a_study_arrive_and_no_key_of_a_model_does(tmp_path: Path, callback: str) -> None:
    if callback == "langfuse":
        pytest.importorskip("langfuse", reason="Langfuse's client is not installed")
    taken = Taken()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    (tmp_path / "rows.json").write_text(json.dumps(reviews(60)))
    with FaultServer() as server, ThreadingHTTPServer(("127.0.0.1", 0), taking(taken)) as langfuse:
        threading.Thread(target=langfuse.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{langfuse.server_address[1]}"
        (tmp_path / "task.py").write_text(
            PROGRAM.replace("ADDRESS", server.address).replace("CALLBACK", callback)
        )
        told = {"LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET, "OPENAI_API_KEY": KEY}
        told |= {"LANGFUSE_HOST": address, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        done = subprocess.run(
            [sys.executable, "-m", "optimizers.cli", "task.py", "--budget", "30calls", "--study", "s"],
            cwd=tmp_path, env=os.environ | told, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        langfuse.shutdown()
        served = server.stats()["completed"]
    generations = [span for span in taken.spans if is_generation(span)]
    assert done.returncode == 0, done.stderr
    assert len(generations) == served > 10
    assert taken.keys == {"Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()}
    assert b"Say whether a review" in taken.raw
    assert KEY.encode() not in taken.raw
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    said = written + (done.stdout + done.stderr).encode()
    assert not [key for key in (KEY, SECRET) if key.encode() in said]


def is_generation(span: Any) -> bool:
    kinds = {a.value.string_value for a in span.attributes if a.key == "langfuse.observation.type"}
    return kinds == {"generation"}
