"""docs/serve.md says what is so."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from cabinos.serve import chat, completions, responses
from cabinos.serve.app import ROUTES
from cabinos.serve.body import Body
from tests.kernel.models import ScriptedModel
from tests.serve.served import served

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()


@pytest.mark.parametrize(
    ("row", "body", "ignored", "refused"),
    [
        ("chat/completions", chat.ChatRequest, chat.IGNORED, chat.REFUSED),
        ("responses", responses.ResponseRequest, responses.IGNORED, responses.REFUSED),
        ("completions", completions.CompletionRequest, completions.IGNORED, completions.REFUSED),
        ("embeddings", completions.EmbeddingRequest, completions.IGNORED, ("dimensions",)),
    ],
)
def test_the_table_of_parameters(
    row: str, body: type[Body], ignored: Collection[str], refused: Collection[str]
) -> None:
    cells = re.search(rf"^\| {row} \|(.*)\|$", PAGE, re.MULTILINE)[1].split("|")
    told = [set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", cell))) for cell in cells]
    assert told == [set(body.model_fields), set(ignored), set(refused)]


def test_every_path_is_told_of() -> None:
    told = PAGE.replace("PID", "{pid:int}").replace("asks/ID", "asks/{ask:int}")
    told = told.replace("responses/ID", "responses/{response}")
    for route in ROUTES:
        path = re.sub(r"/\{(verb|verdict|name:path)\}$", "", route.path).removeprefix("/v1/")
        assert path in told, route.path


def test_the_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    with served(tmp_path, ScriptedModel("A letter.", "Nothing.")) as server:
        exec(code.replace("http://127.0.0.1:8421", server.url), {})
    assert capsys.readouterr().out == "Nothing.\n"
