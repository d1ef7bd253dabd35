"""Models of the Llama family out of Hugging Face folders: the same logits, and clear refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cabinos.train.errors import TrainError
from cabinos.train.hf import load_hf

SHAPE: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def saved(folder: Path, kind: str, **changes: Any) -> Any:
    """A random model of transformers, saved in `folder`."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(SHAPE | changes))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # biases and norms too
            weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Llama", {"tie_word_embeddings": True}),
        ("Llama", {"head_dim": 16, "tie_word_embeddings": False}),
        ("Llama", {"rope_parameters": LLAMA3}),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}),
        ("Mistral", {"sliding_window": None}),
        ("Qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    ],
)
def test_logits_equal_transformers(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    theirs = saved(tmp_path, kind, **changes)
    ours = load_hf(tmp_path, 64)
    tokens = torch.tensor([[(7919 * i + 3) % 160 for i in range(64)]])
    with torch.no_grad():
        difference = ours.logits(tokens) - theirs(tokens).logits
    assert difference.abs().max() < 1e-4
    assert sum(p.numel() for p in ours.parameters()) == ours.config.parameters


def test_weights_in_several_files(tmp_path: Path) -> None:
    theirs = saved(tmp_path / "one", "Llama")
    theirs.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    one, many = load_hf(tmp_path / "one", 32), load_hf(tmp_path / "many", 32)
    for name, weight in one.state_dict().items():
        assert torch.equal(many.state_dict()[name], weight), name


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_what_cannot_be_trained_is_named(tmp_path: Path) -> None:
    saved(tmp_path, "Llama")
    with pytest.raises(TrainError, match="made for 128 tokens, not 256"):
        load_hf(tmp_path, 256)
    change(tmp_path, num_hidden_layers=1)
    with pytest.raises(TrainError, match="has no place in a plain Llama"):
        load_hf(tmp_path, 64)
    change(tmp_path, num_hidden_layers=3)
    with pytest.raises(TrainError, match=r"tensor 'model\.layers\.2\..*' is missing"):
        load_hf(tmp_path, 64)
    change(tmp_path, num_hidden_layers=2, vocab_size=161)
    with pytest.raises(
        TrainError, match=r"has shape \[160, 48\]; config\.json implies \[161, 48\]"
    ):
        load_hf(tmp_path, 64)
    change(tmp_path, architectures=["GPT2LMHeadModel"])
    with pytest.raises(TrainError, match="'GPT2LMHeadModel' is not supported"):
        load_hf(tmp_path, 64)


def test_normalised_queries_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, "Qwen3", head_dim=12)
    with pytest.raises(TrainError, match="normalises its queries"):
        load_hf(tmp_path, 64)
