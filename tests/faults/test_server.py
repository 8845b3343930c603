from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faults import server as module
from faults.answers import answer
from faults.server import KINDS, Faults, FaultServer, Kind, read_log

SYSTEM = {"role": "system", "content": "Say whether a review is positive or negative."}


def request(
    review: str = "order 7: the lamp is good", *, demos: int = 0, model: str = "small", **settings: Any
) -> dict[str, Any]:
    shown = [
        {"role": "user", "content": "Review: the pen is poor"},
        {"role": "assistant", "content": "negative"},
    ]
    asked = {"role": "user", "content": f"Review: {review}"}
    return {"model": model, "messages": [SYSTEM, *shown * demos, asked], **settings}


def send(server: FaultServer, content: dict[str, Any], *, timeout: float = 5.0) -> tuple[int, str, str, str]:
    """Status, content type, Retry-After and body of one request on a connection of its own."""
    host, port = server.address.removeprefix("http://").removesuffix("/v1").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(content), {"X-Request-Id": "me"})
        reply = connection.getresponse()
        body = reply.read().decode()
        return reply.status, reply.headers["Content-Type"], reply.headers.get("Retry-After", ""), body
    finally:
        connection.close()


def outcome(server: FaultServer, content: dict[str, Any]) -> str:
    """What a client sees, in a word."""
    try:
        status, _, _, body = send(server, content, timeout=0.3)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    return f"{status} {body[:20]}"


def failing(kind: Kind, **settings: Any) -> FaultServer:
    return FaultServer(Faults(rate=1.0, kinds=(kind,), **settings))


def text(reply: dict[str, Any]) -> str:
    content: str = reply["choices"][0]["message"]["content"]
    return content


def test_an_answer_is_a_whole_chat_completion_with_usage() -> None:
    with FaultServer() as server:
        status, kind, _, body = send(server, request(demos=1))
    reply = json.loads(body)
    assert (status, kind) == (200, "application/json")
    assert text(reply) in ("positive", "negative")
    characters = sum(len(turn["content"]) for turn in request(demos=1)["messages"])
    assert reply["usage"]["prompt_tokens"] == characters // 4
    assert reply["usage"]["completion_tokens"] == 2
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_a_429_says_when_to_come_back() -> None:
    with failing("429", retry_after=1) as server:
        status, kind, wait, body = send(server, request())
    assert (status, kind, wait) == (429, "application/json", "1")
    assert "error" in json.loads(body)


def test_a_500_is_a_server_error() -> None:
    with failing("500") as server:
        status, _, wait, body = send(server, request())
    assert (status, wait) == (500, "")
    assert "error" in json.loads(body)


def test_a_reset_comes_before_any_byte_of_an_answer() -> None:
    with failing("reset") as server, pytest.raises(ConnectionResetError):
        send(server, request())


def test_a_hanging_request_outlasts_the_client() -> None:
    with failing("hang", hang=30.0) as server:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            send(server, request(), timeout=0.2)
        assert server.stats() == {"received": 1, "completed": 0, "faulted": 1}
    assert time.monotonic() - start < 5, "stopping does not wait for it"


def test_a_hanging_connection_closes_in_the_end() -> None:
    with failing("hang", hang=0.1) as server, pytest.raises((http.client.HTTPException, OSError)):
        send(server, request())


def test_a_truncated_body_is_valid_http_and_broken_json() -> None:
    with failing("truncated") as server:
        status, kind, _, body = send(server, request())
    assert (status, kind) == (200, "application/json")
    assert body.startswith("{")
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_a_web_page_comes_with_status_200() -> None:
    with failing("html") as server:
        status, kind, _, body = send(server, request())
    assert (status, kind) == (200, "text/html")
    assert body.startswith("<html>")


def test_a_slow_answer_trickles_and_is_right_in_the_end() -> None:
    with failing("slow", slow=0.3) as server:
        start = time.monotonic()
        _, _, _, body = send(server, request())
        assert time.monotonic() - start > 0.25
    assert json.loads(body) == answer(request())


def test_mode_each_draws_by_arrival_and_repeats_with_its_seed() -> None:
    def run(seed: int) -> list[str]:
        with FaultServer(Faults(rate=0.4, kinds=("429", "500"), seed=seed)) as server:
            return [outcome(server, request()) for _ in range(60)]

    first = run(1)
    assert first == run(1) != run(2)
    failed = sum(not seen.startswith("200") for seen in first)
    assert 12 <= failed <= 36, "one request, sent 60 times, fails about 24 times"


@pytest.mark.parametrize("kind", KINDS)
def test_mode_once_answers_every_second_try(kind: Kind) -> None:
    with FaultServer(Faults(rate=0.5, kinds=(kind,), mode="once", hang=0.5, slow=0.5)) as server:
        contents = [request(f"order {number}: good") for number in range(12)]
        for content in contents:
            outcome(server, content)
        faulted = server.stats()["faulted"]
        again = [outcome(server, content) for content in contents]
        assert 1 <= faulted <= 11
        assert server.stats()["faulted"] == faulted
    assert all(seen.startswith('200 {"id": "reply"') for seen in again)


