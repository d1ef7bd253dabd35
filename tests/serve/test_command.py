"""`cabin serve` as people run it: a process, signals, and a store that outlives it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from openai import APIConnectionError, DefaultHttpxClient, OpenAI

from cabinos.cli.main import main
from tests.fixtures.stub_server import Reply, StubServer

CONFIG = """
[model.stub]
provider = "openai"
model = "stub"
base_url = "{url}"
window = 8000
"""


class Command:
    """A running `cabin serve --port 0`."""

    def __init__(self, home: Path, *options: str, token: str = "") -> None:
        command = [sys.executable, "-m", "cabinos", "serve", "--port", "0", "--json-log", *options]
        self.process = subprocess.Popen(
            command, env=environment(home, token), stderr=subprocess.PIPE, text=True
        )
        self.told: list[dict] = []
        while not self.told or self.told[-1]["event"] != "listening":
            line = self.process.stderr.readline()
            assert line, self.process.wait()
            self.told.append(json.loads(line))

    def client(self, token: str = "none") -> OpenAI:
        http = DefaultHttpxClient(trust_env=False, verify=False)
        url = self.told[-1]["url"]
        return OpenAI(base_url=url, api_key=token, http_client=http, max_retries=0, timeout=30)

    def end(self, number: int) -> tuple[int, list[dict]]:
        """Sends a signal; returns the exit code and what was told since it listened."""
        self.process.send_signal(number)
        rest = self.process.communicate(timeout=30)[1]
        return self.process.returncode, [json.loads(line) for line in rest.splitlines()]


def environment(home: Path, token: str = "") -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CABIN_")}
    return {**clean, "CABIN_HOME": str(home), **({"CABIN_TOKEN": token} if token else {})}


@contextmanager
def command(home: Path, *options: str, token: str = "") -> Iterator[Command]:
    this = Command(home, *options, token=token)
    try:
        yield this
    finally:
        this.process.kill()
        this.process.communicate()


def refused(home: Path, *options: str, token: str = "") -> str:
    """The one line that says why it does not begin."""
    ran = CliRunner().invoke(
        main, ["serve", *options], env={"CABIN_HOME": str(home), "CABIN_TOKEN": token}
    )
    assert (ran.exit_code, ran.stdout) == (1, "")
    (line,) = ran.stderr.splitlines()
    return line


def test_a_conversation_survives_kill_9_and_signals_end_it_well(tmp_path: Path) -> None:
    replies = [Reply("I will remember 7."), Reply("It was 7."), Reply("x", fault="hang mid-stream")]
    with StubServer(replies) as stub:
        (tmp_path / "config.toml").write_text(CONFIG.format(url=stub.url))
        with command(tmp_path) as one:
            first = one.client().responses.create(model="stub", input="remember 7")
            assert one.end(signal.SIGKILL)[0] == -signal.SIGKILL
        with command(tmp_path) as two:
            second = two.client().responses.create(
                model="stub", input="what was it?", previous_response_id=first.id
            )
            assert second.output_text == "It was 7."
            assert second.id.split("_")[1] == first.id.split("_")[1]  # the same process
            stream = two.client().chat.completions.create(
                model="stub", messages=[{"role": "user", "content": "go on"}], stream=True
            )
            next(stream)
            code, told = two.end(signal.SIGTERM)
            assert code == 0
            assert [t["event"] for t in told] == ["request", "request", "ended"]
            assert told[0]["path"] == "/v1/responses"
            with pytest.raises(Exception, match="shutting down"):
                list(stream)
        shown = [m["content"] for m in stub.requests[1].body["messages"]]
        assert shown == ["remember 7", "I will remember 7.", "what was it?"]


def test_a_token_from_the_environment(tmp_path: Path) -> None:
    with command(tmp_path, "--host", "0.0.0.0", token="t" * 20) as server:
        port = server.told[-1]["url"].rsplit(":", 1)[1].removesuffix("/v1")
        server.told[-1]["url"] = f"http://127.0.0.1:{port}/v1"
        assert isinstance(server.client("t" * 20).models.list().data, list)
        with pytest.raises(Exception, match="bearer token"):
            server.client("u" * 20).models.list()
        assert server.end(signal.SIGINT)[0] == 0
    with pytest.raises(APIConnectionError):
        server.client().models.list()


def test_what_keeps_it_from_beginning_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "in use" in refused(tmp_path, "--port", port).lower()
    assert "must show a token" in refused(tmp_path, "--host", "0.0.0.0")
    assert "at least 16" in refused(tmp_path, token="short")
    open_to_all = tmp_path / "token"
    open_to_all.write_text("t" * 20)
    open_to_all.chmod(0o644)
    assert "chmod 600" in refused(tmp_path, "--token-file", str(open_to_all))
    with command(tmp_path):
        assert "in use" in refused(tmp_path, "--port", "0")
