"""The whole way down: the official client, the server, the kernel, and the engine."""

import asyncio
import json
from pathlib import Path

from openai.types.chat import ChatCompletion

from cabinos.drivers.model.local import LocalModel, LocalSettings
from tests.fixtures.chat_model import CALLS_A_TOOL, tiny_chat_gguf
from tests.serve.served import served

HELLO = [{"role": "user", "content": "hello"}]
MOVE = {
    "type": "function",
    "function": {
        "name": "move",
        "description": "Moves.",
        "parameters": {
            "type": "object",
            "properties": {"to": {"enum": ["up", "down"]}},
            "required": ["to"],
            "additionalProperties": False,
        },
    },
}


def test_the_engine_chats_calls_tools_and_keeps_to_schemas(tmp_path: Path) -> None:
    caller = LocalModel(
        "caller", LocalSettings(tiny_chat_gguf(tmp_path / "c.gguf", follows=CALLS_A_TOOL))
    )
    dreamer = LocalModel("dreamer", LocalSettings(tiny_chat_gguf(tmp_path / "d.gguf"), threads=1))
    with served(tmp_path, caller, dreamer) as server:
        client = server.client()

        def chat(**options: object) -> ChatCompletion:
            return client.chat.completions.create(messages=HELLO, seed=3, **options)

        called = chat(model="caller", tools=[MOVE], max_tokens=60)
        (call,) = called.choices[0].message.tool_calls
        assert call.function.name == "move"
        assert json.loads(call.function.arguments)["to"] in ("up", "down")
        schema = MOVE["function"]["parameters"]
        formed = chat(
            model="dreamer",
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        )
        assert json.loads(formed.choices[0].message.content)["to"] in ("up", "down")
        forced = chat(model="dreamer", tools=[MOVE], tool_choice="required")
        assert forced.choices[0].message.tool_calls[0].function.name == "move"
        whole = chat(model="dreamer", max_tokens=20)
        assert whole.choices[0].finish_reason == "length"
        assert whole.usage.completion_tokens == 20
        pieces = client.chat.completions.create(
            model="dreamer", messages=HELLO, seed=3, max_tokens=20, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
        assert text == whole.choices[0].message.content
    asyncio.run(caller.close())
    asyncio.run(dreamer.close())
