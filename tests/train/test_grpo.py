"""GRPO by hand: advantages, the loss, and its gradient."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cabinos.train.errors import TrainError
from cabinos.train.rl.grpo import Rewarded, advantages, token_weights
from tests.train.rewards import tiny

VOCABULARY, WIDTH = 11, 8


class Table(nn.Module):  # type: ignore[misc]
    """A model whose states are a table: one for each token."""

    def __init__(self) -> None:
        super().__init__()
        make = torch.Generator().manual_seed(1)
        self.states = nn.Parameter(torch.randn(VOCABULARY, WIDTH, generator=make))
        self.output = nn.Parameter(torch.randn(VOCABULARY, WIDTH, generator=make))

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.states[tokens]


def loss_of(
    table: Table, old: list[float], advantage: float = 1.0, **changes: float
) -> torch.Tensor:
    """The loss of two decisions, tokens 3 and 4 after 1 and 2, among all tokens but 0."""
    allowed = np.ones((2, VOCABULARY), bool)
    allowed[:, 0] = False
    bits = torch.from_numpy(np.packbits(allowed, axis=1, bitorder="little"))
    return Rewarded(table, tiny(**changes))(  # type: ignore[arg-type]
        torch.tensor([[1, 2]]), torch.tensor([3, 4]), torch.tensor([0, 1]), bits,
        torch.full((2,), advantage), torch.ones(2), torch.tensor(old), torch.zeros(2),
        torch.zeros(2), torch.zeros(2),
    )  # fmt: skip


def drawn(table: Table) -> torch.Tensor:
    logits = table.states[[1, 2]] @ table.output.T
    logits = logits.masked_fill(torch.arange(VOCABULARY) == 0, -torch.inf)
    return logits.log_softmax(1)[[0, 1], [3, 4]]


def test_on_policy_the_gradient_is_that_of_reinforce() -> None:
    table = Table()
    now = drawn(table)
    ours = torch.autograd.grad(loss_of(table, now.tolist(), 0.7), table.states)[0]
    theirs = torch.autograd.grad(-(0.7 * drawn(table)).sum(), table.states)[0]
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not ours[0].any()  # no gradient to what was not seen


@pytest.mark.parametrize(("advantage", "moved", "stops"), [
    (1.0, 0.5, True), (1.0, -0.5, False), (-1.0, -0.5, True), (-1.0, 0.5, False),
])  # fmt: skip
def test_who_has_moved_far_enough_is_not_pushed_further(
    advantage: float, moved: float, stops: bool
) -> None:
    table = Table()
    old = (drawn(table) - moved).tolist()  # the ratio is e^moved, and the clip 0.2
    gradient = torch.autograd.grad(loss_of(table, old, advantage), table.states)[0]
    assert bool(gradient.abs().sum() == 0) is stops


def test_the_price_of_leaving_the_reference() -> None:
    table = Table()
    now = drawn(table)
    d = (0.0 - now).detach()  # the reference says 0
    expected = -2.0 + 0.3 * (d.exp() - d - 1).sum()
    assert loss_of(table, now.tolist(), 1.0, kl=0.3).item() == pytest.approx(
        expected.item(), rel=1e-4
    )


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=30))
def test_advantages_of_a_case_add_up_to_nothing(played: list[tuple[int, float]]) -> None:
    cases, rewards = zip(*played, strict=True)
    for fair in (True, False):
        found = advantages(cases, rewards, fair=fair)
        for case in set(cases):
            own = [a for a, c in zip(found, cases, strict=True) if c == case]
            assert sum(own) == pytest.approx(0, abs=1e-3)
        order = sorted(range(len(found)), key=lambda n: (cases[n], rewards[n]))
        for one, other in pairwise(order):
            if cases[one] == cases[other]:
                assert found[one] <= found[other]


def test_advantages_by_hand() -> None:
    found = advantages([1, 2, 1, 2], [1, 1, 0, 1], fair=True)
    assert found.tolist() == [0.5, 0, -0.5, 0]
    assert advantages([1, 1], [1, 0], fair=False) == pytest.approx([1, -1], abs=1e-4)


def test_a_fair_answer_weighs_by_its_tokens() -> None:
    assert (
        token_weights(3, tiny(answer_tokens=6)) == token_weights(6, tiny(answer_tokens=6)) == 1 / 6
    )
    assert token_weights(4, tiny(fair=False)) == 1 / 4


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"samples": 1}, "samples must be at least 2"),
        ({"rounds": 0}, "rounds must be positive"),
        ({"updates": 3}, "updates .3. must not be more than cases"),
        ({"kl": -1}, "kl must not be negative"),
        ({"played_as": "q4_0"}, "played_as must be one of f32"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, float], problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        tiny(**wrong)
