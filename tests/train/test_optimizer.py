"""Our batched Muon is torch's, and its updates are nearly orthogonal."""

import pytest
import torch

from cabinos.train.optimizer import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (48, 48)])
def test_one_step_is_torch_own(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(3, *shape), torch.randn(2, 3, *shape)
    results = []
    for kind in (Muon, torch.optim.Muon):
        weights = [torch.nn.Parameter(w.clone()) for w in start]
        optimizer = kind(weights, lr=0.1, weight_decay=0.1, momentum=0.9)
        for gradient in gradients:
            for weight, g in zip(weights, gradient, strict=True):
                weight.grad = g.clone()
            optimizer.step()
        results.append(torch.stack([w.detach() for w in weights]))
    # theirs is computed in bfloat16
    moved = (results[1] - start).norm()
    assert (results[0] - results[1]).norm() < 0.02 * moved


def test_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(4, 64, 160)))
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_matrices_without_gradient_stay() -> None:
    weights = [torch.nn.Parameter(torch.ones(8, 8)) for _ in range(2)]
    weights[1].grad = torch.randn(8, 8)
    Muon(weights, lr=0.1).step()
    assert torch.equal(weights[0], torch.ones(8, 8))
    assert not torch.equal(weights[1], torch.ones(8, 8))