def test_mode_once_fails_the_same_contents_in_any_order() -> None:
    contents = [request(f"order {number}: good") for number in range(30)]

    def failed(order: list[dict[str, Any]]) -> set[str]:
        with FaultServer(Faults(rate=0.4, kinds=("500",), mode="once")) as server:
            return {json.dumps(c) for c in order if outcome(server, c).startswith("500")}

    assert failed(contents) == failed(contents[::-1]) != set()


def test_no_fault_at_rate_zero_and_all_kinds_at_rate_one() -> None:
    drawn = [Faults(rate=1.0).decide(number, "body", True) for number in range(200)]
    assert set(drawn) == set(KINDS)
    assert Faults(rate=0.0).decide(1, "body", True) is None


def test_counters_and_log_agree_under_concurrency(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    contents = [request(f"order {number}: good") for number in range(80)]
    with FaultServer(Faults(rate=0.3, kinds=("500", "slow"), slow=0.02), log=log) as server:
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda content: send(server, content)[0], contents))
        # A client has its answer a moment before the server books it.
        until = time.monotonic() + 10
        while server.stats()["completed"] < seen.count(200) and time.monotonic() < until:
            time.sleep(0.01)
        port = int(server.address.split(":")[2].removesuffix("/v1"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/stats")
        stats = json.loads(connection.getresponse().read())
        connection.close()
    entries = read_log(log)
    assert stats["received"] == len(entries) == 80
    assert stats["completed"] == seen.count(200)
    assert stats["completed"] == sum(e["complete"] and e["fault"] != "500" for e in entries)
    assert stats["faulted"] == sum(e["fault"] is not None for e in entries) > 0
    assert len({e["body"] for e in entries}) == 80
    assert {(e["model"], e["id"]) for e in entries} == {("small", "me")}


def test_an_answer_to_a_client_that_left_is_not_complete(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with FaultServer(latency=0.3, log=log) as server:
        with pytest.raises(TimeoutError):
            send(server, request(), timeout=0.05)
        time.sleep(0.5)
        assert server.stats() == {"received": 1, "completed": 0, "faulted": 0}
    assert [entry["complete"] for entry in read_log(log)] == [False]


def test_it_stops_after_its_requests_and_answers_all_of_them() -> None:
    server = FaultServer(max_requests=5, latency=0.05)
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda number: outcome(server, request()), range(8)))
    server.wait()
    assert sum(s.startswith("200") for s in seen) == 5
    assert server.stats()["received"] == 5
    with pytest.raises(OSError, match="refused"):
        send(server, request())


def test_it_stops_after_its_seconds() -> None:
    start = time.monotonic()
    FaultServer(max_seconds=0.2).wait()
    assert 0.15 < time.monotonic() - start < 3


def test_stopping_ends_idle_connections() -> None:
    with FaultServer() as server:
        port = int(server.address.split(":")[2].removesuffix("/v1"))
        idle = socket.create_connection(("127.0.0.1", port), timeout=5)
        idle.sendall(b"GET /stats HTTP/1.1\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
    assert idle.recv(1) == b""
    idle.close()


def test_as_a_process_it_says_where_it_is_and_outlives_a_killed_client(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, str(Path(module.__file__)), "--log", str(log), "--latency", "300"]
    server = subprocess.Popen([*command, "--max-seconds", "30"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        address = json.loads(server.stdout.readline())["address"]
        script = "import sys, urllib.request as u; u.urlopen(sys.argv[1], sys.argv[2].encode())"
        sent = [sys.executable, "-c", script, f"{address}/chat/completions", json.dumps(request())]
        client = subprocess.Popen(sent)
        while not log.read_text():
            time.sleep(0.01)
        client.send_signal(signal.SIGKILL)
        client.wait()
        time.sleep(0.5)
        assert server.poll() is None
        (entry,) = read_log(log)
        assert entry["complete"] is False
    finally:
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(timeout=10) == 0
        server.stdout.close()


def test_answers_take_the_shape_that_is_asked_for() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "outputs", "schema": {}}}
    assert json.loads(text(answer(request(response_format=schema)))).keys() == {"sentiment"}
    asked = request()
    asked["messages"][-1]["content"] = (
        "[[ ## review ## ]]\nthe lamp is good\n\nRespond with `[[ ## sentiment ## ]]`"
    )
    assert text(answer(asked)).startswith("[[ ## sentiment ## ]]\n")
    prompt = "Review: the pen is poor\nSentiment: negative\n\nReview: the lamp is good\nSentiment:"
    plain = answer({"model": "large", "prompt": prompt}, chat=False)
    assert plain["choices"][0]["text"] in ("positive", "negative")


def test_a_reply_is_cut_where_max_tokens_ends() -> None:
    reply = answer(request(max_tokens=1))
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 1


def test_demos_and_the_larger_model_raise_the_share_of_right_answers() -> None:
    def share(model: str, demos: int) -> float:
        right = 0
        for number in range(300):
            word, truth = ("good", "positive") if number % 2 else ("poor", "negative")
            right += text(answer(request(f"order {number}: {word}", demos=demos, model=model))) == truth
        return right / 300

    shares = [share("small", 0), share("small", 4), share("small", 8), share("large", 4)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.6, abs=0.08)
    assert shares[3] == pytest.approx(0.97, abs=0.04)
