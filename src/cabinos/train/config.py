"""The shape of a model and the course of a run, with the formulas that the rest derives from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from cabinos.train.errors import TrainError

__all__ = [
    "ADAPTED",
    "CRITIC",
    "HEAD",
    "MIX",
    "Course",
    "ModelConfig",
    "RunConfig",
    "TuneConfig",
    "schedule",
]

HEAD = 64  # length of a head

CRITIC = "critic."  # begins the names of what a policy has only while it learns from rewards

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

MIX = {
    "textbooks": 0.34,
    "books": 0.26,
    "technical": 0.09,
    "facts": 0.08,
    "dictionary": 0.08,
    "shell": 0.05,
    "code": 0.05,
    "maths": 0.05,
}
"""What share of the tokens comes from each domain: modern expository English before all else."""


@dataclass(frozen=True)
class ModelConfig:
    """A Llama model: RMSNorm, rotary positions, grouped queries, SwiGLU, tied embeddings."""

    depth: int  # layers
    width: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    context: int
    theta: float = 10_000.0  # base of the rotary positions
    eps: float = 1e-5
    head: int = HEAD  # length of a head
    tied: bool = True  # the embedding is the output matrix too
    biased: bool = False  # queries, keys and values have a bias (Qwen2)
    divisors: Sequence[float] = ()  # of the rotary frequencies, for models with a stretched context

    @classmethod
    def from_depth(
        cls, depth: int, *, vocabulary: int = 8192, context: int = 1024
    ) -> "ModelConfig":
        """The one dial. Raises TrainError if `depth` is not positive.

        Width is 8 depth², in pairs of heads of 64, up to Llama's 128 depth (reached at 16 layers);
        loss hardly depends on the ratio of width to depth (Kaplan et al. 2020, arXiv:2001.08361,
        fig. 5), and small models are better deep than wide. Two queries share a key. SwiGLU's inner
        width is 8/3 of the width, as in Llama (arXiv:2302.13971), rounded up to whole heads.

        depth 6 → 256 wide, 6.5 M parameters; 8 → 512, 27.8 M; 10 → 768; 12 → 1152; 16 → 2048.
        """
        if depth < 1:
            raise TrainError(f"depth must be at least 1, not {depth}.")
        heads = max(2, min(2 * (depth**2 // 16), 2 * depth))
        width = HEAD * heads
        inner = HEAD * ceil(8 / 3 * width / HEAD)
        return cls(depth, width, heads, heads // 2, inner, vocabulary, context)

    @property
    def parameters(self) -> int:
        """All weights; an embedding that is also the output matrix counts once."""
        attention = self.width * self.head * 2 * (self.heads + self.kv_heads)
        attention += self.biased * self.head * (self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.width * self.inner + 2 * self.width
        matrices = 1 if self.tied else 2
        return self.depth * layer + matrices * self.vocabulary * self.width + self.width

    def flops_per_token(self, context: float, targets: float = 1.0) -> float:
        """Floating-point operations to train on one token of a row of `context`.

        6 for each weight that multiplies (2 forward, 4 backward), and causal attention, whose two
        products with the T/2 keys seen on average are 12 · layers · width · T/2 (Chowdhery et al.
        2022, arXiv:2204.02311, appendix B, halved because what is masked is not counted). The
        output matrix multiplies only where there is a target: `targets` is their share.
        """
        output = self.vocabulary * self.width
        vectors = (2 * self.depth + 1) * self.width
        vectors += self.biased * self.depth * self.head * (self.heads + 2 * self.kv_heads)
        layers = self.parameters - vectors - (1 if self.tied else 2) * output
        attention = self.depth * self.head * self.heads * context
        return 6 * (layers + targets * output + attention)


@dataclass(frozen=True)
class RunConfig:
    """A pre-training run. Batches are counted in tokens."""

    depth: int = 6
    tokens: int = 8_000_000  # in all
    batch_tokens: int = 8192  # for one update
    micro_tokens: int = 4096  # that go through the model at once, on each process
    context: int = 512
    long_context: int = 1024  # for the last tenth of the run
    matrix_rate: float = 0.012  # of Muon
    other_rate: float = 0.004  # of AdamW: embedding and norms
    weight_decay: float = 0.1  # of the matrices
    warmup: float = 0.01  # share of the updates
    decay: float = 0.6  # share of the updates, the last ones
    seed: int = 1
    mix: dict[str, float] = field(default_factory=lambda: dict(MIX))

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        for name in ("tokens", "batch_tokens", "micro_tokens", "context", "long_context"):
            if getattr(self, name) < 1:
                raise TrainError(f"{name} must be positive, not {getattr(self, name)}.")
        for context in {self.context, self.long_context}:
            if self.batch_tokens % context:
                raise TrainError(
                    f"batch_tokens ({self.batch_tokens}) must be a multiple of the context "
                    f"({context})."
                )
        if not self.mix or min(self.mix.values()) < 0 or sum(self.mix.values()) <= 0:
            raise TrainError("mix: give each domain a share that is not negative, and one of them "
                             "a positive one.")  # fmt: skip

    @property
    def steps(self) -> int:
        """Updates in all."""
        return ceil(self.tokens / self.batch_tokens)

    def context_at(self, step: int) -> int:
        """Row length for update `step`: long rows come last, when they cost least overall."""
        return self.long_context if step >= 0.9 * self.steps else self.context


@dataclass(frozen=True)
class TuneConfig:
    """A run on conversations. Their answers are learnt, what stands before them is only read."""

    epochs: float = 2.0  # over all rows, if `tokens` does not say it
    tokens: int = 0  # in all, questions and padding included; 0: as many as `epochs` take
    batch_tokens: int = 8192  # for one update
    micro_tokens: int = 2048  # that go through the model at once
    context: int = 1024  # longer rows are left out
    matrix_rate: float = 0.006  # of Muon
    other_rate: float = 0.002  # of AdamW: embedding and norms, or adapters
    weight_decay: float = 0.0  # of the matrices
    warmup: float = 0.02  # share of the updates
    decay: float = 1.0  # share of the updates, the last ones
    seed: int = 1
    replay: float = 0.0  # texts of stage 1, as a share of the tokens of the rows
    rank: int = 0  # of the adapters (LoRA); 0: all weights are trained
    alpha: float = 16.0  # adapters are scaled by alpha / rank
    adapted: Sequence[str] = ADAPTED  # the matrices that get one

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        for name in ("epochs", "batch_tokens", "micro_tokens", "context"):
            if getattr(self, name) <= 0:
                raise TrainError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.micro_tokens > self.batch_tokens:
            raise TrainError(
                f"micro_tokens ({self.micro_tokens}) must not be more than batch_tokens "
                f"({self.batch_tokens})."
            )
        if not 0 <= self.replay <= 1:
            raise TrainError(f"replay must be from 0 to 1, not {self.replay}.")
        if self.rank < 0 or self.alpha <= 0:
            raise TrainError("the rank of adapters must not be negative, and alpha positive.")

    @property
    def steps(self) -> int:
        """Updates in all."""
        return ceil(self.tokens / self.batch_tokens)


class Course(Protocol):
    """How the rates of a run rise and fall."""

    @property
    def steps(self) -> int:
        """Updates in all."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the updates in which the rates rise."""
        ...

    @property
    def decay(self) -> float:
        """Share of the updates, the last ones, in which they fall."""
        ...


def schedule(step: int, config: Course) -> float:
    """What the learning rates are multiplied by: up, flat, and linearly down towards zero.

    Update `step` counts from 0. A long linear decay is what small runs gain most from (Hägele et
    al. 2024, arXiv:2405.18392).
    """
    warm = max(1, round(config.warmup * config.steps))
    cool = max(1, round(config.decay * config.steps))
    return min(1.0, (step + 1) / warm, (config.steps - step) / cool)
