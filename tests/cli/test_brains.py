"""The command with real models: a server's, and the engine in this process."""

from pathlib import Path

import pytest

from tests.cli.support import Cabin, Terminal
from tests.fixtures.chat_model import CALLS_A_TOOL, tiny_chat_gguf
from tests.fixtures.stub_server import Reply, StubServer

CONFIG = """
[cabin]
model = "far"

[model.far]
provider = "openai"
base_url = "{url}"
model = "any"
window = 16384
price = [1.0, 2.0]
"""


def test_a_servers_model_streams_and_calls_tools(cabin: Cabin) -> None:
    replies = [Reply("Let me hear. ", calls=[("rumour", {})]), Reply("It is cheese.")]
    with StubServer(replies) as server:
        (cabin.home / "config.toml").write_text(CONFIG.format(url=server.url))
        data = cabin.json("What is said?")
    assert (data["text"], data["model"]) == ("It is cheese.", "far")
    assert [call["name"] for call in data["calls"]] == ["rumour"]
    assert data["usage"]["usd"] > 0
    assert cabin.json("replay", "1")["same"] is True


def test_a_servers_model_at_a_terminal(cabin: Cabin) -> None:
    with StubServer([Reply("Hello \x1b[31mthere.")]) as server:
        (cabin.home / "config.toml").write_text(CONFIG.format(url=server.url))
        terminal = Terminal(cabin, "Greet me.")
        terminal.expect("Hello [31mthere.")
        assert terminal.end() == 0
    assert terminal.seen.count("Hello") == 1  # streamed, and not said twice


def test_a_server_that_is_not_there_is_named(cabin: Cabin) -> None:
    with StubServer() as server:
        url = server.url
    (cabin.home / "config.toml").write_text(CONFIG.format(url=url) + "retries = 0\n")
    result = cabin("Hello?")
    assert result.returncode == 3
    assert "far" in result.stderr
    assert "`cabin cont 1`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def chat_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_local_model_needs_no_configuration(cabin: Cabin, chat_gguf: Path) -> None:
    models = Path(cabin.environment["CABIN_MODELS"])
    models.mkdir()
    (models / "tiny.gguf").symlink_to(chat_gguf)
    data = cabin.json("Hello?", "--tools", "none", "--seed", "1")
    assert (data["status"], data["model"]) == ("done", "tiny")
    assert data["usage"]["tokens"] > 0


def test_a_model_by_its_path(cabin: Cabin, chat_gguf: Path) -> None:
    result = cabin("Hello?", "--tools", "none", "-m", chat_gguf, "-q")
    assert result.returncode == 0, result.stderr
    assert cabin.json("ps", "--all")["processes"][0]["model"] == "tiny"


def test_a_small_model_hands_over_to_a_server(
    cabin: Cabin, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = tiny_chat_gguf(
        tmp_path_factory.mktemp("gguf") / "small.gguf",
        follows=CALLS_A_TOOL,
        metadata={"cabin.assistant": True, "cabin.tools_shown": 1},
        context=8192,
    )
    config = CONFIG.format(url="{url}").replace('"far"', '"small"\nescalate = "far"')
    config += f'local = true\n[model.small]\nprovider = "local"\npath = "{small}"\n'
    with StubServer([Reply("It is cheese.")]) as server:
        (cabin.home / "config.toml").write_text(config.format(url=server.url))
        data = cabin.json("Zzz?")
    assert (data["text"], data["model"]) == ("It is cheese.", "far")
    assert [call["name"] for call in data["calls"]] == ["escalate"]
    assert "handed over to far" in cabin("log", "1").stdout
    assert cabin.json("replay", "1")["same"] is True
