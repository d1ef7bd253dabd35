"""The engine's numbers against two others: transformers in float32, and NumPy in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cabinos.engine.model import Model
from cabinos.engine.pack import pack
from tests.engine.conftest import ModelMaker
from tests.engine.fixtures import LLAMA3_SCALING, tiny_hf_model
from tests.engine.reference import reference_logits

TOKENS = [(7919 * i + 3) % 512 for i in range(70)]  # more than four pages

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama-tied": ("llama", {"tied": True}),
    "llama3-rope": ("llama", {"rope_scaling": LLAMA3_SCALING}),
    "linear-rope": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "one-kv-head": ("llama", {"kv_heads": 1, "heads": 12, "hidden": 384}),
    "no-sharing": ("llama", {"kv_heads": 8}),
    "odd-vocabulary": ("llama", {"vocab": 517}),
    "mistral-window": ("mistral", {"sliding_window": 24}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 48}),
}


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def logits(path: Path, **options: Any) -> np.ndarray:
    with Model(path, threads=1, cache=False, **options) as model, model.sequence() as sequence:
        result = sequence.feed(TOKENS, logits="all")
    assert result is not None
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_logits_equal_transformers(family: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    architecture, options = FAMILIES[family]
    folder = tiny_hf_model(tmp_path / "hf", architecture, **options)  # type: ignore[arg-type]
    pack(folder, tmp_path / "model.gguf", "f32")
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor([TOKENS])).logits[0].numpy()
    assert relative_error(logits(tmp_path / "model.gguf", kv_type="f32"), expected) < 1e-4


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    # Float weights: activations are exact (bf16: rounded to 8 bits). Integer weights meet
    # activations of 8 bits, an error of about 1/254 of the largest of 32 in each of 14 products.
    [("f32", 1e-5), ("f16", 1e-5), ("bf16", 4e-2), *((k, 8e-2) for k in ("q8_0", "q4_0", "q4_k"))]
    + [("q5_k", 8e-2), ("q6_k", 8e-2)],
)
def test_every_type_equals_its_decoded_weights(
    kind: str, tolerance: float, tiny_model: ModelMaker
) -> None:
    path = tiny_model(kind)
    error = relative_error(logits(path, kv_type="f32"), reference_logits(path, TOKENS))
    assert error < tolerance


def test_keys_and_values_in_bf16_cost_little(tiny_model: ModelMaker) -> None:
    path = tiny_model("f32")
    error = relative_error(logits(path, kv_type="bf16"), logits(path, kv_type="f32"))
    assert 0 < error < 3e-2


def test_embeddings_pool_the_final_hidden_states(tiny_model: ModelMaker) -> None:
    with Model(tiny_model("f32"), threads=1, cache=False) as model:
        states = model.hidden_states(TOKENS)
        mean, last = model.embed(TOKENS), model.embed(TOKENS, pooling="last")
    assert states.shape == (len(TOKENS), 256)
    assert np.allclose(mean, states.mean(0) / np.linalg.norm(states.mean(0)), atol=1e-6)
    assert np.allclose(last, states[-1] / np.linalg.norm(states[-1]), atol=1e-6)
