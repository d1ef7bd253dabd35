"""Models as devices: the engine in this process, OpenAI-compatible servers, Anthropic.

    driver({"tiny": {"provider": "local", "path": "tiny.gguf"}})

Each model streams, gives token counts, parses tool calls and turns whatever goes wrong into a
ModelError that says what. Beyond `cabinos.kernel.driver.Model`, each has `overhead`, the tokens a
message takes at most beyond its text, `measure(messages, tools)`, those of a whole prompt, and
`close()`.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cabinos.kernel.driver import Driver, Model

__all__ = ["driver", "open_models"]


def open_models(config: "Mapping[str, Any]") -> "list[Model]":
    """The models of a configuration table; see `cabinos.drivers.model.config`."""
    from cabinos.drivers.model import config as config_module

    return config_module.open_models(config)


def driver(config: "Mapping[str, Any]") -> "Driver":
    """The device `model`: the models of a configuration table, the brain first.

    See `open_models` for the table, and `brain.choose_brain` for what is the brain: without a
    table, a chat model in the models' folder is.
    """
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.driver import Driver

    chosen, brain = choose_brain({"model": config}, None)
    models = open_models(chosen["model"])
    models.sort(key=lambda model: model.name != brain)

    async def close() -> None:
        await asyncio.gather(*(model.close() for model in models))  # type: ignore[attr-defined]

    return Driver("model", models=models, close=close)
