"""The model against transformers, its loss against torch's, and the sizes that the dial gives."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.config import ModelConfig, RunConfig, schedule
from cabinos.train.errors import TrainError
from cabinos.train.export import export_hf
from cabinos.train.model import Llama, linear_cross_entropy


def small_model(seed: int = 0, depth: int = 2, vocabulary: int = 512) -> Llama:
    model = Llama(ModelConfig.from_depth(depth, vocabulary=vocabulary, context=64))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():  # bolder than fresh weights, so that every part moves the logits
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.normal_(1.0, 0.2, generator=generator)
            else:
                weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
    return model


@pytest.mark.parametrize(
    ("depth", "width", "inner", "millions"), [(6, 256, 704, 6.5), (8, 512, 1408, 27.8)]
)
def test_the_dial_gives_nano_and_mini(depth: int, width: int, inner: int, millions: float) -> None:
    config = ModelConfig.from_depth(depth)
    assert (config.width, config.inner, config.kv_heads) == (width, inner, config.heads // 2)
    assert round(config.parameters / 1e6, 1) == millions


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 12))
def test_parameters_are_counted_right(depth: int) -> None:
    config = ModelConfig.from_depth(depth, vocabulary=300)
    with torch.device("meta"):
        model = Llama(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters


def test_flops_are_six_a_weight_and_attention() -> None:
    config = ModelConfig.from_depth(6)
    assert config.flops_per_token(0) == 6 * (config.parameters - 13 * 256)
    # q·k and weights·v: 2 products · 2 flops · 3 (forward, backward) · 256 wide · 512 / 2 keys
    assert config.flops_per_token(512) - config.flops_per_token(0) == 6 * 2 * 2 * 3 * 256 * 256


def test_the_loss_and_its_gradient_are_torch_own() -> None:
    torch.manual_seed(0)
    h = torch.randn(300, 32, dtype=torch.float64).requires_grad_()
    weight = torch.randn(50, 32, dtype=torch.float64).requires_grad_()
    targets = torch.randint(0, 50, (300,))
    targets[::7] = -1
    linear_cross_entropy(h, weight, targets).mul(0.5).backward()
    ours = h.grad.clone(), weight.grad.clone()
    h.grad = weight.grad = None
    loss = F.cross_entropy(F.linear(h, weight), targets, ignore_index=-1, reduction="sum")
    loss.mul(0.5).backward()
    # The logits go through float32 on the way.
    assert torch.allclose(ours[0], h.grad, atol=1e-5)
    assert torch.allclose(ours[1], weight.grad, atol=1e-4)
    with torch.no_grad():
        assert linear_cross_entropy(h, weight, targets).item() == pytest.approx(loss.item())


def test_float32_logits_equal_transformers(tmp_path: Path, data: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = small_model(vocabulary=8192)
    export_hf(model, data / "tokenizer.json", tmp_path / "hf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    tokens = torch.tensor([[(7919 * i + 3) % 8192 for i in range(60)]])
    with torch.no_grad():
        difference = model.logits(tokens) - theirs(tokens).logits
    assert difference.abs().max() < 1e-4


def test_fresh_weights_predict_nearly_uniformly() -> None:
    model = Llama(ModelConfig.from_depth(3, vocabulary=1000, context=32))
    model.initialize(torch.Generator().manual_seed(1))
    tokens = torch.randint(0, 1000, (4, 33))
    with torch.no_grad():
        loss = model(tokens[:, :-1], tokens[:, 1:]) / 128
    assert loss.item() == pytest.approx(6.9, abs=0.15)  # ln 1000


def test_the_rate_rises_stays_and_falls() -> None:
    config = RunConfig(tokens=8192 * 100, warmup=0.1, decay=0.5)
    rates = [schedule(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert set(rates[10:51]) == {1.0}
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[99] == pytest.approx(1 / 50)


@pytest.mark.parametrize(
    "wrong", [{"tokens": 0}, {"batch_tokens": 1000}, {"mix": {"books": -1.0}}, {"mix": {}}]
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TrainError):
        RunConfig(**wrong)  # type: ignore[arg-type]
