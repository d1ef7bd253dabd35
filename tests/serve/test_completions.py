"""Completions and embeddings: over a scripted model, and over the real engine."""

import asyncio
from pathlib import Path

import pytest
from openai import BadRequestError

from cabinos.drivers.model.local import LocalModel, LocalSettings
from tests.kernel.models import ScriptedModel
from tests.serve.served import served


class RawModel(ScriptedModel):
    raw = True


def test_a_text_is_gone_on_with(tmp_path: Path) -> None:
    model = RawModel(lambda request: f" and {request.seed}")
    with served(tmp_path, model) as server:
        client = server.client()
        answer = client.completions.create(
            model="scripted", prompt=["One", "Two"], n=2, seed=3, echo=True, max_tokens=5, stop="."
        )
        texts = [choice.text for choice in answer.choices]
        assert texts == ["One and 3", "One and 4", "Two and 3", "Two and 4"]
        chunks = list(
            client.completions.create(
                model="scripted",
                prompt="One",
                seed=1,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert "".join(c.text for chunk in chunks for c in chunk.choices) == " and 1"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.prompt_tokens == 1
    (shown,) = model.requests[0].messages
    assert (shown.role, shown.text, model.requests[0].raw) == ("user", "One", True)
    assert (model.requests[0].max_tokens, model.requests[0].stop) == (5, (".",))
    assert model.requests[-1].max_tokens == 16


def test_what_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, RawModel("x"), ScriptedModel("x", name="chatty")) as server:
        client = server.client()
        for parameters, param in (
            ({"model": "chatty"}, "model"),
            ({"model": "cabin"}, "model"),
            ({"prompt": ""}, "prompt"),
            ({"prompt": []}, "prompt"),
            ({"prompt": [[1, 2]]}, "prompt"),
            ({"logprobs": 2}, "logprobs"),
            ({"suffix": "end"}, "suffix"),
            ({"best_of": 3}, "best_of"),
        ):
            with pytest.raises(BadRequestError) as caught:
                client.completions.create(**{"model": "scripted", "prompt": "x", **parameters})
            assert str(caught.value.param).partition(".")[0] == param
        with pytest.raises(BadRequestError, match="no embeddings"):
            client.embeddings.create(model="scripted", input="x")


def test_the_engine_goes_on_with_a_text_and_gives_vectors(tmp_path: Path, oz_model: Path) -> None:
    model = LocalModel("oz", LocalSettings(oz_model, threads=1))
    with served(tmp_path, model) as server:
        client = server.client()
        options = {"model": "oz", "prompt": "Dorothy", "seed": 7, "max_tokens": 12}
        whole = client.completions.create(**options, temperature=1.0, top_p=1.0)
        assert whole.usage.completion_tokens == 12
        assert whole.choices[0].finish_reason == "length"
        pieces = client.completions.create(**options, temperature=1.0, top_p=1.0, stream=True)
        text = "".join(chunk.choices[0].text for chunk in pieces)
        assert text == whole.choices[0].text
        narrow = client.completions.create(**options, temperature=1.0, top_p=0.01)
        greedy = client.completions.create(**options, temperature=0)
        assert narrow.choices[0].text == greedy.choices[0].text != text
        texts = ["Dorothy", "the lion", "Dorothy"]
        floats = client.embeddings.create(model="oz", input=texts, encoding_format="float").data
        packed = client.embeddings.create(model="oz", input=texts).data  # base64, decoded there
        first, other, again = (item.embedding for item in floats)
        assert sum(x * x for x in first) == pytest.approx(1.0, abs=1e-4)
        assert first == again != other
        assert packed[0].embedding == pytest.approx(first, abs=1e-6)
        with pytest.raises(BadRequestError) as caught:
            client.completions.create(model="oz", prompt="Dorothy " * 20_000)
        assert caught.value.code == "context_length_exceeded"
    asyncio.run(model.close())
