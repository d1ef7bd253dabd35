"""From a table of models in the configuration to models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from cabinos.drivers.model.anthropic import ANTHROPIC_URL, AnthropicModel
from cabinos.drivers.model.local import LocalModel, LocalSettings
from cabinos.drivers.model.openai import OPENAI_URL, OpenAIModel
from cabinos.drivers.model.remote import Endpoint
from cabinos.kernel.driver import Model
from cabinos.kernel.errors import KernelError

__all__ = ["open_models"]

Dollars = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Local(_Entry):
    provider: Literal["local"]
    path: Path
    window: Count | None = None
    slots: Count = 4
    kv_tokens: Count | None = None
    threads: Count | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    tools_shown: Count | None = None
    plans: bool | None = None
    thinking: bool = False
    swap_dir: Path | None = None

    @model_validator(mode="after")
    def _room_for_one(self) -> "_Local":
        if self.kv_tokens is not None and self.kv_tokens < (self.window or 1):
            raise ValueError(f"kv_tokens must be at least the window of {self.window}")
        return self

    def open(self, name: str) -> Model:
        settings = self.model_dump(exclude={"provider"})
        settings["path"] = self.path.expanduser()
        return LocalModel(name, LocalSettings(**settings))


class _Remote(_Entry):
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, Field(pattern="^https?://[^/]")]
    window: Count
    slots: Count = 8
    price: tuple[Dollars, Dollars] = (0.0, 0.0)
    local: bool = False
    plans: bool = True
    api_key_env: str | None = None
    connect_timeout: Seconds = 10.0
    idle_timeout: Seconds = 120.0
    retries: Annotated[int, Field(ge=0)] = 4

    def endpoint(self, name: str, default_url: str, key_name: str) -> Endpoint:
        options = self.model_dump(exclude={"provider"})
        if self.api_key_env is None and self.base_url == default_url:
            options["api_key_env"] = key_name
        return Endpoint(name, **options)


class _OpenAI(_Remote):
    provider: Literal["openai"]
    base_url: Annotated[str, Field(pattern="^https?://[^/]")] = OPENAI_URL
    text_calls: bool = False

    def open(self, name: str) -> Model:
        return OpenAIModel(self.endpoint(name, OPENAI_URL, "OPENAI_API_KEY"))


class _Anthropic(_Remote):
    provider: Literal["anthropic"]
    base_url: Annotated[str, Field(pattern="^https?://[^/]")] = ANTHROPIC_URL
    window: Count = 200_000

    def open(self, name: str) -> Model:
        return AnthropicModel(self.endpoint(name, ANTHROPIC_URL, "ANTHROPIC_API_KEY"))


_ENTRY: TypeAdapter[_Local | _OpenAI | _Anthropic] = TypeAdapter(
    Annotated[_Local | _OpenAI | _Anthropic, Field(discriminator="provider")]
)


def open_models(config: Mapping[str, Any]) -> list[Model]:
    """The models of a configuration table; nothing is loaded and no server is asked yet.

        {"tiny": {"provider": "local", "path": "tiny.gguf", "threads": 2},
         "smart": {"provider": "openai", "model": "gpt-5", "window": 400000,
                   "api_key_env": "OPENAI_API_KEY", "price": [1.25, 10]}}

    Raises KernelError, naming every setting that is wrong, and ModelError if a local file cannot be
    read.
    """
    entries: dict[str, _Local | _OpenAI | _Anthropic] = {}
    problems: list[str] = []
    for name, table in config.items():
        try:
            entries[name] = _ENTRY.validate_python(table)
        except ValidationError as error:
            problems += [_problem(name, details) for details in error.errors(include_url=False)]
    if problems:
        raise KernelError("models: " + "; ".join(problems) + ".")
    return [entry.open(name) for name, entry in entries.items()]


def _problem(name: str, details: Mapping[str, Any]) -> str:
    place = [str(part) for part in details["loc"] if part not in ("local", "openai", "anthropic")]
    return f"{'.'.join([name, *place])}: {details['msg']}"
