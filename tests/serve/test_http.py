"""The server as such: bad input, who may come in, who goes away, and what can be seen."""

import asyncio
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AuthenticationError

from cabinos.kernel.driver import ThinkRequest, Thought, tool
from cabinos.serve.body import MAX_BODY
from cabinos.serve.guard import host_name, is_loopback, read_token
from tests.kernel.models import ScriptedModel, calls
from tests.serve.served import Served, served

HELLO = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
JSON = {"content-type": "application/json"}


class HangingModel(ScriptedModel):
    """Says one word and then nothing more."""

    async def think(self, request: ThinkRequest) -> Thought:
        self.requests.append(request)
        request.emit("Well")
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("open"), ScriptedModel("ok")) as server:
        yield server


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("locked")
    with served(
        path, ScriptedModel("ok"), token="s3cret-" * 4, origins=["http://ok.org"]
    ) as server:
        yield server


def ask(server: Served, path: str, method: str = "GET", **options: Any) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=20) as client:
        return client.request(method, f"{server.url}{path}", **options)


def raw(server: Served, data: bytes) -> bytes:
    """What comes back for some bytes; the sending side is closed after them."""
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"model": "scripted", "messages": NaN}', 400),
        (b'{"model": \xff}', 400),
        (b"[" * 100_000, 400),
        (b'{"model": 7, "messages": []}', 400),
        (b'{"messages": []}', 400),
        (b'{"model": "scripted", "messages": [[]]}', 400),
        (b'{"model": "scripted", "messages": {"a": 1}}', 400),
        (b'{"model": "", "messages": [{"role": "user", "content": "x"}]}', 404),
        (b" " * (MAX_BODY + 1), 413),
    ],
)
def test_malformed_bodies(open_server: Served, body: bytes, status: int) -> None:
    answer = ask(open_server, "/v1/chat/completions", "POST", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_half_of_a_surrogate_pair_is_no_reason_to_fail(open_server: Served) -> None:
    body = b'{"model": "scripted", "messages": [{"role": "user", "content": "half: \\ud83d"}]}'
    answer = ask(open_server, "/v1/chat/completions", "POST", content=body, headers=JSON)
    assert answer.json()["choices"][0]["message"]["content"] == "ok"


def test_whatever_a_model_says_can_be_sent(tmp_path: Path) -> None:
    nasty = "\ud83d \u2028 \x85 \x00 é"
    model = ScriptedModel(calls(("f", {"x": nasty}), text=nasty))
    tools = [{"type": "function", "function": {"name": "f"}}]
    with served(tmp_path, model) as server:
        for stream in (False, True):
            body = json.dumps({**HELLO, "tools": tools, "stream": stream})
            answer = ask(server, "/v1/chat/completions", "POST", content=body, headers=JSON)
            assert answer.content.isascii()
            lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
            values = [json.loads(line) for line in lines if line != "[DONE]"]
            assert "\u2028" in str(values).replace("\\u2028", "\u2028")


def test_other_things_that_are_not_served(open_server: Served) -> None:
    assert ask(open_server, "/v1/nothing").status_code == 404
    assert ask(open_server, "/v1/chat/completions").status_code == 405
    text = ask(open_server, "/v1/responses", "POST", content=b"{}")
    assert text.status_code == 415
    for response in (ask(open_server, "/v1/nothing"), text):
        assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http(open_server: Served, data: bytes) -> None:
    try:
        answer = raw(open_server, data)
    except OSError:  # it hung up before it had heard everything
        answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert ask(open_server, "/health").status_code == 200


def test_a_body_that_ends_too_early_leaves_nothing_behind(open_server: Served) -> None:
    before = len(open_server.kernel.ps(exited=True))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    raw(open_server, head)
    assert ask(open_server, "/health").status_code == 200
    assert len(open_server.kernel.ps(exited=True)) == before


# ---- who may come in -----------------------------------------------------------------------------


def test_a_token_is_asked_for(locked_server: Served) -> None:
    client = locked_server.client()
    assert client.chat.completions.create(**HELLO).choices[0].message.content == "ok"
    for wrong in ("no", locked_server.token + "x", "Ünglücklich"):
        headers = {"authorization": f"Bearer {wrong}".encode()}
        answer = ask(locked_server, "/v1/models", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    locked_server.token = None
    with pytest.raises(AuthenticationError):
        locked_server.client().models.list()
    assert ask(locked_server, "/metrics").status_code == 401
    assert ask(locked_server, "/health").json() == {"status": "ok"}


def test_web_pages_of_others_are_kept_out(open_server: Served) -> None:
    """DNS rebinding brings a page's own name as the host; other pages say their origin."""
    port = open_server.address[1]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::2]"):
        answer = ask(open_server, "/v1/models", headers={"host": host})
        assert answer.status_code in (400, 403), host
    for host in ("localhost", f"127.0.0.1:{port}", "[::1]:80"):
        assert ask(open_server, "/v1/models", headers={"host": host}).status_code == 200
    for origin in ("https://evil.example", "null", f"https://127.0.0.1:{port}"):
        answer = ask(open_server, "/v1/models", headers={"origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    own = ask(open_server, "/v1/models", headers={"origin": open_server.url})
    assert own.status_code == 200


def test_a_page_may_be_allowed(locked_server: Served) -> None:
    headers = {"origin": "http://ok.org", "access-control-request-method": "POST"}
    answer = ask(locked_server, "/v1/models", "OPTIONS", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "http://ok.org"
    other = ask(locked_server, "/health", headers={"origin": "http://other.org"})
    assert "access-control-allow-origin" not in other.headers
    assert other.status_code == 403


def test_names_of_this_machine() -> None:
    assert [host_name(h) for h in ("a:1", "[::1]:80", "A", "[", "")] == ["a", "::1", "a", "", ""]
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "127.evil.org", "10.0.0.1", "")))


def test_a_token_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = read_token(path)
    assert len(token) > 30
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(ValueError, match="holds no token"):
        read_token(path)


# ---- who goes away -------------------------------------------------------------------------------


def hang_up(server: Served, path: str, body: dict) -> None:
    """Asks, waits for the first bytes of a stream (or for the thought), and goes away."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(server.address, timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        if body.get("stream"):
            while b"Well" not in connection.recv(65536):
                pass
        else:
            server.until(lambda: server.kernel.queues["scripted"].running == 1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_its_process(tmp_path: Path, stream: bool) -> None:
    with served(tmp_path, HangingModel()) as server:
        queue = server.kernel.queues["scripted"]
        hang_up(server, "/v1/chat/completions", {**HELLO, "stream": stream})
        server.until(lambda: queue.running == 0 and not server.kernel.ps())
        assert server.kernel.table.get(1).status == {"code": "killed"}
        conversation = {"model": "scripted", "input": "hello", "stream": stream}
        hang_up(server, "/v1/responses", conversation)
        server.until(lambda: queue.running == 0 and bool(server.kernel.ps()))
        server.until(lambda: server.kernel.ps()[0].state == "stopped")
        assert server.kernel.ps()[0].waiting == "its client went away"
        assert not +server.service._answering


def test_whoever_waits_is_told_when_the_server_ends(tmp_path: Path) -> None:
    with served(tmp_path, HangingModel()) as server, ExitStack() as stack:
        client = server.client()
        stream = client.chat.completions.create(**HELLO, stream=True)
        server.until(lambda: bool(server.kernel.ps()))
        watched = stack.enter_context(httpx2.Client(trust_env=False, timeout=20))
        events = watched.stream("GET", f"{server.url}/v1/processes/1/events")
        lines = stack.enter_context(events).iter_lines()
        assert next(stream).choices[0].delta.content == ""
        server._loop.call_soon_threadsafe(server._task.cancel)
        with pytest.raises(Exception, match="shutting down"):
            list(stream)
        assert "closing" in list(lines)[-2]
    with served(tmp_path, ScriptedModel("I was interrupted.")) as server:
        server.until(lambda: not server.kernel.ps())  # it went on
        assert server.kernel.answer_of(server.kernel.table.get(1)) == ("I was interrupted.", True)


def test_a_store_that_takes_nothing_any_more(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel("ok")) as server:

        async def break_it() -> None:
            assert server.kernel.store._writer is not None
            server.kernel.store._writer.execute("PRAGMA query_only = 1")

        server.do(break_it)
        for _ in range(2):
            body = json.dumps(HELLO)
            answer = ask(server, "/v1/chat/completions", "POST", content=body, headers=JSON)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_failure")
        assert ask(server, "/health").status_code == 503


# ---- what can be seen ----------------------------------------------------------------------------


def test_metrics(open_server: Served) -> None:
    open_server.client().chat.completions.create(**HELLO)
    lines = ask(open_server, "/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['cabin_tokens_total{kind="in",model="scripted"}']) > 0
    assert float(values['cabin_thought_seconds_count{model="scripted"}']) >= 1
    assert float(values['cabin_requests_total{route="chat_completions",status="200"}']) >= 1
    assert float(values['cabin_processes{state="exited"}']) >= 1
    assert values['cabin_thoughts_waiting{model="scripted"}'] == "0"
    assert (
        values['cabin_thought_seconds_bucket{model="scripted",le="+Inf"}']
        == (values['cabin_thought_seconds_count{model="scripted"}'])
    )


@tool(effect="raw", ask=True)
async def send_mail(to: str) -> str:
    """Sends a mail."""
    return f"sent to {to}"


def test_processes_are_scriptable(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("send_mail", {"to": "ann"})), "sent", "and again")
    with served(tmp_path, model, tools=[send_mail]) as server:

        def post(path: str, body: dict | None = None) -> Any:
            return ask(server, f"/v1/processes{path}", "POST", json=body or {}).json()

        def get(path: str = "") -> Any:
            return ask(server, f"/v1/processes{path}").json()

        started = post("", {"request": "mail ann", "stay": True})
        assert (started["pid"], started["state"]) == (1, "ready")
        server.until(lambda: bool(server.kernel.open_asks()))
        (open_ask,) = get("/asks")["data"]
        assert open_ask["detail"]["arguments"] == {"to": "ann"}
        assert post("/asks/1/approve")["answer"] == "approved"
        assert post("/asks/1/deny")["error"]["code"] == "conflict"  # answered once
        server.until(lambda: server.kernel.table.get(1).waiting == "a message")
        assert [p["state"] for p in get()["data"]] == ["blocked"]

        with (
            httpx2.Client(trust_env=False, timeout=20) as client,
            client.stream("GET", f"{server.url}/v1/processes/1/events") as stream,
        ):
            lines = stream.iter_lines()
            assert next(lines) == "event: state"
            post("/1/send", {"text": "again"})
            assert next(line for line in lines if line == "event: text")
            assert json.loads(next(lines).removeprefix("data: "))["text"] == "and again"

        kinds = [row["kind"] for row in get("/1/journal")["data"]]
        assert kinds[0] == "spawn"
        assert {"ask", "answer", "intent", "send_mail", "think"} <= set(kinds)
        assert post("/1/stop")["state"] == "stopped"
        assert post("/1/cont")["state"] in ("ready", "blocked")
        assert post("/1/kill")["state"] == "exited"
        assert get("/1")["status"] == "killed"
        assert get()["data"] == []
        assert [p["pid"] for p in get("?all=1")["data"]] == [1]
        assert post("", {"code": "6 * 7"})["image"] == "code"
        server.until(lambda: server.kernel.table.get(2).state == "exited")
        assert get("/2")["answer"] == 42
        for wrong in ("/99", f"/{10**30}", "/99/events", "/1/nothing", "/1/journal?after=x"):
            assert "error" in get(wrong), wrong
        for wrong, body in (("/1/fly", {}), ("/99/kill", {}), ("/1/send", {"text": 7}), ("", {})):
            assert "error" in post(wrong, body), wrong
