"""From a configuration table to models, and what is wrong with a table in words."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cabinos.drivers.model import driver, open_models
from cabinos.drivers.model.local import LocalModel
from cabinos.drivers.model.openai import OpenAIModel
from cabinos.kernel.errors import KernelError, ModelError
from tests.drivers.conftest import ChatModelMaker

OPENAI = {"provider": "openai", "model": "m", "window": 100, "base_url": "http://127.0.0.1:1/v1"}


def test_each_provider_opens(chat_model: ChatModelMaker) -> None:
    path = chat_model()
    config = {
        "tiny": {"provider": "local", "path": str(path), "threads": 1, "slots": 2},
        "smart": {**OPENAI, "slots": 3, "price": [0.15, 0.6], "local": True},
        "claude": {"provider": "anthropic", "model": "m"},
    }
    tiny, smart, claude = open_models(config)
    assert (tiny.name, tiny.window, tiny.slots, tiny.local) == ("tiny", 2048, 2, True)
    assert (smart.name, smart.window, smart.slots, smart.local) == ("smart", 100, 3, True)
    assert smart.price == (0.15, 0.6)
    assert (claude.name, claude.window, claude.local) == ("claude", 200_000, False)


def test_who_can_plan_is_a_guess_that_the_table_corrects(
    chat_model: ChatModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plans(**table: Any) -> bool:
        (model,) = open_models({"m": table})
        return bool(model.plans)  # type: ignore[attr-defined]

    here = {"provider": "local", "path": str(chat_model())}
    assert [plans(**OPENAI), plans(**OPENAI, plans=False)] == [True, False]
    assert [plans(**here), plans(**here, plans=True)] == [False, True]
    monkeypatch.setattr("cabinos.drivers.model.local.PLANS", 100)  # parameters
    assert [plans(**here), plans(**here, tools_shown=3), plans(**here, plans=False)] == [
        True, False, False,
    ]  # fmt: skip


def test_a_key_is_looked_for_only_at_its_own_service() -> None:
    def key_name(**options: Any) -> str | None:
        (model,) = open_models({"m": {"model": "m", "window": 9, **options}})
        return model.endpoint.api_key_env  # type: ignore[attr-defined, no-any-return]

    assert key_name(provider="openai") == "OPENAI_API_KEY"
    assert key_name(provider="openai", api_key_env="MINE") == "MINE"
    assert key_name(provider="openai", base_url="http://127.0.0.1:1/v1") is None
    assert key_name(provider="anthropic") == "ANTHROPIC_API_KEY"
    assert key_name(provider="anthropic", base_url="https://example.org") is None


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "smart: Unable to extract tag using discriminator 'provider'"),
        (7, "smart: "),
        ({"provider": "oracle"}, "smart: Input tag 'oracle' .* 'local', 'openai', 'anthropic'"),
        ({**OPENAI, "windw": 7}, "smart.windw: Extra inputs are not permitted"),
        ({"provider": "openai", "model": "m"}, "smart.window: Field required"),
        ({**OPENAI, "window": 0}, "smart.window: .* greater than or equal to 1"),
        ({**OPENAI, "window": "big"}, "smart.window: .*integer"),
        ({**OPENAI, "price": [1]}, "smart.price.1: Field required"),
        ({**OPENAI, "price": [-1, 1]}, "smart.price.0: "),
        ({**OPENAI, "base_url": "ftp://x"}, "smart.base_url: "),
        ({**OPENAI, "idle_timeout": 0}, "smart.idle_timeout: "),
        ({**OPENAI, "api_key": "sk-x"}, "smart.api_key: Extra inputs"),
        ({"provider": "local"}, "smart.path: Field required"),
        ({"provider": "local", "path": "x", "threads": 0}, "smart.threads: "),
        ({"provider": "local", "path": "x", "window": 9, "kv_tokens": 8}, "at least the window"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(table: Any, problem: str) -> None:
    with pytest.raises(KernelError, match=f"^models: .*{problem}"):
        open_models({"smart": table})


def test_every_problem_is_said_and_no_key_is_quoted() -> None:
    bad = {**OPENAI, "window": 0, "slots": 0, "api_key": "sk-secret"}
    with pytest.raises(KernelError) as error:
        open_models({"one": bad, "two": {"provider": "x"}})
    for part in ("one.window", "one.slots", "one.api_key", "two: "):
        assert part in str(error.value)
    assert "sk-secret" not in str(error.value)


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    table = {"provider": "local", "path": str(tmp_path / "none.gguf")}
    with pytest.raises(ModelError, match="tiny: .*none.gguf"):
        open_models({"tiny": table})


def test_the_driver_closes_its_models(chat_model: ChatModelMaker) -> None:
    device = driver({"tiny": {"provider": "local", "path": str(chat_model())}, "smart": OPENAI})
    assert device.name == "model"
    assert device.tools == ()
    local, remote = device.models
    assert isinstance(local, LocalModel)
    assert isinstance(remote, OpenAIModel)
    close = device.close
    assert close is not None

    async def closing() -> None:
        await close()
        await close()

    asyncio.run(closing())
    with pytest.raises(ModelError, match="tiny is closed"):
        local._open()
    assert [model.name for model in driver({}).models] == ["nano"]  # the one in the box


def test_nothing_heavy_is_imported_before_it_is_needed(chat_model: ChatModelMaker) -> None:
    config = {
        "tiny": {"provider": "local", "path": str(chat_model()), "window": 100},
        "smart": OPENAI,
        "claude": {"provider": "anthropic", "model": "m"},
    }
    code = (
        "import sys\nfrom cabinos.drivers.model import driver\n"
        f"driver({config!r}).models[1].count('hello')\n"
        "heavy = 'openai', 'anthropic', 'httpx2', 'torch', 'tokenizers', 'jinja2', 'llguidance'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    ("provider", "package"), [("openai", "openai"), ("anthropic", "anthropic")]
)
def test_a_missing_extra_is_named(provider: str, package: str) -> None:
    code = (
        f"import asyncio, sys\nsys.modules[{package!r}] = None\n"
        "from cabinos.drivers.model import open_models\n"
        "from cabinos.kernel.driver import Message, ThinkRequest\n"
        f"(model,) = open_models({{'m': {{'provider': {provider!r}, 'model': 'm', 'window': 9,"
        " 'base_url': 'http://127.0.0.1:1'}})\n"
        "try: asyncio.run(model.think(ThinkRequest([Message('user', 'x')])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = f"ModelError m needs the package {package}: pip install 'cabinos[remote]'\n"
    assert result.stdout == expected, result.stderr
