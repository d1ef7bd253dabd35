"""What a model makes of a text, token by token: loss, alternatives, the logit lens, attention."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cabinos.train.inspect.hooks import recorded
from cabinos.train.inspect.subject import Subject

__all__ = ["Guess", "Lens", "Reading", "Step", "look", "losses"]

SHOWN = 5  # alternatives

Guess = tuple[str, float]  # a word, and how likely


@dataclass(frozen=True)
class Step:
    """One token of the text, and what the model expected in its place."""

    word: str
    bits: float  # -log2 of the probability it had
    rank: int  # 0: it was the likeliest
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Lens:
    """What the stream after each layer would say if it were the last (nostalgebraist 2020)."""

    words: list[list[str]]  # likeliest next word, by layer (0: the embedding alone) and position
    chances: Tensor  # of that word: [L + 1, T]
    bits: Tensor  # of the word that does follow: [L + 1, T - 1]


@dataclass(frozen=True)
class Reading:
    """All of it for one text of T tokens."""

    words: list[str]
    steps: list[Step]  # of all tokens but the first
    next: tuple[Guess, ...]  # what comes after the text
    lens: Lens
    attention: Tensor  # [L, H, T, T]


@torch.no_grad()  # type: ignore[untyped-decorator]
def look(subject: Subject, ids: list[int]) -> Reading:
    """Read a text once, and say what was seen."""
    model, tokens = subject.model, torch.tensor([ids])
    with recorded(model) as record:
        logits = model.logits(tokens)[0]  # [T, V]
    logs = logits.log_softmax(-1)
    ranks = (logs[:-1] > logs[:-1].gather(1, tokens[0, 1:, None])).sum(1)
    steps = [
        Step(
            subject.word(token),
            -float(logs[at, token]) / math.log(2),
            int(ranks[at]),
            _guesses(subject, logs[at]),
        )
        for at, token in enumerate(ids[1:])
    ]
    words = [subject.word(token) for token in ids]
    lens = _lens(subject, record.residual, tokens[0, 1:])
    return Reading(
        words, steps, _guesses(subject, logs[-1]), lens, torch.stack(record.attention)
    )  # fmt: skip


def _lens(subject: Subject, residual: list[Tensor], following: Tensor) -> Lens:
    model = subject.model
    words, chances, bits = [], [], []
    for state in residual:
        logs = (model.norm(state) @ model.output.to(state.dtype).T).float().log_softmax(-1)
        best, which = logs.max(-1)
        words.append([subject.word(int(token)) for token in which])
        chances.append(best.exp())
        bits.append(-logs[:-1].gather(1, following[:, None])[:, 0] / math.log(2))
    return Lens(words, torch.stack(chances), torch.stack(bits))


def _guesses(subject: Subject, logs: Tensor) -> tuple[Guess, ...]:
    best, which = logs.topk(SHOWN)
    return tuple(
        (subject.word(int(i)), math.exp(float(x))) for i, x in zip(which, best, strict=True)
    )


@torch.no_grad()  # type: ignore[untyped-decorator]
def losses(subject: Subject, ids: list[int]) -> Tensor:
    """Bits of each token but the first, as the model is now (hooks included): [T - 1]."""
    logs = subject.model.logits(torch.tensor([ids]))[0, :-1].log_softmax(-1)
    found: Tensor = -logs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0] / math.log(2)
    return found
