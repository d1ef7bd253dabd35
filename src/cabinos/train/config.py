"""The shape of a model and the course of a run, with the formulas that the rest derives from."""

from dataclasses import dataclass, field
from math import ceil

from cabinos.train.errors import TrainError

__all__ = ["HEAD", "MIX", "ModelConfig", "RunConfig", "schedule"]

HEAD = 64  # length of a head

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
        """All weights; the embedding, which is also the output matrix, counts once."""
        attention = self.width * HEAD * 2 * (self.heads + self.kv_heads)
        layer = attention + 3 * self.width * self.inner + 2 * self.width
        return self.depth * layer + self.vocabulary * self.width + self.width

    def flops_per_token(self, context: int) -> float:
        """Floating-point operations to train on one token of a row of `context`.

        6 for each weight that multiplies (2 forward, 4 backward), and causal attention, whose two
        products with the T/2 keys seen on average are 12 · layers · width · T/2 (Chowdhery et al.
        2022, arXiv:2204.02311, appendix B, halved because what is masked is not counted).
        """
        norms = (2 * self.depth + 1) * self.width
        return 6 * (self.parameters - norms) + 6 * self.depth * HEAD * self.heads * context


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


def schedule(step: int, config: RunConfig) -> float:
    """What the learning rates are multiplied by: up, flat, and linearly down towards zero.

    Update `step` counts from 0. A long linear decay is what small runs gain most from (Hägele et
    al. 2024, arXiv:2405.18392).
    """
    warm = max(1, round(config.warmup * config.steps))
    cool = max(1, round(config.decay * config.steps))
    return min(1.0, (step + 1) / warm, (config.steps - step) / cool)
